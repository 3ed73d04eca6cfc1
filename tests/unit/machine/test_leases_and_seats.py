import pytest

from agent.core.machine.commands import (
    Campaign,
    LeaseGrant,
    LeaseKeep,
    LeaseRevoke,
    LockAcquire,
    LockRelease,
    OpPut,
    Proclaim,
    Put,
    Resign,
    Txn,
)
from agent.core.machine.config import Limits
from agent.core.machine.outcome import Outcome
from agent.core.machine.shared import NEVER_MS
from tests.unit.machine.rig import Rig
from tests.unit.machine.test_exactly_once import once


def holder(rig: Rig, name: bytes) -> tuple[int, str, int] | None:
    seat = rig.machine.locks.table.get(name)
    return (*seat.holder, seat.token) if seat is not None else None


def test_a_lease_ends_when_its_time_is_over_and_not_before() -> None:
    rig = Rig()
    assert rig.machine.next_due() == NEVER_MS
    lease = rig.lease(10_000)
    assert rig.machine.next_due() == 11_000
    rig.pass_time(9_000)
    assert rig.do(LeaseKeep(lease)) == Outcome("", 0, 10_000)
    rig.pass_time(9_999)
    assert rig.machine.leases.alive(lease)
    rig.pass_time(1)
    assert not rig.machine.leases.alive(lease)
    assert rig.do(LeaseKeep(lease)).error == "lease_not_found"
    assert rig.do(LeaseRevoke(lease)).error == "lease_not_found"
    assert rig.machine.next_due() == NEVER_MS


def test_machine_time_never_goes_back() -> None:
    rig = Rig()
    lease = rig.lease(1_000)
    rig.pass_time(900)
    rig.time_ms = 5
    rig.do(Put(b"k", b""))
    assert rig.machine.time_ms == 1_900
    rig.do(LeaseKeep(lease))
    assert rig.machine.leases.table[lease].expires_ms == 2_900


def test_bounds_of_leases() -> None:
    rig = Rig(Limits(leases=1))
    assert rig.do(LeaseGrant(99)).error == "invalid"
    assert rig.do(LeaseGrant(31 * 86_400_000)).error == "invalid"
    rig.lease()
    assert rig.do(LeaseGrant(1_000)) == Outcome("full", 0, "leases: there are 1")
    assert rig.do(Put(b"k", b"", ttl_ms=1_000)).error == "full" and not rig.machine.kv.records


def test_leases_of_keys_that_are_written_over_and_over_leave_nothing_behind() -> None:
    rig = Rig()
    for _ in range(10_000):
        rig.do(Put(b"k", b"", ttl_ms=86_400_000))
    assert len(rig.machine.leases.table) == 1
    assert len(rig.machine.leases._heap) < 3_000


def test_those_who_wait_for_a_lock_get_it_in_the_order_in_which_they_came_with_rising_tokens() -> None:
    rig = Rig()
    a, b, c = rig.lease(), rig.lease(), rig.lease()
    assert rig.do(LockAcquire(b"l", a, value=b"at a")) == Outcome("", 0, (a, 1, 0))
    assert rig.do(LockAcquire(b"l", b)) == Outcome("locked", 0, (a, "", 1, b"at a"))
    assert rig.value(LockAcquire(b"l", b, wait=True)) == (b, 0, 1)
    assert rig.value(LockAcquire(b"l", c, wait=True)) == (c, 0, 2)
    assert rig.value(LockAcquire(b"l", b, wait=True)) == (b, 0, 1), "asking again changes nothing"
    assert rig.value(LockAcquire(b"l", a)) == (a, 1, 0)
    assert rig.value(LockRelease(b"l", a)) is True
    assert holder(rig, b"l") == (b, "", 2)
    assert rig.do(LockRelease(b"l", a)) == Outcome("not_owner", 0, (b, "", 2, b""))
    assert rig.do(LockRelease(b"l", b, token=1)).error == "not_owner", "the token of another holder"
    assert rig.do(LockRelease(b"l", token=2)) == Outcome("", 0, True)
    assert holder(rig, b"l") == (c, "", 3)
    rig.do(LockRelease(b"l", c))
    assert holder(rig, b"l") is None and not rig.machine.locks.by_lease
    assert rig.do(LockRelease(b"l", c)).error == "not_found"
    assert rig.value(LockAcquire(b"l", a)) == (a, 4, 0), "tokens rise though the lock was gone in between"


def test_a_lock_passes_on_when_the_lease_of_its_holder_ends() -> None:
    rig = Rig()
    a, b = rig.lease(1_000), rig.lease(1_000)
    c = rig.lease(9_000)
    for name in (b"l", b"m"):
        for lease in (a, b, c):
            rig.do(LockAcquire(name, lease, wait=True))
    rig.pass_time(1_000)
    assert holder(rig, b"l") == (c, "", 5) and holder(rig, b"m") == (c, "", 6)
    assert rig.machine.locks.by_lease == {c: {b"l", b"m"}}


