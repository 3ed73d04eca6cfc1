"""The way out of a lost quorum: a new group of one from what a survivor's folder holds. Offline, on purpose, by an operator.

What the old group had committed and this survivor had not is lost; what it had and was not committed becomes so. Other members of the
old group must be stopped, and their folders moved away, before they join the new one.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from agent.cluster.consensus import standing as kept
from agent.cluster.consensus.founding import ballot_of
from agent.cluster.consensus.standing import Standing, StandingError, draw_id
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.registry import SnapshotError, UnknownCommand
from agent.core.machine.snapshot import read_snapshot
from agent.core.replica.log import MEMBERS, HardState, Members, Peer, SnapshotMeta
from agent.core.wal.errors import WalCorrupt
from agent.core.wal.opening import Beginning
from agent.runtime.log import Logger
from agent.runtime.wal.folder import WalInUse
from agent.runtime.wal.store import Wal

ASIDE: Final = "wal.lost-"


def recover(folder_text: str, name: str, *, sure: bool) -> int:
    """Exit code. Raises ValueError with what is wrong, and OSError."""
    folder = Path(folder_text)
    try:
        standing = kept.read(folder)
        if standing is None or standing.state != "member":
            raise ValueError(f"{folder}: found no member's folder (no {kept.FILE} that says so)")
        machine, meta, members = _state(folder, standing)
    except (StandingError, WalCorrupt, WalInUse, SnapshotError, UnknownCommand) as error:
        raise ValueError(str(error)) from None
    print(f"{folder}: member {standing.member} of the group {standing.group} {standing.group_id:x}")
    print(f"state up to index {meta.index}, term {meta.term}; its voters were {', '.join(_names(members)) or 'unknown'}")
    fresh = _fresh(standing, name)
    if not sure:
        print(f"would begin the group {fresh.group} {fresh.group_id:x} with {name} alone from this state; --yes does it")
        print("before: stop every other member of the old group, and move their folders away. Prefer the survivor with the highest index.")
        return 1
    aside = folder / f"{ASIDE}{int(time.time())}"
    os.rename(folder / kept.WAL, aside)
    beginning = Beginning(replace(meta, members=_alone(fresh, name)), b"".join(machine.snapshot()), HardState(meta.term))
    wal, _ = Wal.open(folder / kept.WAL, f"{fresh.group}/{fresh.group_id:x}", lambda: fresh.member, Logger("error"), beginning)
    asyncio.run(wal.close())
    kept.write(folder, fresh)
    print(f"done: {name} is the only voter of {fresh.group} {fresh.group_id:x}. Start it, then the others with empty folders.")
    print(f"the old log is kept in {aside}")
    return 0


def _state(folder: Path, standing: Standing) -> tuple[Machine, SnapshotMeta, Members]:
    """The state machine with everything that the log holds, committed or not: all that was acknowledged to anybody is in there."""
    path = folder / kept.WAL
    wal, recovered = Wal.open(path, f"{standing.group}/{standing.group_id:x}", lambda: standing.member, Logger("error"))
    try:
        machine = Machine(built_in())
        if recovered.snapshot.size:
            machine.adopt(read_snapshot(machine.registry, wal.read_snapshot(recovered.snapshot)))
        members = recovered.snapshot.members
        index, term = recovered.snapshot.index, recovered.snapshot.term
        for entry in recovered.entries:
            if entry.index > index:
                machine.apply(entry)
                if entry.kind == MEMBERS:
                    members = msgspec.msgpack.decode(entry.data, type=Members)
                index, term = entry.index, entry.term
    finally:
        asyncio.run(wal.close())
    return machine, SnapshotMeta(index, max(term, recovered.hard.term) + 1, Members(), recovered.snapshot.epoch), members


def _fresh(standing: Standing, name: str) -> Standing:
    member = draw_id()
    voters = ((name, member),)
    group_id = ballot_of(standing.cluster, standing.group, voters)
    return Standing(cluster=standing.cluster, group=standing.group, member=member, state="member", group_id=group_id, voters=voters)


def _alone(standing: Standing, name: str) -> Members:
    return Members(voters=(standing.member,), peers=(Peer(standing.member, name),))


def _names(members: Members) -> list[str]:
    return [peer.name for peer in members.peers if peer.id in members.voters]
