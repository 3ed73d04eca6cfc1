"""One schedule from its seed to its report: a group, clients, misfortunes, and in the end the proof that all is well again."""

from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agent.core.replica.log import SnapshotMeta
from agent.sim.consensus.clients import Clients, ClientsConfig
from agent.sim.consensus.driver import Factory
from agent.sim.consensus.host import Host
from agent.sim.consensus.nemesis import Nemesis, draw_features
from agent.sim.consensus.oracle import Oracle, Violation
from agent.sim.consensus.settings import Settings
from agent.sim.consensus.swarm import ConsensusSwarm
from agent.sim.consensus.watch import Watcher
from agent.sim.disk import DiskConfig
from agent.sim.engine import Engine
from agent.sim.history.linearizable import check
from agent.sim.history.models import Counter, Model, Register
from agent.sim.history.operation import Operation
from agent.sim.history.report import explain
from agent.sim.network import NetworkConfig

HEAL_S = 12.0
"""In so many simulated seconds after the last misfortune everybody who waits is answered, and all replicas are alike: the time
for some elections that fail, a change of members and a snapshot, with the timings of `Core`s for schedules."""
STEP_S = 0.05


class Core(Struct, frozen=True):
    """A consensus core as the simulator takes it. `durable_majorities`, `one_leader`: see `Oracle`; others than Raft may not have them."""

    name: str
    factory: Factory
    encode: Callable[[Any], bytes] | None = None
    decode: Callable[[bytes], Any] | None = None
    durable_majorities: bool = True
    one_leader: bool = True
    swarm: type[ConsensusSwarm] = ConsensusSwarm
    """Mutants of the host are subclasses."""


class Plan(Struct, frozen=True):
    seed: int = 1
    seconds: float = 2.0
    """Of misfortunes, simulated."""
    voters: int = 0
    """0: 3 or 5, as the seed has it."""
    spares: int = -1
    """-1: 0 to 2, as the seed has it."""
    features: tuple[str, ...] | None = None
    """Kinds of misfortune (`nemesis.FEATURES`); None: as the seed has it."""
    clients: ClientsConfig = ClientsConfig()
    clock_spread: float = 0.02
    """Clocks run up to so much too fast or too slow: two of them differ by 4 %, less than the 5 % that leases allow for."""


class Report(Struct, frozen=True):
    plan: Plan
    trace: str
    features: tuple[str, ...]
    hosts: int
    events: int
    checks: int
    simulated_s: float
    committed: int
    terms: int
    operations: int
    unknown: int
    stale_reads: int
    snapshots_installed: int
    crashes: int
    healed_s: float
    """From the last misfortune until everything was well."""
    misfortunes: dict[str, int]


def simulate(plan: Plan, core: Core) -> Report:
    """Raises Violation where a promise is broken, and whatever a core raises; both carry a note of the seed and of the time."""
    run = Run(plan, core)
    try:
        return run.go()
    except Exception as error:
        error.add_note(f"seed {plan.seed}, features: {', '.join(run.features) or 'none'}, {len(run.swarm.hosts)} machines")
        error.add_note("what came before:\n" + "\n".join(f"  {line}" for line in run.swarm.notes))
        raise


class Counts(Watcher):
    def __init__(self) -> None:
        self.installs = 0
        self.crashes = 0

    def installed(self, host: Host, meta: SnapshotMeta) -> None:
        self.installs += 1

    def crashed(self, host: Host, power: bool) -> None:
        self.crashes += 1


