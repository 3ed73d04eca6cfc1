import pytest

from agent.core.machine.commands import (
    CREATE_REVISION,
    GREATER,
    LEASE,
    LESS,
    MOD_REVISION,
    UNEQUAL,
    VALUE,
    VERSION,
    Check,
    Compare,
    Delete,
    DeleteRange,
    LeaseRevoke,
    OpDelete,
    OpGet,
    OpPut,
    OpRange,
    Put,
    Txn,
)
from agent.core.machine.config import Limits
from agent.core.machine.history import Compacted
from agent.core.machine.outcome import Outcome
from agent.core.machine.records import Event, Record
from tests.unit.machine.rig import Rig


def test_a_put_makes_a_version_and_a_revision_and_a_delete_ends_them() -> None:
    rig = Rig()
    assert rig.do(Put(b"a", b"1")) == Outcome("", 1, 1)
    assert rig.do(Put(b"b", b"1")) == Outcome("", 2, 1)
    assert rig.do(Put(b"a", b"2")) == Outcome("", 3, 2)
    assert rig.machine.kv.records[b"a"] == Record(b"2", 1, 3, 2)
    assert rig.do(Delete(b"a")) == Outcome("", 4, 1)
    assert rig.do(Delete(b"a")) == Outcome("", 4, 0), "what is not there makes no revision"
    assert rig.do(Put(b"a", b"3")) == Outcome("", 5, 1)
    assert rig.machine.kv.records[b"a"] == Record(b"3", 5, 5, 1)
    assert rig.machine.kv.bytes == 4


@pytest.mark.parametrize(
    ("check", "there", "absent"),
    [
        (Check(VALUE, octets=b"x"), True, False),
        (Check(VALUE, octets=b"y"), False, False),
        (Check(VALUE, UNEQUAL, octets=b"y"), True, True),
        (Check(VALUE, LESS, octets=b"y"), True, False),
        (Check(VERSION, number=2), True, False),
        (Check(VERSION, number=0), False, True),
        (Check(VERSION, GREATER, 0), True, False),
        (Check(MOD_REVISION, number=2), True, False),
        (Check(CREATE_REVISION, number=1), True, False),
        (Check(LEASE, number=0), True, True),
        (Check(MOD_REVISION, LESS, 2), False, True),
    ],
)
def test_a_write_with_a_condition_happens_where_it_holds(check: Check, there: bool, absent: bool) -> None:
    rig = Rig()
    rig.do(Put(b"k", b"old"))
    rig.do(Put(b"k", b"x"))
    put = rig.do(Put(b"k", b"new", checks=(check,)))
    assert put == (Outcome("", 3, 3) if there else Outcome("compare_failed", 2, (b"k", b"x", 1, 2, 2, 0)))
    rig = Rig()
    assert (rig.do(Put(b"k", b"new", checks=(check,))).error == "") is absent
    rig = Rig()
    rig.do(Put(b"k", b"old"))
    rig.do(Put(b"k", b"x"))
    assert (rig.do(Delete(b"k", (check,))).error == "") is there


def test_a_transaction_is_one_revision_and_sees_what_it_did() -> None:
    rig = Rig()
    rig.do(Put(b"a", b"1"))
    made = rig.do(
        Txn(
            (Compare(b"a", Check(VERSION, number=1)), Compare(b"z", Check(VERSION, number=0))),
            (OpPut(b"b", b"2"), OpGet(b"b"), OpDelete(b"a"), OpDelete(b"a"), OpRange(b"", b"", 10), OpGet(b"a")),
            (OpPut(b"never", b""),),
        )
    )
    item = (b"b", b"2", 2, 2, 1, 0)
    assert made == Outcome("", 2, (True, [1, item, 1, 0, ([item], False), None]))
    assert [event.revision for event in rig.machine.kv.history.kept()] == [1, 2, 2]
    assert rig.do(Txn((Compare(b"a", Check(VERSION, number=1)),), (OpPut(b"x", b""),), (OpGet(b"b"),))) == Outcome("", 2, (False, [item]))


def test_a_transaction_is_whole_or_nothing() -> None:
    rig = Rig(Limits(value_bytes=10, keys=3))
    before = rig.machine.digest
    rig.do(Put(b"a", b"1"))
    for operations, error in [
        ((OpPut(b"b", b""), OpPut(b"c", b"x" * 11)), "too_large"),
        ((OpPut(b"b", b""), OpPut(b"c", b"", 77)), "lease_not_found"),
        ((OpPut(b"b", b""), OpPut(b"", b"")), "invalid"),
        ((OpPut(b"b", b""), OpPut(b"c", b""), OpPut(b"d", b"")), "full"),
        ((OpGet(b"b"),) * 129, "too_large"),
    ]:
        assert rig.do(Txn((), operations)).error == error
        assert list(rig.machine.kv.records) == [b"a"] and rig.machine.revision == 1
    assert before() == rig.machine.digest()


