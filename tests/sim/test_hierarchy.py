"""Regions and the global group of their leaders: order, what a cut-off region does, and broken builds that must be caught."""

import gc
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.hierarchy.acting import Acting
from agent.core.replica.io import Changed, Persist, Stored
from agent.core.replica.log import Entry, HardState
from agent.sim.consensus.clients import Clients
from agent.sim.consensus.cores import RAFT_FAST, raft
from agent.sim.consensus.hierarchy import World
from agent.sim.consensus.hierarchy_run import GLOBAL_CLIENTS, GLOBAL_FAST, LOCAL_CLIENTS, HierarchyPlan, simulate_hierarchy
from agent.sim.consensus.host import Answer, Host
from agent.sim.consensus.machine import Command, Query, put
from agent.sim.consensus.regions import Region, part_of
from agent.sim.consensus.service import STALE
from agent.sim.engine import Engine

SEEDS_MAX = 40


@pytest.fixture(autouse=True)
def no_cycles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("chunk", range(4))
def test_every_promise_holds_in_regions_and_between_them(chunk: int) -> None:
    """Beside each region's own: one global order everywhere, one leader a term, one vote a region and term, linearizable histories of
    global and of local clients, and all well in the end."""
    reports = [simulate_hierarchy(HierarchyPlan(seed)) for seed in range(1 + 15 * chunk, 16 + 15 * chunk)]
    assert sum(report.global_committed for report in reports) > 600
    assert sum(report.acting_changes for report in reports) > 60
    assert sum(report.global_operations for report in reports) > 250
    assert sum(report.local_operations for report in reports) > 1200
    assert sum(report.global_snapshots for report in reports) > 0


class Asked:
    """What was told to one who asks once."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def __call__(self, answer: Answer) -> None:
        self.answers.append(answer)

    @property
    def ok(self) -> bool:
        return any(answer.status == "ok" for answer in self.answers)


def world_of(seed: int) -> World:
    world = World(Engine(seed), raft(RAFT_FAST).factory, raft(GLOBAL_FAST).factory)
    world.start()
    world.engine.run(4.0)
    return world


def leader_of(region: Region) -> Host:
    leader = region.leader()
    assert leader is not None
    return leader


def globally(world: World, region: Region, key: str, value: str) -> Asked:
    asked = Asked()
    world.service.propose(leader_of(region), Command(0, 0, 0, put(key, value)), asked)
    return asked


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_region_that_is_cut_off_goes_on_with_what_is_its_own(seed: int) -> None:
    world = world_of(seed)
    engine, lonely = world.engine, world.regions[2]
    elsewhere = world.regions[0]
    assert globally(world, lonely, "k", "before")
    engine.run(engine.now + 1.0)
    local = Clients(lonely, world.oracles[2], LOCAL_CLIENTS, Random(seed))
    world.cut_off(2)
    cut = engine.now
    engine.run(cut + 3.0)

    here, there = globally(world, lonely, "k", "here"), globally(world, elsewhere, "k", "there")
    engine.run(engine.now + 2.0)
    assert there.ok and not here.ok
    mine = len([one for one in local.recorder.operations if one.start > cut + 1.0 and one.known])
    assert mine > 10

    leader = leader_of(lonely)
    seat = world.seat_of(leader)
    assert seat is not None
    staleness = seat.acting.staleness(world.now(leader))
    assert engine.now - cut - 0.1 <= staleness <= engine.now - cut + 1.0
    bounded, unbounded = Asked(), Asked()
    world.service.read(leader, Query("k"), STALE, bounded, 1.0)
    world.service.read(leader, Query("k"), STALE, unbounded, 60.0)
    assert [answer.status for answer in bounded.answers] == ["stale"]
    assert [answer.value for answer in unbounded.answers] == ["before"]

    world.across.heal()
    engine.run(engine.now + 4.0)
    seat = world.seat_of(leader_of(lonely))
    assert seat is not None and seat.acting.staleness(world.now(leader_of(lonely))) < 1.0
    fresh = Asked()
    world.service.read(leader_of(lonely), Query("k"), STALE, fresh, 1.0)
    assert fresh.answers[0].value in ("there", "here")
    assert {part_of(host).machine.digest() for host in world.hosts if part_of(host).applied == world.oracle.last_committed}


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_new_leader_of_a_region_goes_on_as_the_same_member(seed: int) -> None:
    """Even of the region that leads: with its term, its vote and its log."""
    world = world_of(seed)
    engine = world.engine
    clients = Clients(world, world.oracle, GLOBAL_CLIENTS, Random(seed))
    engine.run(engine.now + 1.0)
    number = max(world.oracle.leaders.items())[1]
    region = world.regions[number]
    first = leader_of(region)
    before = part_of(first)
    region.crash(first, power=True)
    engine.run(engine.now + 1.5)
    second = leader_of(region)
    assert second is not first
    after = part_of(second)
    assert after.me == before.me and after.hard.term >= before.hard.term and after.applied >= before.applied
    answered = len(clients.latencies)
    engine.run(engine.now + 2.0)
    assert len(clients.latencies) > answered


# -- broken on purpose


class SaysStoredEarly(Acting):
    """Takes what the region's leader has for what the region has."""

    def _keep(self, batch: Persist, inputs: Any) -> None:
        super()._keep(batch, inputs)
        inputs.append(Stored(batch.number))


class EarlyWorld(World):
    acting = SaysStoredEarly


class ForgetfulWorld(World):
    """A new leader of a region begins without the member's vote."""

    def recovered(self, host: Host) -> Any:
        found = super().recovered(host)
        return replace(found, hard=HardState(found.hard.term, 0, found.hard.commit))


class HastyWorld(World):
    """A new leader of a region acts before it has applied what those before it kept."""

    def changed(self, host: Host, effect: Changed) -> None:
        super().changed(host, effect)
        host.role, host.term = effect.role, effect.term
        if effect.role == "leader" and part_of(host).me:
            self.begin(host)


class UnendingWorld(World):
    """Who no longer leads its region goes on acting, and keeps what it wants kept by way of the new leader."""

    hops = 0

    def changed(self, host: Host, effect: Changed) -> None:
        """Nothing ends."""


class DisorderlyWorld(World):
    """Applies global commands where it hears of them, not where the region's log says."""

    def applied(self, host: Host, entry: Entry, value: object) -> None:
        super().applied(host, entry, value)
        part = part_of(host)
        if host.role == "leader" and part.last > part.applied:
            part._apply(part.last)


@pytest.mark.parametrize("world", [EarlyWorld, ForgetfulWorld, HastyWorld, UnendingWorld, DisorderlyWorld])
def test_a_broken_hierarchy_is_caught(world: type[World]) -> None:
    features = ("leader_crash", "transfer", "partial_across") if world is HastyWorld else ("leader_crash", "isolate", "transfer", "cut_off")
    for seed in range(26, 26 + SEEDS_MAX):
        try:
            simulate_hierarchy(HierarchyPlan(seed, features=features), world)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {error}")
            return
    pytest.fail(f"{world.__name__} was not caught")
