import msgspec
from msgspec import Raw

from agent.core.machine.commands import CounterAdd, LockAcquire, Once, Put, SessionEnd, SessionKeep, SessionOpen, Tick, Txn
from agent.core.machine.config import Limits
from agent.core.machine.envelope import encode_command
from agent.core.machine.outcome import Outcome
from tests.unit.machine.rig import Rig

ADD = CounterAdd(b"c", 1)


def opened(rig: Rig, ttl_ms: int = 60_000, window: int = 4) -> int:
    session = rig.value(SessionOpen(ttl_ms, window))
    assert isinstance(session, int)
    return session


def test_a_request_that_comes_again_is_answered_and_not_executed() -> None:
    rig = Rig()
    session = opened(rig)
    assert rig.do(ADD, session, 1) == Outcome("", 0, 1)
    assert rig.do(ADD, session, 1) == Outcome("", 0, 1, True)
    assert rig.do(ADD, session, 2) == Outcome("", 0, 2)
    assert rig.do(ADD, session, 1) == Outcome("", 0, 1, True), "an earlier one within the window"
    assert rig.do(ADD) == Outcome("", 0, 3)


def test_refusals_are_outcomes_too() -> None:
    rig = Rig()
    session = opened(rig)
    assert rig.do(LockAcquire(b"l", 99), session, 1).error == "lease_not_found"
    assert rig.do(Put(b"k", b""), session, 1) == Outcome("lease_not_found", 0, None, True)


def test_requests_come_in_any_order_within_the_window_and_none_beyond_it() -> None:
    rig = Rig()
    session = opened(rig, window=4)
    for request in (3, 1, 4, 2, 6):
        assert rig.do(ADD, session, request).error == ""
    assert rig.do(ADD, session, 2).error == "request_too_old"
    assert rig.do(ADD, session, 3).replayed
    assert rig.do(ADD, session, 5) == Outcome("", 0, 6)
    assert rig.do(ADD, session, 1_000_000_000) == Outcome("", 0, 7)
    assert rig.do(ADD, session, 6).error == "request_too_old"
    assert rig.do(ADD, session, 0).error == "request_too_old"
    assert len(rig.machine.sessions.table[session].outcomes) == 1


def test_outcomes_that_the_client_has_are_forgotten() -> None:
    rig = Rig()
    session = opened(rig, window=4)
    for request in (1, 2, 3):
        rig.do(ADD, session, request)
    rig.do(ADD, session, 4, acked=2)
    assert sorted(rig.machine.sessions.table[session].outcomes) == [3, 4]
    assert rig.do(ADD, session, 2).error == "request_too_old"
    rig.do(SessionKeep(session, 4))
    assert not rig.machine.sessions.table[session].outcomes
    rig.do(SessionKeep(session, 99))
    assert rig.machine.sessions.table[session].floor == 4, "nobody has outcomes of what was never asked"


def test_a_session_that_has_ended_executes_nothing() -> None:
    rig = Rig()
    session = opened(rig, ttl_ms=1_000)
    rig.do(Put(b"k", b"", session), session, 1)
    rig.pass_time(900)
    rig.do(ADD, session, 2)
    rig.pass_time(900)
    assert rig.do(Tick(), session, 3).error == "", "each command is a sign of life"
    rig.pass_time(1_000)
    assert rig.do(ADD, session, 2) == Outcome("session_not_found", 2)
    assert rig.do(ADD, session, 4) == Outcome("session_not_found", 2)
    assert rig.machine.counters.table == {b"c": 1}
    assert not rig.machine.kv.records and rig.machine.sessions.windows == 0
    assert rig.do(SessionEnd(session)).error == "session_not_found"
    assert rig.do(SessionKeep(session)).error == "session_not_found"


def test_a_session_may_end_itself() -> None:
    rig = Rig()
    session = opened(rig)
    rig.do(Put(b"k", b"", session), session, 1)
    assert rig.do(SessionEnd(session), session, 2) == Outcome("", 2, 1)
    assert rig.do(SessionEnd(session), session, 2).error == "session_not_found"


def test_bounds_of_sessions() -> None:
    rig = Rig(Limits(sessions=2, windows=10, session_bytes=1_000))
    assert rig.do(SessionOpen(1_000, 0)).error == "invalid"
    assert rig.do(SessionOpen(1_000, 9_000)).error == "invalid"
    assert rig.do(SessionOpen(90_000_000, 1)).error == "invalid"
    first = opened(rig, window=6)
    assert rig.do(SessionOpen(1_000, 5)).error == "full"
    opened(rig, window=4)
    assert rig.do(SessionOpen(1_000, 1)).error == "full"
    rig.do(Put(b"k", b"x" * 600))
    for request in (1, 2, 3):
        assert rig.do(Put(b"k", b"", checks=rig_fails()), first, request).error == "compare_failed"
    assert sorted(rig.machine.sessions.table[first].outcomes) == [3], "what is kept is bounded in octets, the latest stays"
    assert rig.do(ADD, first, 2).error == "request_too_old"
    assert rig.twin().sessions.table[first].bytes == rig.machine.sessions.table[first].bytes


def rig_fails() -> tuple:
    from agent.core.machine.commands import VERSION, Check

    return (Check(VERSION, number=77),)


def once(key: str, command: msgspec.Struct, ttl_ms: int = 10_000) -> Once:
    return Once(key, ttl_ms, Raw(encode_command(command)))


def test_an_idempotency_key_executes_once_for_a_while() -> None:
    rig = Rig()
    assert rig.do(once("a", ADD)) == Outcome("", 0, 1)
    assert rig.do(once("a", ADD)) == Outcome("", 0, 1, True)
    assert rig.do(once("b", ADD)) == Outcome("", 0, 2)
    assert rig.do(once("a", CounterAdd(b"c", 2))).error == "idempotency_mismatch"
    rig.pass_time(10_000)
    assert rig.do(once("a", ADD)) == Outcome("", 0, 3)
    assert len(rig.machine.once.table) == 1


def test_bounds_of_idempotency_keys() -> None:
    rig = Rig(Limits(idempotency_keys=1))
    assert rig.do(once("", ADD)).error == "invalid"
    assert rig.do(once("x" * 129, ADD)).error == "invalid"
    assert rig.do(once("x", ADD, 0)).error == "invalid"
    rig.do(once("x", ADD))
    assert rig.do(once("y", ADD)).error == "full"
    assert rig.machine.counters.table == {b"c": 1}


def test_a_command_within_a_command_must_be_one_and_goes_no_deeper() -> None:
    rig = Rig()
    assert rig.do(Once("a", 1_000, Raw(b"\xc0"))).error == "malformed"
    assert rig.do(once("b", once("c", ADD))).error == "malformed"
    assert rig.do(once("d", Txn((), ()))).error == ""
