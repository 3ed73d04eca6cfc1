"""Verdicts by hand, their report, and exactly-once."""

import pytest

from agent.sim.history.counted import misapplied, miscounted
from agent.sim.history.linearizable import check, linearizable
from agent.sim.history.models import Counter, Lock, Model, Register, Transactions
from agent.sim.history.operation import Operation, Recorder, load
from agent.sim.history.report import explain


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_stale_read_is_found_shown_and_only_its_key_blamed() -> None:
    recorder = Recorder(Clock())
    for key in ("a", "b"):
        recorder.ok(recorder.begin("w", "write", key, 1))
        recorder.ok(recorder.begin("r", "read", key), 1)
        recorder.ok(recorder.begin("w", "write", key, 2))
    recorder.ok(recorder.begin("r", "read", "a"), 2)
    recorder.ok(recorder.begin("r", "read", "b"), 1)
    verdicts = check(recorder.operations, Register())
    assert [(verdict.key, verdict.linearizable) for verdict in verdicts] == [("b", False), ("a", True)]
    text = explain(verdicts)
    assert "key 'b': not linearizable as a register" in text and "process r: read() → 1" in text and "key 'a'" not in text
    assert [repr(one) for one in verdicts[0].order] == ["write(1) → None", "read() → 1", "write(2) → None"]
    assert "✗" in text


def test_what_failed_for_certain_is_no_part_of_the_history_and_what_is_unknown_may_come_late() -> None:
    recorder = Recorder(Clock())
    recorder.fail(recorder.begin(1, "write", "k", 1))
    recorder.begin(2, "write", "k", 2)
    recorder.ok(recorder.begin(3, "read", "k"), None)
    recorder.ok(recorder.begin(3, "read", "k"), 2)
    assert linearizable(recorder.operations, Register()) is True
    recorder.ok(recorder.begin(3, "read", "k"), 1)
    assert linearizable(recorder.operations, Register()) is False
    assert explain(check(recorder.operations[:-1], Register())) == "linearizable: 3 operations on 1 keys"


def test_a_history_that_cannot_be_decided_within_the_bound_has_no_verdict() -> None:
    # Thirty writes that may or may not have happened, all different, and a read that none of them explains.
    operations = [Operation(number, "add", "k", (1 << number,), None, 0) for number in range(30)]
    operations.append(Operation(30, "read", "k", (), -1, 1, 2))
    (verdict,) = check(operations, Counter(), steps_max=1000)
    assert verdict.linearizable is None
    assert "not decided: " in explain([verdict])


def test_a_history_that_ends_with_many_of_the_same_unknown_writes_is_decided_at_once() -> None:
    operations = [Operation(number, "add", "k", (1,), None, 0) for number in range(60)]
    operations.append(Operation(60, "read", "k", (), 61, 1, 2))
    (verdict,) = check(operations, Counter())
    assert verdict.linearizable is False and verdict.configurations < 100


@pytest.mark.parametrize(
    ("model", "told", "right"),
    [
        (Lock(), [("acquire", "A", 1), ("acquire", "B", False), ("release", "A", True), ("acquire", "B", 2)], True),
        (Lock(), [("acquire", "A", 1), ("acquire", "B", 2)], False),
        (Lock(), [("acquire", "A", 2), ("release", "A", True), ("acquire", "B", 1)], False),
        (Lock(), [("acquire", "A", 1), ("release", "B", True)], False),
        (Counter(), [("add", 2, 2), ("add", 3, 5)], True),
        (Counter(), [("add", 2, 2), ("add", 3, 3)], False),
    ],
)
def test_locks_and_counters(model: Model, told: list[tuple[str, object, object]], right: bool) -> None:
    operations = [Operation(1, name, "k", (asked,), output, at, at + 0.5) for at, (name, asked, output) in enumerate(told)]
    assert linearizable(operations, model) is right


