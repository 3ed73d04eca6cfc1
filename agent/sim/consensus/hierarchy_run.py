"""One schedule of misfortunes in regions and between them, from its seed, with the proof in the end that all is well again."""

from collections.abc import Callable
from random import Random
from typing import Final

from msgspec import Struct

from agent.core.raft.config import RaftConfig
from agent.sim.consensus.clients import Clients, ClientsConfig
from agent.sim.consensus.cores import RAFT_FAST, raft
from agent.sim.consensus.hierarchy import World
from agent.sim.consensus.nemesis import Nemesis
from agent.sim.consensus.oracle import Violation
from agent.sim.consensus.regions import part_of
from agent.sim.consensus.run import check_histories, settings_for
from agent.sim.engine import Engine

GLOBAL_FAST: Final = RaftConfig(
    heartbeat_s=0.1, election_s=0.7, snapshot_retry_s=0.5, snapshot_chunk_bytes=1024, margin_entries=8, max_batch_bytes=2048, max_inflight=4
)
"""Between regions: an answer takes a trip across and two decisions of the regions' own groups."""
INSIDE: Final = ("kill", "power", "leader_crash", "pause", "freeze", "partition", "isolate", "loss", "slow_disk", "snapshots", "transfer")
ACROSS: Final = ("cut_off", "one_way_across", "partial_across", "dark", "lossy")
"""cut_off: a region hears no other, nor is heard; one_way: it is heard, and does not hear, or the other way; partial: two regions do not
hear each other; dark: all machines of a region lose power; lossy: packets between regions are lost, from the beginning."""
MEAN_S: Final = 1.5
HEAL_S: Final = 30.0
STEP_S: Final = 0.1
GLOBAL_CLIENTS: Final = ClientsConfig(
    count=4, timeout_s=0.8, give_up_s=60.0, think_s=0.05, read_shares=(0.1, 0.5), stale_share=0.3, staleness_s=1.0
)
LOCAL_CLIENTS: Final = ClientsConfig(count=1, think_s=0.08, give_up_s=60.0)


class HierarchyPlan(Struct, frozen=True):
    seed: int = 1
    seconds: float = 7.0
    regions: int = 3
    features: tuple[str, ...] | None = None
    """Of `INSIDE` and `ACROSS`; None: as the seed has it."""


class HierarchyReport(Struct, frozen=True):
    plan: HierarchyPlan
    trace: str
    features: tuple[str, ...]
    events: int
    global_committed: int
    global_terms: int
    global_operations: int
    local_operations: int
    stale_reads: int
    acting_changes: int
    """Times that another node began to act for a region."""
    global_snapshots: int
    """Taken over from another region."""
    healed_s: float


def simulate_hierarchy(plan: HierarchyPlan, world: Callable[..., World] = World) -> HierarchyReport:
    """Raises Violation, and whatever a core raises; with a note of the seed and what came before."""
    run = HierarchyRun(plan, world)
    try:
        return run.go()
    except Exception as error:
        error.add_note(f"seed {plan.seed}, features: {', '.join(run.features) or 'none'}")
        for region in run.world.regions:
            error.add_note(f"region {region.number + 1}:\n" + "\n".join(f"  {line}" for line in list(region.notes)[-25:]))
        raise


