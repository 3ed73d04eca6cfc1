"""Groups that change their mode under faults: crash-tolerant, fast and Byzantine epochs one after the other, in simulated time.

Clients try again until they have an answer; an operator proposes the next epoch at one member after another. In Byzantine epochs
member 1 may lie (`liar`), in the others nobody does: that is what those modes assume.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from agent.core.modes import messages as wire
from agent.core.modes.cores import Keys, context_of, maker
from agent.core.modes.epoch import BYZANTINE, FAST, Epoch, EpochState, encode_epoch
from agent.core.modes.epochs import Epochs
from agent.core.modes.messages import Tagged
from agent.core.pbft.config import PbftConfig
from agent.core.raft.config import RaftConfig
from agent.core.replica import io
from agent.core.replica.log import COMMAND, EPOCH, Entry, Members, Peer, Recovered, SnapshotMeta
from agent.sim.byzantine import keys as fast_keys
from agent.sim.byzantine.liars import LIARS, Liar
from agent.sim.byzantine.node import Machine, Node
from agent.sim.byzantine.oracle import LIARS_OWN, Violation
from agent.sim.engine import Engine
from agent.sim.network import Network, NetworkConfig

RAFT: Final = RaftConfig(heartbeat_s=0.05, election_s=0.3, snapshot_retry_s=0.2, snapshot_chunk_bytes=512, margin_entries=8)
PBFT: Final = PbftConfig(checkpoint_interval=8, window=32, max_inflight=4, request_timeout_s=0.6, timeout_max_s=5.0, snapshot_entries=40)
GROUP: Final = b"simulated"
RETRY_S: Final = 0.15
PATIENCE_S: Final = 4.0
Spoil = Callable[[Epochs], None]


class Plan(Struct, frozen=True):
    """`modes`: the epochs to come, each proposed `every_s` after the one before began."""

    seed: int
    modes: tuple[int, ...]
    nodes: int = 5
    every_s: float = 2.0
    bad_s: float = 12.0
    good_s: float = 25.0
    commands: int = 80
    crashes: int = 4
    blackouts: int = 1
    partitions: int = 4
    liar: str = ""
    loss: float = 0.03
    spoil: Spoil | None = None
    raft: RaftConfig = RAFT
    network: NetworkConfig = NetworkConfig()


class Asked(Struct, gc=False):
    """A command of a client: where it was sent last, by which ticket, and where it was said to stand."""

    data: bytes
    node: int = 0
    ticket: int = 0
    tried: float = 0.0
    index: int = 0
    term: int = 0
    maybe: bool = False
    done: bool = False
    asked_at: float = 0.0
    done_at: float = 0.0


class Group:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = engine = Engine(plan.seed)
        ids = tuple(range(1, plan.nodes + 1))
        self.members = Members(voters=ids, peers=tuple(Peer(i, f"node-{i}", priority=int(i > 1 or not plan.liar)) for i in ids))
        network = replace(plan.network, loss=plan.loss, duplication=0.02, reordering=0.1)
        self.network = Network(network, [(0, 0)] * (plan.nodes + 1), engine.random)
        self.keys = fast_keys.Keys(plan.seed)
        octets = Machine(b"\x92\x01\xc4\x00").octets()
        beginning = SnapshotMeta(1, 1, self.members, 0, len(octets), b"")
        self.correct = tuple(one for one in ids if not (plan.liar and one == 1))
        self.decided: dict[int, tuple[Entry, int]] = {}
        self.where: dict[bytes, int] = {}
        self.asked: list[Asked] = []
        self.fast_decided: set[bytes] = set()
        """Commands that were answered by the fast path: all of them must come to stand in the log."""
        self.by_ticket: dict[tuple[int, int], Asked] = {}
        self.ticket = 0
        self.epochs_seen = [EpochState(members=self.members)]
        self.liars: dict[int, Liar] = {}
        self.nodes = {me: Node(engine, me, self.make, self.send, beginning, octets) for me in ids}
        for node in self.nodes.values():
            node.snapshot_every = 30
            node.on_entry, node.on_answer = self.on_entry, self.on_answer

    def make(self, me: int, recovered: Recovered) -> Epochs:
        keys = Keys(self.keys.signer(me), self.keys.verify)
        epochs = Epochs(me, maker(me, GROUP, self.plan.raft, PBFT, self.engine.random, keys), recovered, self.engine.now)
        if self.plan.spoil is not None:
            self.plan.spoil(epochs)
        return epochs

    # -- the network

    def send(self, source: int, to: int, message: Any) -> None:
        if self.plan.liar and source == 1 and isinstance(message, Tagged) and message.mode == BYZANTINE:
            for delay, target, said in self._liar(message.epoch).says(to, message.message):
                self._carry(source, target, Tagged(message.epoch, BYZANTINE, said), delay)
        else:
            self._carry(source, to, message, 0.0)

    def _liar(self, epoch: int) -> Liar:
        if epoch not in self.liars:
            context = context_of(GROUP, self.nodes[1].core.state)
            signers = {1: self.keys.signer(1)}
            self.liars[epoch] = LIARS[self.plan.liar](1, self.members.voters, context, signers, Random(self.engine.random.random()))
        return self.liars[epoch]

    def _carry(self, source: int, to: int, message: Any, delay_s: float) -> None:
        if to in self.nodes and to != source:
            data = wire.encode(message)
            for latency_s in self.network.delays(source, to):
                self.engine.after(delay_s + latency_s, self._arrive, source, to, data)

    def _arrive(self, source: int, to: int, data: bytes) -> None:
        message = wire.decode(data)
        if to == 1 and isinstance(message, Tagged) and message.epoch in self.liars:
            self.liars[message.epoch].hears(message.message)
        self.engine.mark(to)
        self.nodes[to].feed(io.Receive(source, message))

    # -- what is promised

    def on_entry(self, node: Node, entry: Entry) -> None:
        if node.me not in self.correct:
            return
        known = self.decided.get(entry.index)
        if known is not None and known[0] != entry:
            raise Violation(f"two modes decided: index {entry.index} is {known[0]} and, at {node.me}, {entry}")
        if known is None:
            self.decided[entry.index] = (entry, node.core.state.number)
            self.engine.mark(entry.index)
            if entry.kind == COMMAND and not entry.data.startswith(LIARS_OWN):
                self._first_time(entry)
        for asked in [one for one in self.by_ticket.values() if one.node == node.me and one.index == entry.index]:
            del self.by_ticket[asked.node, asked.ticket]
            if asked.term == entry.term and asked.data == entry.data:
                asked.done, asked.done_at = True, self.engine.now
            else:
                self._again(asked)

    def _first_time(self, entry: Entry) -> None:
        asked = next((one for one in self.asked if one.data == entry.data), None)
        if asked is None:
            raise Violation(f"validity: {entry.data!r} was proposed by nobody")
        if entry.data in self.where and not asked.maybe:
            raise Violation(f"exactly once: {entry.data!r} at {self.where[entry.data]} and {entry.index}")
        self.where[entry.data] = entry.index

    def on_answer(self, node: Node, effect: io.Effect) -> None:
        if isinstance(effect, io.Proposed):
            asked = self.by_ticket.get((node.me, effect.ticket))
            if asked is not None:
                asked.index, asked.term = effect.index, effect.term
        elif isinstance(effect, io.FastDecided):
            asked = self.by_ticket.pop((node.me, effect.ticket), None)
            if asked is not None:
                # It may be answered, and is perhaps in no log yet.
                asked.done, asked.done_at = True, node.engine.now
                self.fast_decided.add(asked.data)
        elif isinstance(effect, io.FastUndecided):
            asked = self.by_ticket.pop((node.me, effect.ticket), None)
            if asked is not None:
                asked.maybe = True
                self._again(asked)
        elif isinstance(effect, io.Refused):
            asked = self.by_ticket.pop((node.me, effect.ticket), None)
            if asked is not None:
                asked.maybe = asked.maybe or effect.reason == "lost"
                self._again(asked, effect.leader)

    # -- clients

    def command(self, number: int) -> None:
        asked = Asked(b"command %d" % number, asked_at=self.engine.now)
        self.asked.append(asked)
        self.submit(asked, 0)

    def _again(self, asked: Asked, leader: int = 0) -> None:
        self.engine.after(RETRY_S, self.submit, asked, leader)

    def _give_up(self, asked: Asked, ticket: int) -> None:
        """No answer: perhaps a snapshot took the place of the log where it stands."""
        if not asked.done and asked.ticket == ticket and self.by_ticket.pop((asked.node, ticket), None) is not None:
            asked.maybe = True
            self.submit(asked, 0)

    def submit(self, asked: Asked, leader: int) -> None:
        if asked.done:
            return
        node = self.nodes[leader if leader in self.correct else self.engine.random.choice(self.correct)]
        self.ticket += 1
        asked.node, asked.ticket, asked.index, asked.tried = node.me, self.ticket, 0, self.engine.now
        if not node.up:
            self._again(asked)
            return
        self.by_ticket[node.me, self.ticket] = asked
        self.engine.after(PATIENCE_S, self._give_up, asked, self.ticket)
        if node.core.mode == FAST and self.engine.random.random() < 0.7:
            # To stand in the log twice is its right: sessions make that one.
            asked.maybe = True
            node.feed(io.FastPropose(((self.ticket, asked.data, (crc32(asked.data),)),)))
        else:
            node.feed(io.Propose(((self.ticket, asked.data),)))

    # -- the operator

    def operate(self, at: int) -> None:
        """Propose the next mode until it is there."""
        if at >= len(self.plan.modes):
            return
        most = max(self.nodes[me].core.state.number for me in self.correct)
        if most > at:
            self.engine.after(self.plan.every_s, self.operate, at + 1)
            return
        node = self.nodes[self.engine.random.choice(self.correct)]
        if node.up and node.core.state.number == at:
            self.ticket += 1
            node.feed(io.Propose(((self.ticket, encode_epoch(Epoch(at + 1, self.plan.modes[at]))),), EPOCH))
        self.engine.after(RETRY_S, self.operate, at)

    # -- faults

    def crash(self, me: int) -> None:
        node = self.nodes[me]
        if not node.up:
            return
        node.crash()
        for key in [key for key in self.by_ticket if key[0] == me]:
            # Whoever waited does not know.
            asked = self.by_ticket.pop(key)
            asked.maybe = True
            self._again(asked)
        self.engine.after(self.engine.random.uniform(0.02, 2.0), node.restart)

    def cut(self) -> None:
        ids = [0, *self.members.voters]
        self.engine.random.shuffle(ids)
        at = self.engine.random.randrange(1, len(ids))
        self.network.partition([ids[:at], ids[at:]])
        self.engine.after(self.engine.random.uniform(0.3, 2.0), self.network.heal)

    def blackout(self) -> None:
        for me in self.correct:
            self.crash(me)

    def stabilize(self) -> None:
        self.network.heal()
        self.network.loss = 0.0
        for node in self.nodes.values():
            node.restart()


def simulate(plan: Plan) -> Group:
    """Raises `Violation` where safety is broken."""
    group = Group(plan)
    engine, random = group.engine, group.engine.random
    for number in range(plan.commands):
        engine.at(random.uniform(0.5, plan.bad_s + plan.good_s / 3), group.command, number)
    for _ in range(plan.crashes):
        engine.at(random.uniform(0.5, plan.bad_s), lambda: group.crash(random.choice(group.correct)))
    for _ in range(plan.blackouts):
        engine.at(random.uniform(0.5, plan.bad_s), group.blackout)
    for _ in range(plan.partitions):
        engine.at(random.uniform(0.5, plan.bad_s), group.cut)
    engine.at(1.0, group.operate, 0)
    engine.at(plan.bad_s, group.stabilize)
    engine.run(plan.bad_s + plan.good_s)
    return group
