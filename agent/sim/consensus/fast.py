"""Groups whose clients' blind writes take the fast path (`core/raft/fast`), from whatever node they come to."""

from random import Random
from typing import Any

from msgspec.structs import replace

from agent.core.machine.envelope import UNREADABLE, unseal
from agent.core.machine.footprints import blind_keys_in, keys_in
from agent.core.machine.outcome import Outcome
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.fast.keys import Keys
from agent.core.raft.messages import Append, FastRecord
from agent.core.raft.wire import decode, encode
from agent.core.replica.io import FastDecided, FastPropose, FastUndecided, Propose, Send
from agent.core.replica.log import Recovered
from agent.sim.consensus.cores import RAFT_FAST
from agent.sim.consensus.host import Answer, Host, Reply, Waiting
from agent.sim.consensus.machine import REGISTRY, Command, envelope
from agent.sim.consensus.run import Core
from agent.sim.consensus.service import Service
from agent.sim.consensus.swarm import ConsensusSwarm

CONFIG = replace(RAFT_FAST, fast_timeout_s=0.1, fast_hold_s=0.2)


class FastService(Service):
    """`fast`: how many commands were answered before they were committed."""

    fast = 0

    def propose(self, host: Host, command: Command, reply: Reply, hops: int = 0) -> None:
        core = host.core
        keys = None if hops else blind_keys_in(REGISTRY, command.data)
        if core is None or keys is None or core.leader in (0, host.peer):
            super().propose(host, command, reply, hops)
            return
        # What is replayed may change places: none may say what its session has the outcomes of.
        data = envelope(replace(command, acked=0), 0)
        ticket = host.next_ticket(Waiting(reply))
        self._driver.feed(host, FastPropose(((ticket, data, keys),)))

    def _hand_over(self, host: Host) -> None:
        items, host.gathered = tuple(host.gathered), []
        self._driver.feed(host, Propose(items, keys=tuple(self._keys_of(data) for _, data in items)))

    @staticmethod
    def _keys_of(data: bytes) -> Keys | None:
        try:
            return keys_in(REGISTRY, bytes(unseal(data).command))
        except UNREADABLE:
            return None

    def on_decided(self, host: Host, effect: FastDecided) -> None:
        waiting = host.tickets.pop(effect.ticket, None)
        if waiting is not None:
            self.fast += 1
            waiting.reply(Answer("ok", Outcome(), 0))

    def on_undecided(self, host: Host, effect: FastUndecided) -> None:
        waiting = host.tickets.pop(effect.ticket, None)
        if waiting is not None:
            waiting.reply(Answer("unknown"))


class FastSwarm(ConsensusSwarm):
    """Entries are late: what is answered on the fast path is often in no other log than the leader's."""

    entries_late_s = 0.04
    records_late_s = 0.0

    def _send(self, host: Host, effect: Send) -> None:
        message = effect.message
        late_s = 0.0
        if isinstance(message, Append) and message.entries:
            late_s = self.entries_late_s
        elif isinstance(message, FastRecord) and self.engine.random.random() < 0.3:
            late_s = self.records_late_s
        if late_s:
            self.later(host, self.engine.random.random() ** 2 * late_s, super()._send, host, effect)
        else:
            super()._send(host, effect)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.service = service = FastService(self)
        for effect, method in list(self._carry.items()):
            bound = getattr(method, "__self__", None)
            if isinstance(bound, Service):
                self._carry[effect] = getattr(service, method.__name__)
        self._carry[Send] = self._send
        self._carry[FastDecided] = service.on_decided
        self._carry[FastUndecided] = service.on_undecided


class Ambush(FastSwarm):
    """The leader loses its power as soon as something was answered that may be in its log alone; sometimes everybody does."""

    entries_late_s = 0.1
    records_late_s = 0.1
    leaders_share = 0.25
    all_share = 0.05

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._carry[FastDecided] = self._decided

    def _decided(self, host: Host, effect: FastDecided) -> None:
        service = self.service
        assert isinstance(service, FastService)
        service.on_decided(host, effect)
        chance = self.engine.random.random()
        if chance < self.all_share:
            self.engine.after(0.0, self._strike, [host for host in self.hosts if host.up])
        elif chance < self.all_share + self.leaders_share and all(host.up for host in self.hosts):
            self.engine.after(0.0, self._strike, [one for one in (self.leader(),) if one is not None])

    def _strike(self, hosts: list[Host]) -> None:
        """Who led comes back later than the others: they go on without its log."""
        leader = self.leader()
        for host in hosts:
            if host.up:
                self.crash(host, power=True)
                self.engine.after(1.0 if host is leader else 0.2, self._rise, host, host.life)

    def _rise(self, host: Host, life: int) -> None:
        if host.life == life:
            self.restart(host)


def fast(swarm: type[FastSwarm] = FastSwarm, kind: type[Raft] = Raft, config: RaftConfig = CONFIG) -> Core:
    def make(me: int, random: Random, recovered: Recovered, now: float) -> Raft:
        return kind(me, config, random, recovered, now)

    return Core("fast", make, encode, decode, swarm=swarm)
