"""The search against brute force, and against what it says of itself."""

from itertools import permutations
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sim.history.linearizable import check
from agent.sim.history.models import REFUSED, Counter, Lock, Model, Register, Text, Transactions
from agent.sim.history.operation import Operation, dump, load

MODELS: tuple[Model, ...] = (Register(), Text(), Counter(), Lock(), Transactions())


def brute_force(operations: list[Operation], model: Model) -> bool:
    """Any order of any choice of the unknown ones."""
    known = [one for one in operations if one.known]
    unknown = [one for one in operations if not one.known]
    for chosen in range(1 << len(unknown)):
        part = known + [one for number, one in enumerate(unknown) if chosen >> number & 1]
        if any(explains(order, model) for order in permutations(part)):
            return True
    return False


def explains(order: Any, model: Model) -> bool:
    state = model.initial
    for place, one in enumerate(order):
        if any(later.end < one.start for later in order[place + 1 :]):
            return False
        state = model.step(state, one)
        if state is REFUSED:
            return False
    return True


def asked_and_told(model: Model) -> st.SearchStrategy[tuple[str, tuple[Any, ...], Any]]:
    few = st.integers(0, 2)
    if model.name == "register":
        return st.one_of(
            st.tuples(st.just("read"), st.just(()), st.one_of(st.none(), few)),
            st.tuples(st.just("write"), st.tuples(few), st.none()),
            st.tuples(st.just("cas"), st.tuples(few, few), st.booleans()),
        )
    if model.name == "text":
        texts = st.sampled_from(["", "a", "b", "ab", "ba", "aa", "aab"])
        return st.one_of(
            st.tuples(st.just("get"), st.just(()), texts),
            st.tuples(st.just("put"), st.tuples(st.sampled_from("ab")), st.none()),
            st.tuples(st.just("append"), st.tuples(st.sampled_from("ab")), st.none()),
        )
    if model.name == "counter":
        return st.one_of(
            st.tuples(st.just("read"), st.just(()), st.integers(0, 4)),
            st.tuples(st.just("add"), st.tuples(st.integers(-1, 2)), st.one_of(st.none(), st.integers(0, 4))),
        )
    if model.name == "lock":
        return st.one_of(
            st.tuples(st.just("acquire"), st.tuples(st.sampled_from("AB")), st.one_of(st.just(False), st.integers(1, 3))),
            st.tuples(st.just("release"), st.tuples(st.sampled_from("AB")), st.booleans()),
        )
    micro = st.one_of(
        st.tuples(st.just("r"), few, st.one_of(st.none(), st.just((1,)), st.just((1, 2)), st.just((2, 1)))),
        st.tuples(st.just("append"), few, st.integers(1, 2)),
        st.tuples(st.just("w"), st.just("register"), st.integers(1, 2)),
        st.tuples(st.just("r"), st.just("register"), st.one_of(st.none(), st.integers(1, 2))),
    )
    return st.lists(micro, min_size=1, max_size=2).map(lambda told: ("txn", (tuple(told),), tuple(told)))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Operation], Model]:
    model = draw(st.sampled_from(MODELS))
    operations = []
    for number in range(draw(st.integers(1, 6))):
        name, args, output = draw(asked_and_told(model))
        start = draw(st.integers(0, 8))
        end = draw(st.one_of(st.just(inf), st.integers(start + 1, start + 5), st.integers(start + 1, start + 5)))
        operations.append(Operation(number, name, "k", args, output if end != inf else None, start, end))
    return operations, model


@given(histories())
@settings(max_examples=500, deadline=None)
def test_the_verdict_is_that_of_brute_force_and_the_order_holds(drawn: tuple[list[Operation], Model]) -> None:
    operations, model = drawn
    (verdict,) = check(operations, model)
    assert verdict.linearizable is brute_force(operations, model)
    if verdict.linearizable:
        assert explains(verdict.order, model)
        assert {id(one) for one in operations if one.known} <= {id(one) for one in verdict.order}
        assert len({id(one) for one in verdict.order}) == len(verdict.order)
    else:
        assert verdict.stuck is not None and verdict.stuck.known
        for _, order in verdict.ends:
            assert explains(order, model)


@given(histories())
@settings(max_examples=200, deadline=None)
def test_a_history_is_read_back_as_it_was_written(drawn: tuple[list[Operation], Model]) -> None:
    operations, model = drawn
    again = load(dump(operations))
    assert sorted(map(repr, again)) == sorted(map(repr, operations))
    assert check(again, model)[0].linearizable == check(operations, model)[0].linearizable


@pytest.mark.parametrize("clients", [2, 4, 8, 24])
def test_what_a_correct_system_answers_is_linearizable(clients: int) -> None:
    for seed in range(5):
        operations = atomic_register(Random(seed), clients, 500)
        assert check(operations, Register())[0].linearizable is True


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_answer_is_found(seed: int) -> None:
    random = Random(seed)
    operations = atomic_register(random, 4, 60)
    reads = [one for one in operations if one.name == "read" and one.known]
    random.choice(reads).output = "never written"
    (verdict,) = check(operations, Register())
    assert verdict.linearizable is False and verdict.stuck is not None and verdict.stuck.output == "never written"


def atomic_register(random: Random, clients: int, count: int) -> list[Operation]:
    """Operations that take effect at one moment between start and end, some of which never return (those may not take effect)."""
    operations: list[Operation] = []
    moments: list[tuple[float, Operation]] = []
    clocks = [random.random() for _ in range(clients)]
    for _ in range(count):
        client = min(range(clients), key=lambda client: clocks[client])
        start = clocks[client]
        effect = start + random.random()
        name, args = random.choice([("read", ()), ("write", (random.randrange(4),)), ("cas", (random.randrange(4), random.randrange(4)))])
        one = Operation(client, name, "k", args, None, start, effect + random.random())
        clocks[client] = one.end + random.random() * 0.1
        if random.random() < 0.03:
            one.end = inf
        operations.append(one)
        if one.known or random.random() < 0.5:
            moments.append((effect, one))
    value = None
    for _, one in sorted(moments, key=lambda moment: moment[0]):
        if one.name == "read":
            one.output = value if one.known else None
        elif one.name == "write":
            value = one.args[0]
        else:
            one.output = one.args[0] == value if one.known else None
            value = one.args[1] if one.args[0] == value else value
    return operations
