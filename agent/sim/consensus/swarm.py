"""Replicas on simulated machines, and what can befall them.

Generic over the core: `factory(me, random, recovered, now)` makes one, whatever its protocol (`core/replica/io.py` is the contract).
Everything else is the real thing where it can be: the log's codec and its recovery (`core/wal`) on a disk that loses and tears what
was not synchronised, and the state machine (`core/machine`).

    swarm = ConsensusSwarm(Engine(seed), factory, Settings(voters=3))
    swarm.watch(Oracle(swarm))               # checks the promises at every step
    swarm.start()
    swarm.engine.run(2.0)                    # simulated seconds
    swarm.crash(swarm.hosts[0], power=True)  # and restart(), pause(), resume(), wipe(), swarm.network.partition() ...

Each of `swarm.watchers` is told of everything that happens (`watch.py`).
"""

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import msgspec

from agent.core.machine.envelope import TICK
from agent.core.machine.machine import Machine
from agent.core.replica.log import MEMBERS, Members, Peer, SnapshotMeta
from agent.core.wal.opening import Beginning
from agent.sim.consensus.driver import WAKE, Driver, Factory
from agent.sim.consensus.host import Answer, Host
from agent.sim.consensus.machine import Command, new_machine, state_of
from agent.sim.consensus.settings import Settings
from agent.sim.consensus.store import Store
from agent.sim.disk import SimDisk
from agent.sim.engine import Engine
from agent.sim.network import Network, NetworkConfig, spread_factors

FACTORS = spread_factors(NetworkConfig().spread, Random(1))


TICK_S = 0.1


class ConsensusSwarm(Driver):
    """The first `settings.voters` machines are the group's first voters; the others wait to be taken in (`io.Change`)."""

    def __init__(
        self,
        engine: Engine,
        factory: Factory,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        encode: Callable[[Any], bytes] | None = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        count = settings.voters + settings.spares
        network = Network(settings.network, [(0, i % settings.zones) for i in range(count)], engine.random, FACTORS)
        super().__init__(engine, settings, network, encode, decode)
        self.factory = factory
        self.hosts = [Host(i, Store(SimDisk(Random(engine.random.random()), settings.disk))) for i in range(count)]
        for host in self.hosts:
            self._name_anew(host)
        peers = sorted((self.peer_of(host) for host in self.hosts[: settings.voters]), key=lambda peer: peer.id)
        data = state_of(self.new_machine())
        first = Members(voters=tuple(peer.id for peer in peers), peers=tuple(peers))
        beginning = Beginning(SnapshotMeta(1, 1, first), data)
        for host in self.hosts:
            host.store.create(host.peer, beginning if host.index < settings.voters else None)

    def _name_anew(self, host: Host) -> None:
        self.by_peer.pop(host.peer, None)
        host.peer = self.engine.random.getrandbits(52) * 2 + 1
        self.by_peer[host.peer] = host

    def peer_of(self, host: Host) -> Peer:
        priorities = self.settings.priorities
        return Peer(host.peer, host.name, f"zone-{host.index % self.settings.zones}", "", priorities[host.index % len(priorities)])

    def new_machine(self) -> Machine:
        return new_machine()

    def start(self) -> None:
        """All machines start."""
        for host in self.hosts:
            self.restart(host)

    def living(self) -> list[Host]:
        return [host for host in self.hosts if host.up and not host.paused]

    def leader(self) -> Host | None:
        """The one in the highest term that thinks it leads."""
        leaders = [host for host in self.hosts if host.up and host.role == "leader"]
        return max(leaders, key=lambda host: host.term) if leaders else None

    # -- what befalls machines

    def crash(self, host: Host, *, power: bool) -> None:
        """The process ends; with `power`, the machine does, and of what was not synchronised any part may be lost."""
        host.life += 1
        host.up = False
        host.clear()
        host.store.close(power)
        self.engine.mark_text(f"{host.name} down {power}")
        self.note(f"{host.name} {'loses power' if power else 'is killed'}")
        for watcher in self.watchers:
            watcher.crashed(host, power)

    def restart(self, host: Host) -> None:
        recovered, data = host.store.open()
        host.life += 1
        host.up = True
        host.machine = self.new_machine()
        if recovered.snapshot.index:
            host.machine.restore([data])
            host.stand_on(recovered.snapshot)
        host.members = recovered.snapshot.members
        for entry in recovered.entries:
            if entry.kind == MEMBERS:
                host.members = msgspec.msgpack.decode(entry.data, type=Members)
        self.engine.mark_text(f"{host.name} up")
        last = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
        self.note(f"{host.name} starts: snapshot {recovered.snapshot.index}, log to {last}, {recovered.hard}")
        for watcher in self.watchers:
            watcher.started(host, recovered)
        host.core = self.factory(host.peer, Random(self.engine.random.random()), recovered, self.local_now(host))
        self._schedule(host)
        if self.settings.ticks:
            self.later(host, TICK_S, self._tick, host)

    def _tick(self, host: Host) -> None:
        """Leases and sessions end when nobody writes, too."""
        machine = host.machine
        if host.role == "leader" and machine is not None and machine.next_due() <= host.machine_time(self.local_now(host)):
            self.service.propose(host, Command(0, 0, 0, TICK), _ignore)
        self.later(host, TICK_S, self._tick, host)

    def wipe(self, host: Host) -> None:
        """The disk is lost; the machine comes back as another, with an empty log, that must be taken in again."""
        if host.up:
            self.crash(host, power=True)
        self._name_anew(host)
        host.store = Store(SimDisk(Random(self.engine.random.random()), self.settings.disk))
        host.store.create(host.peer, None)

    def pause(self, host: Host) -> None:
        """SIGSTOP: time passes, and nothing happens."""
        host.paused = True

    def resume(self, host: Host) -> None:
        """SIGCONT: what waited comes now, before or after the timers that ran out in the meantime."""
        if not (host.paused and host.up):
            return
        host.paused = False
        if self.engine.random.random() < 0.5 and host.core is not None:
            self.feed(host, WAKE)
        life = host.life
        while host.inbox and host.life == life:
            call, args = host.inbox.popleft()
            call(*args)
        if host.core is not None:
            self._schedule(host)

    def skew(self, host: Host, rate: float) -> None:
        """From here on the host's clock runs at this rate. It does not jump: it is the monotonic one."""
        now = self.local_now(host)
        host.clock_rate = rate
        host.clock_offset = now - self.engine.now * rate
        host.wake_at = inf
        if host.core is not None and not host.paused:
            self._schedule(host)


def _ignore(_answer: Answer) -> None:
    """Nobody waits for the time."""
