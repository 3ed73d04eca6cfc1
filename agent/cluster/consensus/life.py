"""From nothing to a member: opens what is kept, founds a group or joins one, and makes the host."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from msgspec.structs import replace

from agent.cluster.consensus import standing as kept
from agent.cluster.consensus.config import ConsensusConfig
from agent.cluster.consensus.founding import Founding
from agent.cluster.consensus.host import Host
from agent.cluster.consensus.seats import Seen, groups_of
from agent.cluster.consensus.snapshots import Snapshots
from agent.cluster.consensus.standing import Standing, StandingError, draw_id
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.registry import Registry
from agent.core.machine.snapshot import read_snapshot
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.replica.io import Storage, Stored
from agent.core.replica.log import HardState, Members, Peer, Recovered, SnapshotMeta
from agent.core.wal.opening import Beginning
from agent.runtime.log import Logger
from agent.runtime.wal.face import LogStore
from agent.runtime.wal.memory import MemoryWal
from agent.runtime.wal.store import Wal

FIRST_INDEX: Final = 1
FIRST_TERM: Final = 1


class Membership:
    """A member that runs: its host, log, state machine and snapshots."""

    def __init__(self, host: Host, store: LogStore, machine: Machine, snapshots: Snapshots) -> None:
        self.host = host
        self.store = store
        self.machine = machine
        self.snapshots = snapshots
        self.writable = True

    # -- WalHost

    def stored(self, number: int) -> None:
        self.host.feed(Stored(number))

    def storage(self, writable: bool, why: str) -> None:
        self.writable = writable
        self.host.feed(Storage(writable))

    def storage_failed(self, error: Exception) -> None:
        self.host.fail(f"the log cannot be written: {error}")

    async def stop(self) -> None:
        self.snapshots.stop()
        self.host.stop()
        await self.store.close()


class Life:
    """One agent's way into its group. `look` is called again and again until `member` is there."""

    def __init__(self, config: ConsensusConfig, cluster: str, name: str, log: Logger, registry: Registry | None = None) -> None:
        self.config = config
        self.registry = registry if registry is not None else built_in()
        self.member: Membership | None = None
        self.why = "has not begun"
        """For people: what is waited for."""
        self._cluster = cluster
        self._name = name
        self._log = log
        self._folder = Path(config.data) / config.group if config.data else None
        self.standing = Standing(cluster=cluster, group=config.group, member=draw_id())
        self._founding: Founding | None = None

    @property
    def group_id(self) -> int:
        return self.standing.group_id

    @property
    def ballot(self) -> int:
        return self._founding.ballot if self._founding is not None else 0

    @property
    def promised(self) -> int:
        return self._founding.ballot if self._founding is not None and self._founding.promised else 0

    async def begin(self) -> None:
        """Read what is kept, and go on where that says. Raises StandingError, WalCorrupt, WalInUse, OSError."""
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = await asyncio.to_thread(kept.read, self._folder)
            if found is not None:
                self._check(found)
                self.standing = found
        state = self.standing.state
        has_log = self._folder is not None and (self._folder / kept.WAL).is_dir() and any((self._folder / kept.WAL).iterdir())
        if state == "member" and not has_log:
            self._log.warning("consensus_log_gone", folder=str(self._folder), text="the agent joins its group anew, as a learner")
            await self._keep(Standing(cluster=self._cluster, group=self.config.group, member=draw_id()))
        elif state in ("member", "joining", "founding"):
            await self._open()
        elif self._folder is not None:
            await self._keep(self.standing)

    def _check(self, found: Standing) -> None:
        for what, ours, theirs in (("cluster", self._cluster, found.cluster), ("group", self.config.group, found.group)):
            if ours != theirs:
                raise StandingError(f"{self._folder}: is of the {what} {theirs!r}, expected {ours!r}: give this agent a folder of its own")

    async def look(self, seen: dict[str, Seen]) -> None:
        """One step on the way. Raises as `begin`."""
        if self.member is not None:
            return
        now = time.monotonic()
        groups = {group: names for group, names in groups_of(seen).items() if group != self.ballot or not self.promised}
        if groups and not self.promised:
            await self._join(groups)
            return
        config = self.config
        if not config.bootstrap and not config.bootstrap_expect:
            self.why = "no group is there yet, and this agent founds none (bootstrap, bootstrap_expect)"
            return
        if self._founding is None:
            self._founding = Founding(
                self._cluster,
                config.group,
                self._name,
                self.standing.member,
                config.bootstrap,
                config.bootstrap_expect,
                config.timing.settle,
            )
            if self.standing.state == "promised":
                self._founding.keep(self.standing.voters, now)
        founding = self._founding
        step = founding.look(now, {name: one.seat for name, one in seen.items() if one.alive})
        self.why = founding.why
        if step == "promise":
            await self._keep(replace(self.standing, state="promised", voters=founding.voters))
            founding.keep(founding.voters, now)
        elif step == "found":
            await self._keep(replace(self.standing, state="founding", group_id=founding.ballot, voters=founding.voters))
            self._log.info("consensus_founded", group=config.group, id=f"{founding.ballot:x}", voters=[name for name, _ in founding.voters])
            await self._open()
        elif step == "withdraw":
            self._founding = None
            await self._keep(Standing(cluster=self._cluster, group=config.group, member=draw_id()))

    async def _join(self, groups: dict[int, list[str]]) -> None:
        if len(groups) > 1:
            listed = "; ".join(f"{group:x}: {', '.join(sorted(names))}" for group, names in sorted(groups.items()))
            self.why = f"{len(groups)} groups of this name are there ({listed}): one of them must go (docs/consensus.md)"
            return
        group_id = next(iter(groups))
        await self._keep(replace(self.standing, state="joining", group_id=group_id, voters=()))
        self._founding = None
        await self._open()

    async def forget(self) -> None:
        """The member that this agent was is no more: another life begins. Raises OSError."""
        self.member = None
        self._founding = None
        await self._keep(Standing(cluster=self._cluster, group=self.config.group, member=draw_id()))
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder / kept.WAL, True)

    async def _keep(self, standing: Standing) -> None:
        if self._folder is not None:
            await asyncio.to_thread(kept.write, self._folder, standing)
        self.standing = standing

    # -- the member

    async def _open(self) -> None:
        standing = self.standing
        beginning = beginning_of(standing) if standing.state == "founding" else None
        store, recovered = await self._open_store(beginning)
        if store.me != standing.member:
            await store.close()
            raise StandingError(
                f"{self._folder}: the log is of the member {store.me}, expected {standing.member}: these are not of one life"
            )
        machine = Machine(self.registry)
        if recovered.snapshot.size:
            machine.adopt(await asyncio.to_thread(read_snapshot, self.registry, store.read_snapshot(recovered.snapshot)))
        core = Raft(store.me, raft_config(self.config), Random(SystemRandom().getrandbits(64)), recovered, time.monotonic())
        host = Host(store.me, core, store, machine, self._log)
        host.fast = self.config.fast_path
        host.applier.stand_on(recovered.snapshot)
        host.members = core.members
        sizes = self.config.snapshots
        snapshots = Snapshots(host, store, machine, sizes.entries, sizes.size, self._log)
        snapshots.last = recovered.snapshot.index
        if standing.state != "member":
            await self._keep(replace(standing, state="member"))
        self.member = Membership(host, store, machine, snapshots)
        self.why = "is a member, or waits for the leader to let it in"

    async def _open_store(self, beginning: Beginning | None) -> tuple[LogStore, Recovered]:
        standing = self.standing
        if self._folder is None:
            return MemoryWal.open(lambda: standing.member, beginning)
        group = f"{standing.group}/{standing.group_id:x}"
        opener: Callable[..., tuple[Wal, Recovered]] = Wal.open
        return await asyncio.to_thread(opener, self._folder / kept.WAL, group, lambda: standing.member, self._log, beginning)


def beginning_of(standing: Standing) -> Beginning:
    """What all first voters begin from: an empty state machine, and nothing that only one agent knows."""
    peers = tuple(sorted((Peer(member, name) for name, member in standing.voters), key=lambda peer: peer.id))
    members = Members(voters=tuple(peer.id for peer in peers), peers=peers)
    return Beginning(SnapshotMeta(FIRST_INDEX, FIRST_TERM, members), b"", HardState(FIRST_TERM))


def raft_config(config: ConsensusConfig) -> RaftConfig:
    """The core's, from the file's."""
    return RaftConfig(heartbeat_s=config.timing.heartbeat, election_s=config.timing.election)