def test_ranges_are_deleted_in_order_and_in_portions() -> None:
    rig = Rig(Limits(range_items=3))
    for key in (b"p/3", b"p/1", b"q", b"p/2", b"p/4", b"a"):
        rig.do(Put(key, b""))
    assert rig.do(DeleteRange(b"p/", b"p0")) == Outcome("", 7, (3, True))
    assert rig.do(DeleteRange(b"p/", b"p0")) == Outcome("", 8, (1, False))
    assert rig.do(DeleteRange(b"p/", b"p0")) == Outcome("", 8, (0, False))
    assert sorted(rig.machine.kv.records) == [b"a", b"q"]
    assert [event.key for event in rig.machine.kv.history.after(6, 10)] == [b"p/1", b"p/2", b"p/3", b"p/4"]


def test_bounds_are_told_by_name_and_change_nothing() -> None:
    rig = Rig(Limits(key_bytes=4, value_bytes=4, keys=2, store_bytes=12))
    assert rig.do(Put(b"", b"")).error == "invalid"
    assert rig.do(Put(b"12345", b"")) == Outcome("too_large", 0, "key of 5 octets; at most 4")
    assert rig.do(Put(b"1", b"12345")) == Outcome("too_large", 0, "value of 5 octets; at most 4")
    rig.do(Put(b"1", b"1234"))
    rig.do(Put(b"2", b"1234"))
    assert rig.do(Put(b"3", b"")) == Outcome("full", 2, "keys: at most 2")
    rig.do(Delete(b"2"))
    assert rig.do(Put(b"1111", b"1234")).error == "full", "5 + 8 octets"
    assert rig.do(Put(b"1", b"")).error == ""
    assert rig.do(Put(b"1111", b"1234")).error == ""


def test_keys_of_a_lease_go_with_it_and_a_key_leaves_its_lease_by_a_put_without() -> None:
    rig = Rig()
    lease = rig.lease(5_000)
    for key in (b"b", b"a", b"c"):
        rig.do(Put(key, b"", lease))
    rig.do(Put(b"c", b"stays"))
    assert rig.do(LeaseRevoke(lease)) == Outcome("", 5, 2)
    assert list(rig.machine.kv.records) == [b"c"]
    assert rig.machine.kv.history.after(4, 10) == [Event(5, b"a"), Event(5, b"b")]
    assert rig.do(Put(b"d", b"", lease)).error == "lease_not_found"


def test_a_time_to_live_is_a_lease_of_the_keys_own() -> None:
    rig = Rig()
    rig.do(Put(b"k", b"1", ttl_ms=1_000))
    rig.do(Put(b"k", b"2", ttl_ms=3_000))
    assert len(rig.machine.leases.table) == 1, "the first lease went with the value that it held"
    rig.pass_time(2_999)
    assert b"k" in rig.machine.kv.records
    rig.pass_time(1)
    assert not rig.machine.kv.records and not rig.machine.leases.table and not rig.machine.kv.leased
    assert rig.machine.kv.history.after(2, 10) == [Event(3, b"k", None, True)]
    rig.do(Put(b"k", b"3", ttl_ms=1_000))
    rig.do(Put(b"k", b"4"))
    rig.pass_time(5_000)
    assert rig.machine.kv.records[b"k"].value == b"4"
    assert rig.do(Put(b"k", b"", lease=1, ttl_ms=1_000)).error == "invalid"
    assert rig.do(Put(b"k", b"", ttl_ms=1)).error == "invalid"


def test_history_is_bounded_and_says_where_it_begins() -> None:
    rig = Rig(Limits(history_events=4))
    for number in range(10):
        rig.do(Put(b"k", b"%d" % number))
    history = rig.machine.kv.history
    assert [event.revision for event in history.after(6, 10)] == [7, 8, 9, 10]
    assert [event.revision for event in history.after(8, 1)] == [9]
    assert history.after(10, 10) == [] and history.after(99, 10) == []
    with pytest.raises(Compacted) as caught:
        history.after(5, 10)
    assert caught.value.oldest == 6


def test_history_is_bounded_in_octets_and_stays_so_for_long() -> None:
    rig = Rig(Limits(history_bytes=10_000))
    for number in range(5_000):
        rig.do(Put(b"k%d" % (number % 7), b"x" * (number % 500)))
    history = rig.machine.kv.history
    assert history.bytes <= 10_000 and len(history) < 110 and len(history.events) < 3_000
    assert history.events[-1].revision == 5_000


def test_portions_of_history_have_whole_revisions() -> None:
    rig = Rig()
    rig.do(Txn((), tuple(OpPut(b"%d" % number, b"") for number in range(10))))
    rig.do(Put(b"x", b""))
    assert len(rig.machine.kv.history.after(0, 3)) == 10
