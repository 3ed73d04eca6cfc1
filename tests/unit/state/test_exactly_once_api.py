import json
from typing import Any

import pytest

from tests.harness.state_rig import StateRig, ask, request, state_rig
from tests.harness.wait import wait_until


def opened(rig: StateRig, **body: Any) -> int:
    session = rig.json("POST", "/v1/sessions", body, status=201)["session"]
    assert isinstance(session, int)
    return session


def under(session: int, number: int, acked: int = 0) -> list[str]:
    lines = [f"Pilotfish-Session: {session}", f"Pilotfish-Request: {number}"]
    return [*lines, f"Pilotfish-Acked: {acked}"] if acked else lines


def test_a_request_of_a_session_is_done_once(rig: StateRig) -> None:
    session = opened(rig, ttl="30s", window=4)
    first = rig.ask("POST", "/v1/counters/c", {"add": 5}, *under(session, 1))
    again = rig.ask("POST", "/v1/counters/c", {"add": 5}, *under(session, 1))
    assert first.body == again.body == b'{"value":5}'
    assert first.header("pilotfish-replayed") is None and again.header("pilotfish-replayed") == "true"
    assert rig.json("POST", "/v1/counters/c", {"add": 5}, *under(session, 2, 1)) == {"value": 10}
    assert rig.json("POST", "/v1/counters/c", {}, *under(session, 1), status=422)["error"] == "request_too_old"
    told = rig.json("GET", f"/v1/sessions/{session}")
    assert (told["ttl_s"], told["window"], told["highest"], told["acked"]) == (30, 4, 2, 1) and 29 < told["left_s"] <= 30
    assert rig.json("POST", f"/v1/sessions/{session}/keepalive") == {"ttl_s": 30}
    assert rig.json("DELETE", f"/v1/sessions/{session}")["ended"] is True
    lost = rig.json("POST", "/v1/counters/c", {}, *under(session, 3), status=404)
    assert (lost["error"], lost["applied"]) == ("session_not_found", "unknown")
    assert rig.json("GET", f"/v1/sessions/{session}", status=404)["error"] == "session_not_found"
    assert rig.json("GET", "/v1/counters/c") == {"name": "c", "value": 10}
    for wrong in ({"ttl": "1us"}, {"ttl": "40d"}, {"window": 0}, {"window": 10**6}, {"what": 1}):
        assert rig.json("POST", "/v1/sessions", wrong, status=400)["error"] == "bad_request"


def test_an_idempotency_key(rig: StateRig) -> None:
    line = "Idempotency-Key: order-17"
    assert rig.json("POST", "/v1/counters/c", {"add": 5}, line) == {"value": 5}
    again = rig.ask("POST", "/v1/counters/c", {"add": 5}, line)
    assert json.loads(again.body) == {"value": 5} and again.header("pilotfish-replayed") == "true"
    assert rig.json("POST", "/v1/counters/c", {"add": 6}, line, status=422)["error"] == "idempotency_mismatch"
    rig.run(lambda: rig.service.pass_time(3_601))
    assert rig.json("POST", "/v1/counters/c", {"add": 5}, line) == {"value": 10}
    assert rig.json("POST", "/v1/counters/d", {}, "Idempotency-Key: e", "Idempotency-TTL: 2d", status=400)["error"] == "bad_request"


def test_commands_without_a_session_go_under_one_of_the_agents(rig: StateRig) -> None:
    rig.run(lambda: setattr(rig.service, "remember", True))
    with rig.client() as client:
        client.send(request("PUT", "/v1/kv/k", b"v") * 5)
        assert [client.reply().status for _ in range(5)] == [200] * 5
        ask(client, "PUT", "/v1/kv/k", b"v")
    told = rig.run(lambda: [(session, number, acked) for _, session, number, acked in rig.service.submitted])
    assert told[0] == (0, 0, 0), "the session itself"
    assert [number for _, number, _ in told[1:]] == [1, 2, 3, 4, 5, 6]
    assert {session for session, _, _ in told[1:]} == {1}
    assert told[-1][2] == 5, "all before it have their outcome"
    assert len(rig.machine.sessions.table[1].outcomes) == 1


def test_an_agents_session_that_has_ended_is_followed_by_another(rig: StateRig) -> None:
    assert rig.json("POST", "/v1/counters/c", {}) == {"value": 1}
    rig.run(lambda: rig.service.pass_time(700))
    assert rig.json("POST", "/v1/counters/c", {}) == {"value": 2}
    wait_until(lambda: rig.run(lambda: 1 not in rig.machine.sessions.table), "the first session's end")
    assert rig.json("POST", "/v1/counters/c", {}) == {"value": 3}
    assert rig.run(lambda: rig.api.figures.own_sessions) == 2


def test_where_no_session_can_be_opened_the_commands_are_refused(rig: StateRig) -> None:
    for reason, status, code in (("not_leader", 503, "no_leader"), ("timeout", 503, "no_leader"), ("read_only", 503, "read_only")):
        rig.run(lambda reason=reason: setattr(rig.service, "refuse", reason))
        found = rig.json("PUT", "/v1/kv/k", b"v", status=status)
        assert (found["error"], found["applied"]) == (code, "no"), "nothing was ever said to anybody"
    rig.run(lambda: setattr(rig.service, "refuse", ""))
    assert rig.ask("PUT", "/v1/kv/k", b"v").status == 200


def test_numbers_under_way_span_no_more_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.state.writes.WINDOW", 4)
    monkeypatch.setattr("agent.state.writes.PARKED_MAX", 3)
    with state_rig(pipeline_max=100) as rig, rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"")
        rig.run(rig.service.hold)
        client.send(request("PUT", "/v1/kv/k", b"") * 9)
        wait_until(lambda: rig.run(lambda: sum(len(one.calls) for one in rig.api.connections)) == 9, "the requests")
        assert rig.run(lambda: len(rig.service._commands)) == 4
        rig.run(rig.service.release)
        replies = [client.reply() for _ in range(9)]
        assert [reply.status for reply in replies] == [200] * 7 + [429] * 2
        assert json.loads(replies[-1].body)["applied"] == "no"
        assert ask(client, "PUT", "/v1/kv/k", b"").status == 200


def test_a_put_that_is_answered_before_its_place_is_known_has_none(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/k", b"v")
    rig.run(lambda: setattr(rig.service, "early", True))
    reply = rig.ask("PUT", "/v1/kv/k", b"w")
    assert json.loads(reply.body) == {"revision": 0, "version": 0} and reply.header("etag") is None
    assert rig.json("POST", "/v1/counters/c", {"value": False}) == {}
    assert rig.ask("GET", "/v1/kv/k").body == b"w"
