"""What the membership promises, in swarms small enough to be quick; larger ones are run by the command (docs/membership.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.swim.config import LAN, LOCAL
from agent.core.swim.io import UpdateMeta
from agent.sim.engine import Engine
from agent.sim.network import NetworkConfig
from agent.sim.run import Plan, Report, simulate
from agent.sim.swarm import Swarm

ROOT = Path(__file__).resolve().parents[2]


def run(plan: Plan) -> Report:
    report = simulate(plan)
    print(f"seed {plan.seed}, trace {report.trace}")
    return report


@pytest.mark.parametrize(("nodes", "minutes"), [(10, 4.0), (100, 1.0)])
def test_every_crash_is_noticed_by_everybody_and_soon(nodes: int, minutes: float) -> None:
    report = run(Plan(nodes, minutes, 3, "crash"))
    assert report.crashes >= 4
    assert report.detected == report.crashes
    assert report.suspected_s["p50"] <= 2 * LAN.probe_interval_s + LAN.probe_timeout_s
    assert report.confirmed_s["max"] < 5.0
    assert report.false_positives == 0


def test_loss_duplication_and_reordering_neither_hide_deaths_nor_make_them_up() -> None:
    report = run(Plan(50, 2.0, 5, "loss"))
    assert report.crashes >= 5
    assert report.detected == report.crashes
    assert report.false_positives == 0


@pytest.mark.parametrize("scenario", ["partition", "asymmetric"])
def test_parts_agree_again_within_10_s_of_a_heal(scenario: str) -> None:
    report = run(Plan(60, 1.0, 7, scenario))
    assert report.convergence_s
    assert all(seconds is not None and seconds <= 10.0 for seconds in report.convergence_s), report.convergence_s


def test_members_that_most_can_reach_are_not_dead_for_those_who_cannot() -> None:
    report = run(Plan(60, 1.0, 9, "partial"))
    assert report.false_positives == 0


def test_clocks_that_disagree_change_nothing() -> None:
    report = run(Plan(30, 1.5, 11, "skew"))
    assert report.crashes >= 3
    assert report.detected == report.crashes
    assert report.false_positives == 0


def test_who_leaves_is_not_taken_for_dead() -> None:
    report = run(Plan(30, 1.0, 13, "churn"))
    assert report.left >= 3
    assert report.false_positives == 0
    assert report.refutations == 0 or report.false_suspicions == 0


def test_one_seed_is_one_history_in_every_process() -> None:
    program = "from agent.sim.run import *; print([simulate(Plan(30, 0.7, 21, s)).trace for s in ('crash', 'loss', 'pause', 'partition')])"
    traces = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout)
    assert len(traces) == 1
    assert simulate(Plan(30, 0.7, 22, "crash")).trace not in traces.pop()


def test_what_goes_wrong_names_its_seed() -> None:
    engine = Engine(77)
    engine.after(1.5, lambda: [][0])
    with pytest.raises(IndexError) as caught:
        engine.run(2.0)
    assert "seed 77, at 1.500000 s" in caught.value.__notes__[0]


def test_slow_members_do_not_make_healthy_ones_dead_as_they_do_in_plain_swim() -> None:
    ours, plain = (run(Plan(50, 0.8, 1, "slow", setting=setting)) for setting in ("ours", "plain"))
    assert plain.false_positives >= 50
    assert plain.false_positives_at_healthy >= 1
    assert 50 * ours.false_positives <= plain.false_positives
    assert 50 * ours.false_positives_at_healthy <= plain.false_positives_at_healthy


def test_members_that_stop_for_seconds_do_not_make_healthy_ones_dead_as_they_do_in_plain_swim() -> None:
    ours, plain = (run(Plan(60, 1.0, 2, "pause", setting=setting)) for setting in ("ours", "plain"))
    assert plain.false_positives >= 50
    assert plain.false_positives_at_healthy >= 1
    assert 50 * ours.false_positives <= plain.false_positives
    assert 50 * ours.false_positives_at_healthy <= plain.false_positives_at_healthy
    assert ours.unwell_declared_dead > 0  # who is stopped is found all the same


def test_traffic_grows_with_log_n_only() -> None:
    small, large = (run(Plan(nodes, 0.5, 1, "steady")) for nodes in (10, 100))
    assert small.packets_s == pytest.approx(4 / LAN.probe_interval_s / 2, rel=0.1)
    assert large.packets_s == pytest.approx(small.packets_s, rel=0.1)
    assert large.bytes_s < 1.2 * small.bytes_s
    middle, most = (run(Plan(nodes, 3.0 if nodes == 32 else 6.0, 1, "steady")) for nodes in (32, 96))
    assert most.stream_bytes_s < 1.6 * middle.stream_bytes_s


def test_phi_accrual_notices_sooner_where_round_trips_are_steady() -> None:
    ours, phi = (run(Plan(30, 1.5, 4, "crash", setting=setting)) for setting in ("ours", "phi"))
    assert phi.detected == phi.crashes
    assert phi.suspected_s["p50"] < ours.suspected_s["p50"]


def agreed_after_s(swarm: Swarm) -> float:
    """Let time pass until all agree on who is there."""
    engine = swarm.engine
    began = engine.now
    while not swarm.converged() and engine.now < began + 30.0:
        engine.run(engine.now + 0.02)
    took_s = engine.now - began
    engine.run(engine.now + 3.0)
    return took_s


@pytest.mark.parametrize("nodes", [5, 20])
def test_few_members_on_one_machine_agree_at_once_and_on_a_death_in_two_seconds(nodes: int) -> None:
    for seed in range(1, 11):
        swarm = Swarm(Engine(seed), LOCAL, nodes, NetworkConfig(), zones=1, join=True)
        assert agreed_after_s(swarm) < 0.5, f"joins, seed {seed}"
        swarm.crash(swarm.hosts[nodes // 2])
        assert agreed_after_s(swarm) < 2.5, f"a crash, seed {seed}"
        swarm.leave(swarm.hosts[-1])
        assert agreed_after_s(swarm) < 0.5, f"a leave, seed {seed}"
        swarm.restart(swarm.hosts[nodes // 2], (swarm.hosts[0].place,))
        assert agreed_after_s(swarm) < 0.5, f"a restart, seed {seed}"


def test_who_comes_back_without_a_memory_is_told_of_it_and_known_again_soon() -> None:
    """Its first incarnation does not outbid the life that ended, and nobody that it joins by knows of that one."""
    swarm = Swarm(Engine(4), LAN, 12, NetworkConfig(), join=True)
    agreed_after_s(swarm)
    gone = swarm.hosts[5]
    for number in range(60):
        swarm.feed(gone, UpdateMeta(b"%d" % number))
    agreed_after_s(swarm)
    swarm.leave(gone)
    agreed_after_s(swarm)
    swarm.crash(gone)
    fresh = swarm.hosts[6]
    swarm.crash(fresh)
    agreed_after_s(swarm)
    swarm.restart(fresh, (swarm.hosts[0].place,))
    agreed_after_s(swarm)
    assert fresh.core.member(gone.name) is None
    swarm.restart(gone, (fresh.place,))
    assert gone.core.own.incarnation < swarm.hosts[0].core.member(gone.name).incarnation
    assert agreed_after_s(swarm) < 2.0