class Run:
    """Chance of three kinds, each from the seed: the engine's (network, cores), the clients' and the nemesis's, so that a change in one
    leaves the others as they are."""

    def __init__(self, plan: Plan, core: Core) -> None:
        self.plan = plan
        random = Random(f"{plan.seed}/plan")
        self.features = draw_features(random) if plan.features is None else plan.features
        voters = plan.voters or random.choice((3, 3, 3, 5))
        spares = plan.spares if plan.spares >= 0 else random.choice((0, 1, 2)) if {"members", "wipe"} & set(self.features) else 0
        engine = Engine(plan.seed)
        codec = random.random() < 0.25
        self.swarm = core.swarm(
            engine,
            core.factory,
            settings_for(self.features, voters, spares, random),
            encode=core.encode if codec else None,
            decode=core.decode if codec else None,
        )
        self.oracle = Oracle(self.swarm, durable_majorities=core.durable_majorities, one_leader=core.one_leader)
        self.swarm.watch(self.oracle)
        self.counts = Counts()
        self.swarm.watch(self.counts)
        self.swarm.start()
        # In some runs sessions end by themselves in the midst of it.
        config = replace(plan.clients, session_ttl_ms=random.choice((60_000, 60_000, 700)))
        self.clients = Clients(self.swarm, self.oracle, config, Random(f"{plan.seed}/clients"))
        self.nemesis = Nemesis(self.swarm, self.features, Random(f"{plan.seed}/nemesis"), voters, plan.clock_spread)

    def go(self) -> Report:
        engine = self.swarm.engine
        engine.run(self.plan.seconds)
        self.nemesis.heal()
        healed = engine.now
        self.clients.stop()
        while not self.well():
            if engine.now > healed + HEAL_S:
                raise self.not_well()
            engine.run(engine.now + STEP_S)
        for host in self.swarm.hosts:
            self.oracle.same_state(host)
        check_histories(self.clients.recorder.operations)
        return self.report(engine.now - healed)

    def well(self) -> bool:
        """Everybody is answered, the members are as they should be, and all that is committed is applied everywhere."""
        if self.clients.waiting():
            return False
        leader = self.swarm.leader()
        if leader is None or leader.members.outgoing or self.nemesis.lost_voters(leader):
            return False
        ids = {*leader.members.voters, *leader.members.learners}
        applied = [host.applied for host in self.swarm.hosts if host.peer in ids]
        return min(applied) == max(applied) >= self.oracle.last_committed

    def not_well(self) -> Violation:
        hosts = [
            f"{host.name} {host.role} term {host.term} applied {host.applied} commit {host.core.commit if host.core else '-'} "
            f"voters {self.swarm.names(host.members)}"
            for host in self.swarm.hosts
        ]
        return Violation(
            f"liveness: {HEAL_S:g} s after the last misfortune {self.clients.waiting()} clients wait, "
            f"committed {self.oracle.last_committed}; " + "; ".join(hosts)
        )

    def report(self, healed_s: float) -> Report:
        swarm, oracle = self.swarm, self.oracle
        operations = self.clients.recorder.operations
        return Report(
            plan=self.plan,
            trace=f"{swarm.engine.trace:016x}",
            features=self.features,
            hosts=len(swarm.hosts),
            events=swarm.engine.events,
            checks=oracle.checks,
            simulated_s=swarm.engine.now,
            committed=oracle.last_committed,
            terms=len(oracle.leaders),
            operations=len(operations),
            unknown=sum(not one.known for one in operations),
            stale_reads=self.clients.stale_reads,
            snapshots_installed=self.counts.installs,
            crashes=self.counts.crashes,
            healed_s=healed_s,
            misfortunes=self.nemesis.counts,
        )


def check_histories(operations: list[Operation]) -> None:
    """Raises Violation with an explanation where they are not linearizable."""
    models: list[tuple[Model, str]] = [(Register(), "k"), (Counter(), "c")]
    for model, first in models:
        verdicts = check((one for one in operations if one.key[0] == first), model)
        if any(verdict.linearizable is False for verdict in verdicts):
            raise Violation(explain(verdicts))


def settings_for(features: tuple[str, ...], voters: int, spares: int, random: Random) -> Settings:
    network = NetworkConfig(
        same_zone_s=0.0005,
        same_region_s=random.choice((0.0005, 0.002, 0.01)),
        loss=random.choice((0.01, 0.05, 0.2)) if "loss" in features else 0.0,
        duplication=random.choice((0.05, 0.3)) if "disorder" in features else 0.0,
        reordering=0.1 if "disorder" in features else 0.0,
    )
    return Settings(
        voters=voters,
        spares=spares,
        network=network,
        disk=DiskConfig(fsync_s=random.choice((0.0005, 0.002, 0.01))),
        snapshot_every=random.choice((5, 20, 60)) if "snapshots" in features else 10_000,
        in_order="disorder" not in features,
        priorities=random.choice(((1,), (1,), (1, 2, 3))),
        ticks=True,
    )