def test_transactions_see_all_of_another_or_nothing() -> None:
    both = (("append", "x", 1), ("append", "y", 1))
    write = Operation(1, "txn", None, (both,), both, 0, 10)
    asked = (("r", "x", None), ("r", "y", None))
    seen = Operation(2, "txn", None, (asked,), (("r", "x", (1,)), ("r", "y", (1,))), 1, 2)
    torn = Operation(2, "txn", None, (asked,), (("r", "x", (1,)), ("r", "y", None)), 3, 4)
    assert linearizable([write, seen], Transactions()) is True
    assert linearizable([write, torn], Transactions()) is False


INF = float("inf")


def txn(start: float, end: float, *told: tuple[str, str, object]) -> Operation:
    asked = tuple((what, key, None if what == "r" else value) for what, key, value in told)
    return Operation(start, "txn", None, (asked,), tuple(told) if end != INF else None, start, end)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operations", "model"),
    [
        # Two that ask the same and are told different things, the first to return the second in order.
        ([Operation(1, "add", "k", (1,), 2, 0, 5), Operation(2, "add", "k", (1,), 1, 0, 6)], Counter()),
        # One of unknown outcome of which a part was read happened, all of it.
        ([txn(0, INF, ("append", "x", 1), ("append", "y", 1)), txn(1, 2, ("r", "x", (1,)))], Transactions()),
        # What is appended beyond the longest list that was read.
        ([txn(0, 1, ("append", "x", 1)), txn(2, 3, ("r", "x", (1,))), txn(4, 5, ("append", "x", 2))], Transactions()),
        # What the first return depends on by way of another.
        ([txn(0, 5, ("r", "y", (1,))), txn(0, 6, ("r", "x", (5,)), ("append", "y", 1)), txn(0, 7, ("append", "x", 5))], Transactions()),
    ],
)
def test_orders_that_a_pruning_must_not_lose(operations: list[Operation], model: Model) -> None:
    assert linearizable(operations, model) is True


def adds(*told: tuple[int, bool]) -> list[Operation]:
    return [Operation(1, "add", "k", (amount,), None, at, at + 0.5 if known else float("inf")) for at, (amount, known) in enumerate(told)]


@pytest.mark.parametrize(
    ("told", "total", "why"),
    [
        ([(1, True), (2, True), (4, False)], 3, ""),
        ([(1, True), (2, True), (4, False)], 7, ""),
        ([(1, True), (2, True), (4, False)], 2, "1 less"),
        ([(1, True), (2, True), (4, False)], 8, "1 more"),
        ([(1, True), (2, False), (4, False)], 4, "no choice of the 2"),
        ([(5, True), (-2, False)], 3, ""),
        ([(5, True), (-2, False)], 2, "1 less"),
        ([(5, True), (-2, False)], 4, "no choice"),
    ],
)
def test_increments_count_once(told: list[tuple[int, bool]], total: int, why: str) -> None:
    said = miscounted(adds(*told), total)
    assert said.startswith(why) and bool(said) == bool(why)


def test_two_increments_that_were_told_the_same_sum_are_one() -> None:
    told = adds((1, True), (1, True))
    for one in told:
        one.output = 1
    assert "told the same sum 1" in miscounted(told, 2)
    told[0].output, told[1].output = 1, 3
    assert "it was lost" in miscounted(told, 2)


def test_marks_are_there_once() -> None:
    assert misapplied(["a", "b"], ["a"], ["b", "c"]) == ""
    assert misapplied(["a", "a"], ["a"], []) == "'a' took effect 2 times"
    assert misapplied(["b"], ["a"], ["b"]) == "1 acknowledged and lost: 'a'"
    assert misapplied(["a", "x"], ["a"], ["b"]) == "took effect and was never asked: 'x'"


def test_a_line_that_is_no_operation_is_named() -> None:
    with pytest.raises(ValueError, match="line 1: expected an object with the fields"):
        load('{"name": "read"}\n')
