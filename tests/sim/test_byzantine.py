"""What a Byzantine group promises with f liars among 3f + 1: agreement, validity, exactly once, linearizable reads, and answers after GST.

Each run passes through loss, doubling, reordering, partitions, crashes and a blackout before the network becomes good (GST).
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.pbft.board import Diverged
from agent.core.pbft.core import Pbft
from agent.sim.byzantine.liars import LIARS
from agent.sim.byzantine.oracle import Violation
from agent.sim.byzantine.run import Plan, Swarm, simulate

SEEDS = int(os.environ.get("PILOTFISH_SIM_SEEDS", "2"))
"""Of each kind of liar; more for a night."""
PAIRS = (
    ("colluder", "colluder"),
    ("equivocator", "forger"),
    ("silent", "wrong_digests"),
    ("late", "replayer"),
    ("mute", "impersonator"),
)


def check(swarm: Swarm) -> None:
    """Liveness after GST, and that nobody is called a liar who is none."""
    oracle = swarm.oracle
    print(f"seed {swarm.plan.seed}, trace {swarm.engine.trace}, {oracle.answered} answered")
    assert oracle.answered > swarm.plan.proposals / 3
    assert not oracle.unanswered()
    assert not oracle.reads
    heads = {swarm.nodes[me].core.commit for me in swarm.correct}
    assert len(heads) == 1
    digests = {swarm.nodes[me].machine.digest for me in swarm.correct}
    assert len(digests) == 1
    for me in swarm.correct:
        assert set(swarm.nodes[me].core.suspicions.liars()).isdisjoint(swarm.correct)


@pytest.mark.parametrize("kind", ["nobody", *LIARS])
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_one_liar_of_four_changes_nothing(kind: str, seed: int) -> None:
    check(simulate(Plan(seed, liars=() if kind == "nobody" else (kind,))))


@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_two_liars_of_seven_change_nothing(kinds: tuple[str, ...]) -> None:
    check(simulate(Plan(1, voters=7, liars=kinds, proposals=30, good_s=25.0)))


@pytest.mark.parametrize("kind", ["equivocator", "colluder", "wrong_digests", "forger", "flooder"])
def test_liars_are_found_out(kind: str) -> None:
    """By those who did not crash since: what speaks against a member is not kept on disk."""
    swarms = [simulate(Plan(seed, liars=(kind,), good_s=15.0, crashes=0, blackouts=0)) for seed in (1, 2, 3)]
    assert any(1 in swarm.nodes[me].core.suspicions.liars() for swarm in swarms for me in swarm.correct)


def test_one_seed_is_one_history() -> None:
    traces = [simulate(Plan(seed, liars=("forger",), good_s=10.0)).engine.trace for seed in (5, 5, 6)]
    assert traces[0] == traces[1] != traces[2]


def outage(liars: tuple[str, ...]) -> tuple[Swarm, list[tuple[int, bool]]]:
    """Member 4 is away while much more happens than anybody keeps as entries. Which snapshots it fetched."""
    plan = Plan(1, liars=liars)
    swarm = Swarm(replace(plan, config=replace(plan.config, snapshot_entries=20)))
    swarm.network.loss = 0.0
    away = swarm.nodes[4]
    fetched: list[tuple[int, bool]] = []
    stored = away._snapshot_stored

    def note(life: int, meta: Any, ok: bool) -> None:
        fetched.append((meta.index, ok))
        stored(life, meta, ok)

    away._snapshot_stored = note  # type: ignore[method-assign]
    for number in range(1, 301):
        swarm.engine.at(0.05 * number, swarm.propose, number)
    swarm.engine.at(2.0, away.crash)
    swarm.engine.at(13.0, away.restart)
    swarm.engine.run(40.0)
    return swarm, fetched


def test_who_was_away_gets_a_snapshot_that_is_proven_and_goes_on() -> None:
    swarm, fetched = outage(())
    check(swarm)
    assert fetched and all(ok for _, ok in fetched)
    assert all(len(node.core.board.history) < 100 for node in swarm.nodes.values())


def test_a_wrong_snapshot_or_wrong_entries_are_thrown_away_and_blamed_on_their_sender() -> None:
    swarm, fetched = outage(("wrong_digests",))
    check(swarm)
    assert any(not ok for _, ok in fetched) and fetched[-1][1]
    assert swarm.nodes[4].core.suspicions.counts[1, "state"]


def test_floods_fill_no_table() -> None:
    swarm = simulate(Plan(4, liars=("flooder",), good_s=30.0))
    config = swarm.plan.config
    for me in swarm.correct:
        board = swarm.nodes[me].core.board
        assert len(board.slots) <= config.window
        assert len(board.checkpoints) <= swarm.plan.voters * (config.window // config.checkpoint_interval + 2)
        assert len(board.pending) <= swarm.plan.voters * config.pending_max
        assert all(slot.seq <= board.slots.low + config.window and len(slot.commits) <= 4 for slot in board.slots.in_order())
        assert len(swarm.nodes[me].core.suspicions.kept) <= 32


# -- broken on purpose


def fewer_than_a_quorum(core: Pbft) -> None:
    """2f are enough for it."""
    core.desk.quorum -= 1


def unchecked_new_view(core: Pbft) -> None:
    core.views.wrong_with = lambda message: ""  # type: ignore[method-assign]


def signatures_ignored(core: Pbft) -> None:
    core.desk._verify = lambda member, data, sig: True


def nothing_waits_for_the_disk(core: Pbft) -> None:
    desk = core.desk

    def hold(message: Any, to: int = 0) -> None:
        desk.dirty = True
        if to:
            desk.send(to, message)
        else:
            desk.send_all(message)
            core._handlers[type(message)](desk.me, message)

    desk.hold = hold  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("spoil", "liar", "seeds"),
    [
        (fewer_than_a_quorum, "colluder", (1, 2, 3)),
        (unchecked_new_view, "forger", (1, 2, 5)),
        (signatures_ignored, "impersonator", (1, 2, 3)),
        (nothing_waits_for_the_disk, "nobody", (1, 2, 3)),
    ],
)
def test_a_replica_that_breaks_a_rule_is_caught(spoil: Callable[[Pbft], None], liar: str, seeds: tuple[int, ...]) -> None:
    kinds = () if liar == "nobody" else (liar,)
    plan = Plan(0, liars=kinds, good_s=20.0, partitions=6, crashes=6, blackouts=6, proposals=120)
    if spoil is nothing_waits_for_the_disk:
        # Disks so slow, and so many blackouts, that one comes between word and write.
        plan = replace(plan, fsync_s=0.1, blackouts=20, crashes=0, partitions=0)
    caught = 0
    for seed in seeds:
        simulate(replace(plan, seed=seed))
        try:
            simulate(replace(plan, seed=seed, spoil=spoil))
        except (Violation, Diverged) as error:
            caught += 1
            print(seed, error)
    assert caught