def test_owners_under_one_lease_differ_by_their_word() -> None:
    rig = Rig()
    lease = rig.lease()
    rig.do(LockAcquire(b"l", lease, "one"))
    assert rig.do(LockAcquire(b"l", lease, "two")).error == "locked"
    rig.do(LockAcquire(b"l", lease, "two", wait=True))
    rig.do(LockRelease(b"l", lease, "one"))
    assert holder(rig, b"l") == (lease, "two", 2)
    assert rig.machine.locks.by_lease == {lease: {b"l"}}
    rig.do(LeaseRevoke(lease))
    assert holder(rig, b"l") is None


def test_one_who_no_longer_waits_is_passed_over() -> None:
    rig = Rig()
    a, b, c = rig.lease(), rig.lease(), rig.lease()
    for lease in (a, b, c):
        rig.do(LockAcquire(b"l", lease, wait=True))
    assert rig.do(LockRelease(b"l", b)) == Outcome("", 0, False)
    rig.do(LockRelease(b"l", a))
    assert holder(rig, b"l") == (c, "", 2)


def test_a_lock_with_a_time_to_live_makes_its_lease() -> None:
    rig = Rig()
    assert rig.value(LockAcquire(b"l", 0, ttl_ms=1_000)) == (1, 1, 0)
    assert rig.do(LockAcquire(b"l", 0, ttl_ms=1_000)).error == "locked"
    assert len(rig.machine.leases.table) == 1, "nothing is left of what was refused"
    rig.pass_time(1_000)
    assert holder(rig, b"l") is None


def test_bounds_of_locks() -> None:
    rig = Rig(Limits(seats=1, waiters=1, owner_bytes=3, key_bytes=3))
    a, b, c = rig.lease(), rig.lease(), rig.lease()
    assert rig.do(LockAcquire(b"", a)).error == "invalid"
    assert rig.do(LockAcquire(b"long", a)).error == "too_large"
    assert rig.do(LockAcquire(b"l", a, "long")).error == "too_large"
    assert rig.do(LockAcquire(b"l", 99)).error == "lease_not_found"
    assert rig.do(LockAcquire(b"l", a, ttl_ms=1_000)).error == "invalid"
    rig.do(LockAcquire(b"l", a))
    assert rig.do(LockAcquire(b"m", a)) == Outcome("full", 0, "locks: at most 1")
    rig.do(LockAcquire(b"l", b, wait=True))
    assert rig.do(LockAcquire(b"l", c, wait=True)) == Outcome("full", 0, "waiters: at most 1 for one")


def test_an_election_has_a_leader_with_a_value_and_candidates() -> None:
    rig = Rig()
    rig.machine.watch(True)
    a, b = rig.lease(), rig.lease()
    assert rig.value(Campaign(b"e", a, value=b"10.0.0.1")) == (a, 1, 0)
    assert rig.value(Campaign(b"e", b, value=b"10.0.0.2")) == (b, 0, 1)
    assert rig.machine.take_touched() == {("elections", b"e")}
    assert rig.do(Proclaim(b"e", b, value=b"x")).error == "not_owner"
    assert rig.value(Proclaim(b"e", a, value=b"10.0.0.3")) == 1
    assert rig.machine.elections.table[b"e"].value == b"10.0.0.3"
    assert rig.do(Resign(b"e", a)) == Outcome("", 0, True)
    seat = rig.machine.elections.table[b"e"]
    assert (seat.holder, seat.token, seat.value) == ((b, ""), 2, b"10.0.0.2")
    assert rig.do(Resign(b"e", a)).error == "not_owner"
    assert rig.do(Resign(b"e", b)) == Outcome("", 0, True)
    assert rig.do(Proclaim(b"e", b)).error == "not_found"
    assert not rig.machine.locks.table, "locks of the same name are others"


def test_what_one_lease_holds_is_bounded_so_that_its_end_is_short() -> None:
    rig = Rig(Limits(lease_keys=2, lease_seats=1))
    lease = rig.lease()
    for key in (b"a", b"b", b"a"):
        assert rig.do(Put(key, b"", lease)).error == ""
    assert rig.do(Put(b"c", b"", lease)).error == "full"
    assert rig.do(Txn((), (OpPut(b"c", b"", lease),))).error == "full"
    assert rig.do(LockAcquire(b"l", lease)).error == ""
    assert rig.do(LockAcquire(b"m", lease)) == Outcome("full", 3, "lease_seats: at most 1 locks of one lease")
    assert rig.do(Campaign(b"m", lease)).error == ""


def test_when_many_leases_are_due_at_once_each_command_ends_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.core.machine.leases.EXPIRE_MAX", 3)
    monkeypatch.setattr("agent.core.machine.once.EXPIRE_MAX", 3)
    rig = Rig()
    for number in range(8):
        rig.lease(1_000 + number)
        rig.do(once(str(number), Put(b"o", b""), 1_000))
    rig.do(Put(b"k", b"", 1))
    left = []
    rig.time_ms += 5_000
    for _ in range(4):
        assert rig.twin().next_due() <= rig.time_ms or not rig.machine.leases.table
        rig.pass_time(1)
        left.append((len(rig.machine.leases.table), len(rig.machine.once.table)))
    assert left == [(6, 5), (3, 2), (0, 0), (0, 0)], "the first lease has a key, which counts"
