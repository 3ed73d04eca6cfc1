"""A snapshot of keys that change while it is told is of the moment when it was begun."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.machine import frozen
from agent.core.machine.commands import Delete, DeleteRange, Put
from tests.unit.machine.rig import Rig

KEYS = st.binary(min_size=1, max_size=2).map(lambda key: bytes(octet % 8 for octet in key))
CHANGES = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2)),
    st.builds(Delete, KEYS),
    st.builds(lambda start, limit: DeleteRange(start, b"", limit), KEYS, st.integers(1, 3)),
)


@pytest.fixture(autouse=True, scope="module")
def small_batches() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "BATCH", 3)
        yield


@settings(max_examples=300, deadline=None)
@given(st.lists(CHANGES, max_size=30), st.lists(st.tuples(st.integers(0, 4), CHANGES), max_size=60), st.integers(0, 20))
def test_rows_are_of_the_moment_they_were_frozen(before: list[Any], during: list[Any], second_at: int) -> None:
    rig = Rig()
    for change in before:
        rig.do(change)
    kv = rig.machine.kv
    snapshots: list[tuple[Any, list[Any], list[Any]]] = []

    def begin() -> None:
        events = kv.history.kept()
        expected = [(kv.history.compacted, len(kv.records)), *((key, kv.records[key]) for key in sorted(kv.records)), *events]
        snapshots.append((kv.freeze(), [], expected))

    begin()
    for at, (taken, change) in enumerate(during):
        if at == second_at:
            begin()
        for rows, told, _ in snapshots:
            for _ in range(taken):
                row = next(rows, None)
                if row is not None:
                    told.append(row)
        rig.do(change)
    for rows, told, expected in snapshots:
        told.extend(rows)
        assert told == expected
    assert not kv._frozen


def test_one_that_is_given_up_puts_nothing_aside_any_more() -> None:
    rig = Rig()
    for number in range(100):
        rig.do(Put(b"%d" % number, b"x" * 100_000))
    snapshot = rig.machine.snapshot()
    next(snapshot)
    assert len(rig.machine.kv._frozen) == 1
    del snapshot
    assert not rig.machine.kv._frozen
    rig.machine.snapshot()
    assert not rig.machine.kv._frozen, "not even begun"
