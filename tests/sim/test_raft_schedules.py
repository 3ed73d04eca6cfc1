"""Raft, the log on disk and the state machine through short schedules of misfortunes, each from its seed (`make sim` runs more)."""

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.raft.config import RaftConfig
from agent.sim.consensus.cores import raft
from agent.sim.consensus.failover import measure
from agent.sim.consensus.nemesis import FEATURES
from agent.sim.consensus.run import Plan, Report, simulate

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 200
CHUNKS = 8


@pytest.fixture
def no_cycles() -> Iterator[None]:
    """A run makes few cycles and many objects; looking for cycles would cost a tenth of the time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def run(plan: Plan) -> Report:
    try:
        return simulate(plan, raft())
    except Exception as error:
        error.add_note(f"again: pilotfish simulate raft --seed {plan.seed} --seeds 1 --seconds {plan.seconds:g}")
        raise


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_holds_in_schedules_of_misfortunes(chunk: int, no_cycles: None) -> None:
    """Each run checks its promises at every step, the histories of its clients, and that the group is well again in the end."""
    reports = [run(Plan(seed)) for seed in range(1 + chunk * CHUNK, 1 + (chunk + 1) * CHUNK)]
    print(f"{sum(report.events for report in reports)} events, {sum(report.committed for report in reports)} entries committed")
    happened: Counter[str] = Counter()
    for report in reports:
        happened.update(report.misfortunes)
        happened.update(feature for feature in report.features if feature not in report.misfortunes)
    assert set(happened) == set(FEATURES)
    # The schedules must not be so harsh that nothing happens in them, nor so mild that nothing goes wrong.
    assert sum(report.committed for report in reports) > 25 * CHUNK
    assert sum(report.operations for report in reports) > 40 * CHUNK
    assert sum(report.terms for report in reports) > 1.5 * CHUNK
    assert sum(report.crashes for report in reports) > CHUNK
    assert sum(report.snapshots_installed for report in reports) > CHUNK / 10


def test_one_seed_is_one_schedule_in_every_process() -> None:
    program = (
        "from agent.sim.consensus.run import *; from agent.sim.consensus.cores import raft;"
        "print([simulate(Plan(seed), raft()).trace for seed in range(1, 13)])"
    )
    traces = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        words = [sys.executable, "-c", program]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        traces.add(done.stdout)
    assert len(traces) == 1
    assert len(set(traces.pop().split(","))) == 12


def test_after_the_leaders_death_commands_are_answered_within_two_seconds() -> None:
    """With the default timings, from the crash to the next command that a client is told of."""
    found = measure(raft(RaftConfig()), range(1, 61))
    assert not found.never
    assert len(found.took_s) == 60
    # election_s to twice as much without word from the leader, two votes and a write. (60 crashes: at most one may be beyond.)
    assert found.quantile(0.5) < 1.6
    assert found.took_s[-2] < 2.0
