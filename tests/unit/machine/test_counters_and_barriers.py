from itertools import permutations

from agent.core.machine.commands import BarrierEnter, BarrierLeave, CounterAdd, CounterDelete, LeaseRevoke
from agent.core.machine.config import Limits
from agent.core.machine.outcome import Outcome
from tests.unit.machine.rig import Rig


def test_counters_add_and_end() -> None:
    rig = Rig(Limits(counters=1))
    assert rig.value(CounterAdd(b"c", 5)) == 5
    assert rig.value(CounterAdd(b"c", -7)) == -2
    assert rig.value(CounterAdd(b"c", 1, False)) is None
    assert rig.do(CounterAdd(b"d", 1)) == Outcome("full", 0, "counters: at most 1")
    assert rig.value(CounterDelete(b"c")) == -1
    assert rig.value(CounterDelete(b"c")) is None
    assert rig.do(CounterAdd(b"", 1)).error == "invalid"


def test_the_order_of_additions_never_matters_not_even_at_the_ends_of_64_bits() -> None:
    top = (1 << 63) - 1
    for order in permutations((top, 1, -5, top)):
        rig = Rig()
        for delta in order:
            rig.do(CounterAdd(b"c", delta))
        assert rig.machine.counters.table[b"c"] == -6


def test_a_barrier_opens_when_all_are_there_and_is_over_when_all_have_left() -> None:
    rig = Rig()
    a, b, c = rig.lease(), rig.lease(), rig.lease()
    assert rig.value(BarrierEnter(b"b", a, 2)) == (a, 0)
    assert rig.value(BarrierEnter(b"b", a, 2)) == (a, 0), "asking again changes nothing"
    assert rig.do(BarrierEnter(b"b", b, 3)) == Outcome("conflict", 0, (2, 1))
    assert rig.value(BarrierEnter(b"b", b, 2)) == (b, 1)
    assert rig.value(BarrierEnter(b"b", a, 2)) == (a, 1)
    assert rig.do(BarrierEnter(b"b", c, 2)) == Outcome("conflict", 0, (2, 2))
    assert rig.do(BarrierLeave(b"b", c)).error == "not_owner"
    assert rig.value(BarrierLeave(b"b", a)) == (1, 1)
    assert rig.machine.barriers.table[b"b"].state == "draining"
    assert rig.value(BarrierLeave(b"b", b)) == (1, 0)
    assert rig.do(BarrierLeave(b"b", b)).error == "not_found"
    assert not rig.machine.barriers.by_lease
    assert rig.value(BarrierEnter(b"b", c, 1)) == (c, 2)


def test_whoever_is_lost_leaves_the_barrier() -> None:
    rig = Rig()
    a, b, c = rig.lease(), rig.lease(), rig.lease()
    rig.do(BarrierEnter(b"b", a, 2))
    rig.do(LeaseRevoke(a))
    assert not rig.machine.barriers.table
    rig.do(BarrierEnter(b"b", b, 2))
    assert rig.value(BarrierEnter(b"b", c, 2)) == (c, 1)
    rig.do(LeaseRevoke(b))
    assert rig.machine.barriers.table[b"b"].state == "draining"
    assert rig.value(BarrierLeave(b"b", c)) == (1, 0)


def test_bounds_of_barriers() -> None:
    rig = Rig(Limits(barriers=1, parties=2))
    a = rig.lease()
    assert rig.do(BarrierEnter(b"b", a, 0)).error == "invalid"
    assert rig.do(BarrierEnter(b"b", a, 3)).error == "invalid"
    assert rig.do(BarrierEnter(b"b", 99, 2)).error == "lease_not_found"
    assert rig.value(BarrierEnter(b"b", 0, 2, ttl_ms=1_000)) == (2, 0)
    assert rig.do(BarrierEnter(b"c", a, 2)) == Outcome("full", 0, "barriers: at most 1")
    rig.pass_time(1_000)
    assert rig.value(BarrierEnter(b"c", a, 2)) == (a, 0)
