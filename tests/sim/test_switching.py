"""Modes that follow each other under faults: no two decide at once, nothing acknowledged is lost, and everybody arrives in the last one."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.modes.epoch import BYZANTINE, FAST, ORDERED, decode_epoch
from agent.core.modes.epochs import Epochs
from agent.core.modes.messages import Tagged
from agent.core.replica import io
from agent.core.replica.log import EPOCH
from agent.sim.byzantine.oracle import Violation
from agent.sim.switching import Group, Plan, simulate

SEEDS = int(os.environ.get("PILOTFISH_SIM_SEEDS", "4"))
WAYS = (
    ("", (FAST, ORDERED, FAST, ORDERED)),
    ("", (BYZANTINE, ORDERED, BYZANTINE, FAST)),
    ("equivocator", (ORDERED, BYZANTINE, FAST, BYZANTINE, ORDERED)),
    ("forger", (BYZANTINE, BYZANTINE, ORDERED)),
    ("silent", (BYZANTINE, ORDERED, BYZANTINE)),
)


def check(group: Group) -> None:
    plan = group.plan
    nodes = [group.nodes[me] for me in group.correct]
    print(f"seed {plan.seed}, trace {group.engine.trace}")
    assert all(asked.done for asked in group.asked)
    assert group.fast_decided <= group.where.keys()
    assert {node.core.state.number for node in nodes} == {len(plan.modes)}
    assert {node.core.mode for node in nodes} == {plan.modes[-1]}
    assert len({node.machine.digest for node in nodes}) == 1
    assert not any(node.core.blank for node in nodes)
    # Epochs are one after the other in the log.
    numbers = [epoch for _, (_, epoch) in sorted(group.decided.items())]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(("liar", "modes"), WAYS)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_modes_follow_each_other(liar: str, modes: tuple[int, ...], seed: int) -> None:
    check(simulate(Plan(seed, modes, liar=liar)))


@pytest.mark.parametrize("seed", [21, 25])
def test_the_end_of_a_byzantine_epoch_reaches_those_who_lack_its_proof(seed: int) -> None:
    check(simulate(Plan(seed, (BYZANTINE, ORDERED, BYZANTINE, ORDERED))))


def test_one_seed_is_one_history() -> None:
    traces = [simulate(Plan(seed, (BYZANTINE, ORDERED), good_s=8.0)).engine.trace for seed in (3, 3, 4)]
    assert traces[0] == traces[1] != traces[2]


def test_a_byzantine_epoch_needs_four_voters() -> None:
    group = simulate(Plan(1, (BYZANTINE,), nodes=3, crashes=0, blackouts=0, partitions=0, good_s=8.0))
    assert {node.core.state.number for node in group.nodes.values()} == {0}
    assert all(asked.done for asked in group.asked)


def test_who_slept_through_several_epochs_is_brought_to_the_last() -> None:
    plan = Plan(2, (FAST, BYZANTINE, ORDERED), crashes=0, blackouts=0, partitions=0, loss=0.0)
    group = Group(plan)
    away = group.nodes[5]
    for number in range(60):
        group.engine.at(0.6 + 0.2 * number, group.command, number)
    group.engine.at(0.9, away.crash)
    group.engine.at(1.0, group.operate, 0)
    group.engine.at(14.0, away.restart)
    group.engine.run(30.0)
    check(group)


# -- broken on purpose


def tags_are_ignored(epochs: Epochs) -> None:
    """A message of any epoch reaches the core that is there."""
    right = epochs._receive

    def receive(now: float, event: io.Receive) -> None:
        message = event.message
        if isinstance(message, Tagged) and message.mode == epochs.state.mode:
            event = io.Receive(event.sender, Tagged(epochs.state.number, message.mode, message.message))
        right(now, event)

    epochs._receive = receive  # type: ignore[method-assign]


def ends_before_it_is_committed(epochs: Epochs) -> None:
    """An epoch ends for it when the entry is written."""
    write, carry = epochs._persist, epochs._carry
    ended: list[tuple[Any, ...]] = []

    def persist(effect: io.Persist) -> None:
        write(effect)
        for entry in effect.entries:
            epoch = decode_epoch(entry.data) if entry.kind == EPOCH else None
            if epoch is not None and epoch.number == epochs.state.number + 1 and epochs.state.mode != BYZANTINE:
                ended.append(tuple(one for one in epochs._tail.entries if one.index <= entry.index))

    def carried(now: float, effects: tuple[io.Effect, ...]) -> None:
        carry(now, effects)
        if ended and ended[0]:
            epochs._deliver(now, ended.pop(0))
        ended.clear()

    epochs._persist = persist  # type: ignore[method-assign]
    epochs._carry = carried  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("spoil", "seeds"),
    [(tags_are_ignored, (7,)), (ends_before_it_is_committed, (1, 2, 5))],
)
def test_a_switch_that_breaks_a_rule_is_caught(spoil: Callable[[Epochs], None], seeds: tuple[int, ...]) -> None:
    plan = Plan(0, (ORDERED,) * 5, every_s=0.7, commands=200, good_s=5.0, partitions=8)
    caught = 0
    for seed in seeds:
        simulate(replace(plan, seed=seed))
        try:
            simulate(replace(plan, seed=seed, spoil=spoil))
        except (Violation, AssertionError) as error:
            caught += 1
            print(seed, error)
    assert caught