class HierarchyRun:
    def __init__(self, plan: HierarchyPlan, world: Callable[..., World] = World) -> None:
        self.plan = plan
        random = Random(f"{plan.seed}/plan")
        drawn = tuple(feature for feature in (*INSIDE, *ACROSS) if random.random() < 0.35)
        self.features = drawn if plan.features is None else plan.features
        inside = tuple(feature for feature in self.features if feature in INSIDE)
        self.engine = Engine(plan.seed)
        settings = settings_for(inside, random.choice((1, 3, 3)), 0, random)
        core = raft(RAFT_FAST)
        loss = 0.05 if "lossy" in self.features else 0.0
        self.world = world(
            self.engine, core.factory, raft(GLOBAL_FAST).factory, plan.regions, settings, random.choice((0.005, 0.02, 0.05)), loss
        )
        self.world.start()
        self.clients = Clients(self.world, self.world.oracle, GLOBAL_CLIENTS, Random(f"{plan.seed}/clients"))
        self.local = [
            Clients(region, oracle, LOCAL_CLIENTS, Random(f"{plan.seed}/clients/{region.number}"))
            for region, oracle in zip(self.world.regions, self.world.oracles, strict=True)
        ]
        self.nemeses = [
            Nemesis(region, inside, Random(f"{plan.seed}/nemesis/{region.number}"), settings.voters, 0.02, MEAN_S)
            for region in self.world.regions
        ]
        self.random = Random(f"{plan.seed}/nemesis")
        self.across = [feature for feature in self.features if feature in ACROSS and feature != "lossy"]
        self.healed = False
        if self.across:
            self.engine.after(self.random.expovariate(1.0 / MEAN_S), self._act)

    def _act(self) -> None:
        if self.healed:
            return
        feature = self.across[self.random.randrange(len(self.across))]
        self.engine.mark_text(feature)
        number = self.random.randrange(self.plan.regions)
        region = self.world.regions[number]
        region.note(f"misfortune: {feature}")
        network = self.world.across
        if feature == "dark":
            for host in region.hosts:
                self.nemeses[number].crash(host, True)
        else:
            network.heal()
            if feature == "cut_off":
                self.world.cut_off(number)
            elif feature == "one_way_across":
                sides = [[number], [one for one in range(self.plan.regions) if one != number]]
                network.partition(sides if self.random.random() < 0.5 else sides[::-1], one_way=True)
            else:
                other = (number + 1) % self.plan.regions
                network.cut(number, other)
                network.cut(other, number)
            self.engine.after(0.2 + self.random.expovariate(1.0 / 1.5), network.heal)
        self.engine.after(self.random.expovariate(1.0 / MEAN_S), self._act)

    def go(self) -> HierarchyReport:
        engine = self.engine
        engine.run(self.plan.seconds)
        self.heal()
        healed = engine.now
        while not self.well():
            if engine.now > healed + HEAL_S:
                raise self.not_well()
            engine.run(engine.now + STEP_S)
        for region, oracle in zip(self.world.regions, self.world.oracles, strict=True):
            for host in region.hosts:
                oracle.same_state(host)
                self.world.oracle.same_state(part_of(host))
        for clients in (self.clients, *self.local):
            check_histories(clients.recorder.operations)
        return self.report(engine.now - healed)

    def heal(self) -> None:
        self.healed = True
        self.world.across.heal()
        self.world.across.loss = 0.0
        for nemesis in self.nemeses:
            nemesis.heal()
        for clients in (self.clients, *self.local):
            clients.stop()

    def well(self) -> bool:
        """All clients are answered, and every replica of every region has applied what is committed in the global log."""
        if self.clients.waiting() or any(clients.waiting() for clients in self.local):
            return False
        applied = [part_of(host).applied for host in self.world.hosts]
        same = all(len({host.applied for host in region.hosts}) == 1 for region in self.world.regions)
        return same and min(applied) == max(applied) >= self.world.oracle.last_committed

    def not_well(self) -> Violation:
        texts = []
        for region in self.world.regions:
            parts = ", ".join(f"{host.role} {host.applied}/{part_of(host).applied}" for host in region.hosts)
            texts.append(f"region {region.number + 1}: {parts}")
        waiting = f"{self.clients.waiting()} clients wait for the global group, {[one.waiting() for one in self.local]} for their regions"
        return Violation(f"liveness: {HEAL_S:g} s after the last misfortune {waiting}; " + "; ".join(texts))

    def report(self, healed_s: float) -> HierarchyReport:
        world = self.world
        return HierarchyReport(
            plan=self.plan,
            trace=f"{self.engine.trace:016x}",
            features=self.features,
            events=self.engine.events,
            global_committed=world.oracle.last_committed,
            global_terms=len(world.oracle.leaders),
            global_operations=len(self.clients.recorder.operations),
            local_operations=sum(len(clients.recorder.operations) for clients in self.local),
            stale_reads=self.clients.stale_reads,
            acting_changes=world.acting_changes,
            global_snapshots=world.global_snapshots,
            healed_s=healed_s,
        )
