"""Byzantine groups under a seed: clients at the correct members, liars, a bad network until the global stabilization time, crashes."""

from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct

from agent.core.pbft.config import PbftConfig
from agent.core.pbft.core import Pbft
from agent.core.pbft.wire import WireError, decode, encode
from agent.core.replica import io
from agent.core.replica.log import Members, Peer, Recovered, SnapshotMeta
from agent.sim.byzantine.keys import Keys
from agent.sim.byzantine.liars import LIARS, Liar
from agent.sim.byzantine.node import BEGINNING, Node
from agent.sim.byzantine.oracle import Oracle
from agent.sim.engine import Engine
from agent.sim.network import Network, NetworkConfig

CONTEXT = b"simulated"
BURST_S = 0.1
Change = Callable[[Pbft], None]


class Plan(Struct, frozen=True):
    """`liars`: kinds, for members 1, 2, ... (member 1 is the first primary). `spoil`: breaks a core on purpose."""

    seed: int
    voters: int = 4
    liars: tuple[str, ...] = ()
    bad_s: float = 10.0
    """Until then (GST) the network loses, doubles, reorders and is cut, and correct members crash."""
    good_s: float = 40.0
    proposals: int = 60
    crashes: int = 2
    blackouts: int = 1
    """Times that all correct members lose power at once."""
    partitions: int = 2
    reads: int = 20
    fsync_s: float = 0.001
    spoil: Change | None = None
    config: PbftConfig = PbftConfig(
        context=CONTEXT, checkpoint_interval=8, window=32, max_inflight=4, request_timeout_s=1.0, timeout_max_s=8.0, snapshot_entries=40
    )


class Swarm:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = engine = Engine(plan.seed)
        ids = tuple(range(1, plan.voters + 1))
        self.members = Members(voters=ids, peers=tuple(Peer(i, f"node-{i}") for i in ids))
        network = NetworkConfig(loss=0.05, duplication=0.03, reordering=0.1)
        self.network = Network(network, [(0, 0)] * (plan.voters + 1), engine.random)
        self.keys = Keys(plan.seed)
        lying = ids[: len(plan.liars)]
        self.correct = tuple(one for one in ids if one not in lying)
        self.oracle = Oracle(set(self.correct))
        self.liars = {me: self._liar(me, kind, lying) for me, kind in zip(lying, plan.liars, strict=True)}
        beginning = SnapshotMeta(0, 0, self.members, 0, len(BEGINNING), b"")
        self.nodes = {me: Node(engine, me, self.make, self.send, beginning) for me in ids}
        for node in self.nodes.values():
            node.fsync_s = plan.fsync_s
            node.on_entry, node.on_answer = self.oracle.on_entry, self.oracle.on_answer
        self.undecodable = 0
        for me in self.liars:
            engine.after(BURST_S, self._burst, me)

    def _liar(self, me: int, kind: str, lying: tuple[int, ...]) -> Liar:
        signers = {one: self.keys.signer(one) for one in lying}
        return LIARS[kind](me, self.members.voters, CONTEXT, signers, Random(self.engine.random.random()))

    def make(self, me: int, recovered: Recovered) -> Pbft:
        core = Pbft(
            me, self.plan.config, self.members, recovered, self.keys.signer(me), self.keys.verify, nonce=self.engine.random.getrandbits(40)
        )
        if self.plan.spoil is not None:
            self.plan.spoil(core)
        return core

    # -- the network

    def send(self, source: int, to: int, message: Any) -> None:
        liar = self.liars.get(source)
        for delay, target, said in [(0.0, to, message)] if liar is None else liar.says(to, message):
            self._carry(source, target, said, delay)

    def _carry(self, source: int, to: int, message: Any, delay_s: float) -> None:
        if to == source or to not in self.nodes:
            return
        data = encode(message)
        for latency_s in self.network.delays(source, to):
            self.engine.after(delay_s + latency_s, self._arrive, source, to, data)

    def _arrive(self, source: int, to: int, data: bytes) -> None:
        try:
            message = decode(data)
        except WireError:
            self.undecodable += 1
            return
        if to in self.liars:
            self.liars[to].hears(message)
        self.engine.mark(to)
        self.nodes[to].feed(io.Receive(source, message))

    def _burst(self, me: int) -> None:
        for delay, to, message in self.liars[me].bursts():
            self._carry(me, to, message, delay)
        self.engine.after(BURST_S, self._burst, me)

    # -- load and faults

    def propose(self, number: int) -> None:
        node = self.nodes[self.engine.random.choice(self.correct)]
        if node.up:
            data = b"command %d" % number
            self.oracle.asked(node, number, data)
            node.feed(io.Propose(((number, data),)))

    def read(self, number: int) -> None:
        node = self.nodes[self.engine.random.choice(self.correct)]
        if node.up:
            self.oracle.read(node, number)
            node.feed(io.Read(number))

    def cut(self) -> None:
        ids = [0, *self.members.voters]
        self.engine.random.shuffle(ids)
        at = self.engine.random.randrange(1, len(ids))
        self.network.partition([ids[:at], ids[at:]])

    def crash(self) -> None:
        self._crash(self.nodes[self.engine.random.choice(self.correct)])

    def blackout(self) -> None:
        for me in self.correct:
            self._crash(self.nodes[me])

    def _crash(self, node: Node) -> None:
        if node.up:
            node.crash()
            # What it had asked died with it: nobody waits for the answer.
            for (member, _), asked in self.oracle.tickets.items():
                if member == node.me and not asked.answered:
                    asked.answered = self.engine.now
            self.oracle.reads = {key: value for key, value in self.oracle.reads.items() if key[0] != node.me}
            self.engine.after(self.engine.random.uniform(0.05, 3.0), node.restart)

    def stabilize(self) -> None:
        self.network.heal()
        self.network.loss = 0.0
        for node in self.nodes.values():
            node.restart()


def simulate(plan: Plan) -> Swarm:
    """Raises `Violation` where safety is broken. Liveness is for the caller to ask of the oracle."""
    swarm = Swarm(plan)
    engine = swarm.engine
    whole_s = plan.bad_s + plan.good_s / 4
    for number in range(1, plan.proposals + 1):
        engine.at(engine.random.uniform(0.01, whole_s), swarm.propose, number)
    for number in range(plan.reads):
        engine.at(engine.random.uniform(0.5, whole_s), swarm.read, 1_000_000 + number)
    for _ in range(plan.partitions):
        begin = engine.random.uniform(0.5, plan.bad_s * 0.8)
        engine.at(begin, swarm.cut)
        engine.at(begin + engine.random.uniform(0.5, 3.0), swarm.network.heal)
    for _ in range(plan.crashes):
        engine.at(engine.random.uniform(0.5, plan.bad_s), swarm.crash)
    for _ in range(plan.blackouts):
        engine.at(engine.random.uniform(0.5, plan.bad_s), swarm.blackout)
    engine.at(plan.bad_s, swarm.stabilize)
    engine.run(plan.bad_s + plan.good_s)
    return swarm
