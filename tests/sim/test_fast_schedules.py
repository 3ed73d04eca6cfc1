"""The fast path through schedules of misfortunes: histories stay linearizable and exactly-once, and nothing that was answered is lost."""

from random import Random
from statistics import median

import pytest

from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.sim.consensus import machine
from agent.sim.consensus.clients import ClientsConfig
from agent.sim.consensus.fast import Ambush, FastService, FastSwarm, fast
from agent.sim.consensus.host import Answer, Host
from agent.sim.consensus.machine import Command
from agent.sim.consensus.oracle import Violation
from agent.sim.consensus.run import Plan, Run
from agent.sim.consensus.service import Service
from agent.sim.consensus.settings import Settings
from agent.sim.consensus.swarm import ConsensusSwarm
from agent.sim.disk import DiskConfig
from agent.sim.engine import Engine
from agent.sim.network import NetworkConfig
from tests.sim.fast_mutants import MUTANTS

CHUNK = 50
WRITERS = ClientsConfig(count=6, keys=2, counters=0, think_s=0.006, read_shares=(0.1, 0.3, 0.6))


def played(plan: Plan, swarm: type[FastSwarm], kind: type[Raft] = Raft) -> int:
    """How many commands were answered before they were committed."""
    run = Run(plan, fast(swarm, kind))
    run.go()
    service = run.swarm.service
    assert isinstance(service, FastService)
    return service.fast


@pytest.mark.parametrize("chunk", range(2))
def test_every_promise_holds_in_schedules_of_misfortunes(chunk: int) -> None:
    plans = [Plan(seed=seed, clients=ClientsConfig(count=4, keys=3)) for seed in range(1 + chunk * CHUNK, 1 + (chunk + 1) * CHUNK)]
    assert sum(played(plan, FastSwarm) for plan in plans) > 4 * CHUNK


def test_every_promise_holds_when_the_power_goes_at_the_moment_of_a_decision() -> None:
    """The leader's, whose log alone may have the command; or everybody's, and the leader stays away."""
    assert sum(played(Plan(seed=seed, features=(), clients=WRITERS), Ambush) for seed in range(40)) > 150


@pytest.mark.parametrize("kind", MUTANTS, ids=lambda kind: kind.__name__)
def test_a_broken_one_is_caught(kind: type[Raft]) -> None:
    for seed in range(60):
        try:
            played(Plan(seed=seed, features=(), clients=WRITERS), Ambush, kind)
        except Violation as error:
            if "linearizable" in str(error):
                return
            raise
    raise AssertionError("not caught in 60 schedules")


class OneWriter:
    """At a replica that does not lead, 10 ms from the others: one blind write after the other, to keys of their own."""

    def __init__(self, swarm: type[ConsensusSwarm]) -> None:
        settings = Settings(
            voters=3,
            zones=1,
            network=NetworkConfig(same_zone_s=0.01, same_region_s=0.01, spread=0.0),
            disk=DiskConfig(fsync_s=0.0002),
        )
        core = fast(FastSwarm, config=RaftConfig())
        self.swarm = swarm(Engine(5), core.factory, settings)
        self.swarm.network = type(self.swarm.network)(settings.network, [(0, 0)] * 3, Random(1), [1.0] * 4096)
        if isinstance(self.swarm, FastSwarm):
            self.swarm.entries_late_s = 0.0
        self.swarm.start()
        self.took_s: list[float] = []

    def measure(self, count: int) -> float:
        swarm = self.swarm
        while swarm.leader() is None:
            swarm.engine.run(swarm.engine.now + 0.1)
        swarm.engine.run(swarm.engine.now + 1.0)
        home = next(host for host in swarm.hosts if host is not swarm.leader())
        session = self.ask(home, Command(0, 0, 0, machine.open_session(60_000)))
        assert isinstance(session, int)
        for request in range(1, count + 1):
            began = swarm.engine.now
            self.ask(home, Command(session, request, 0, machine.put(f"k{request}", "v")))
            self.took_s.append(swarm.engine.now - began)
        return median(self.took_s)

    def ask(self, home: Host, command: Command) -> object:
        answers: list[Answer] = []
        self.swarm.service.propose(home, command, answers.append)
        while not answers:
            self.swarm.engine.run(self.swarm.engine.now + 0.0005)
        assert answers[0].status == "ok"
        outcome = answers[0].value
        assert isinstance(outcome, machine.Outcome) and not outcome.error
        return outcome.value


def test_a_decision_takes_one_round_trip_and_the_ordered_path_two() -> None:
    """At 20 ms from replica to replica and back. What is asked for is at most 0.7 of the ordered path's median."""
    quick = OneWriter(FastSwarm).measure(40)
    ordered = OneWriter(ConsensusSwarm).measure(40)
    print(f"fast {quick * 1e3:.1f} ms, ordered {ordered * 1e3:.1f} ms")
    assert 0.020 <= quick < 0.023
    assert 0.040 <= ordered < 0.045
    assert quick <= 0.7 * ordered
    assert Service.propose is not FastService.propose
