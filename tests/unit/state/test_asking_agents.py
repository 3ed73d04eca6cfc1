"""Agents that have no copy of the state give the same answers as those that have."""

import json

from tests.harness.state_rig import StateRig, request
from tests.harness.wait import wait_until
from tests.unit.state.test_holds_api import answer, begun, lease
from tests.unit.state.test_watch_api import Watcher


def test_reads_are_answered_as_by_one_that_has_the_state(rig: StateRig) -> None:
    asking = rig.through_asking()
    assert asking.ask("PUT", "/v1/kv/a%2Fb?ttl=30s", b"\xff\x00").status == 200
    granted = lease(asking)
    asking.json("POST", "/v1/locks/l", {"lease": granted})
    asking.json("POST", "/v1/counters/c", {"add": 3})
    session = asking.json("POST", "/v1/sessions", {}, status=201)["session"]
    for target in (
        "/v1/kv/a%2Fb",
        "/v1/kv/none",
        "/v1/kv?prefix=a&limit=1",
        "/v1/kv?limit=x",
        "/v1/kv?count=true",
        "/v1/events?after=0",
        "/v1/events",
        "/v1/locks/l",
        "/v1/elections/e",
        "/v1/counters/c",
        "/v1/barriers/b",
        "/v1/leases/9999",
        "/v1/sessions/9999",
        f"/v1/sessions/{session}?consistency=lease",
    ):
        for lines in ((), ("Accept: application/json",)):
            one, other = rig.ask("GET", target, None, *lines), asking.ask("GET", target, None, *lines)
            assert one.status == other.status, target
            if b"left_s" not in one.body:
                assert one.body == other.body, target
            assert {name for name, _ in one.fields} == {name for name, _ in other.fields}
            assert one.header("etag") == other.header("etag")
    assert asking.ask("HEAD", "/v1/kv/a%2Fb").header("content-length") == "2"


def test_what_can_not_be_asked_is_said(rig: StateRig) -> None:
    asking = rig.through_asking()
    assert asking.json("GET", "/v1/elections/e/observe", status=503)["error"] == "not_ready"
    head = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    assert asking.json("GET", "/v1/watch", None, *head, status=503)["error"] == "not_ready"
    rig.run(lambda: setattr(rig.asking, "refuse", "timeout"))
    assert asking.json("GET", "/v1/kv/k", status=504)["error"] == "timeout"


def test_questions_that_are_none_are_refused(rig: StateRig) -> None:
    import msgspec
    import pytest

    for octets in (
        b"",
        b"\xc1",
        msgspec.msgpack.encode(["PUT /v1/kv/{name}", b"k", {}, False]),
        msgspec.msgpack.encode(["x", b"", {}, True]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            rig.run(lambda octets=octets: rig.api.questions.answer(octets))


def test_a_watch_hears_everything_once_and_goes_on(rig: StateRig) -> None:
    asking = rig.through_asking()
    rig.ask("PUT", "/v1/kv/before", b"")
    watcher = Watcher(asking, "/v1/watch?prefix=k")
    assert watcher.next() == ("", "open", {"revision": 1})
    for number in range(5):
        rig.ask("PUT", f"/v1/kv/k{number}", b"%d" % number)
        rig.ask("PUT", "/v1/kv/other", b"")
    rig.ask("DELETE", "/v1/kv/k0")
    own = Watcher(rig, "/v1/watch?prefix=k&after=1")
    own.next()
    told = [watcher.next() for _ in range(6)]
    assert told == [own.next() for _ in range(6)]
    again = Watcher(asking, "/v1/watch?prefix=k", f"Last-Event-ID: {told[3][0]}")
    again.next()
    assert [again.next() for _ in range(2)] == told[4:]
    for one in (watcher, own, again):
        one.close()
    wait_until(lambda: rig.run(lambda: rig.asking_api.figures.watches) == 0, "the watches' end")
    with asking.client() as client:
        client.send(request("GET", "/v1/events?after=12&wait=20s&key=x"))
        rig.ask("PUT", "/v1/kv/x", b"!")
        assert json.loads(client.reply().body)["events"][0]["value"] == "!"
    assert asking.json("GET", "/v1/events?after=13&wait=50ms") == {"events": [], "revision": 13, "more": False}


def test_waits_end_when_their_turn_comes(rig: StateRig) -> None:
    asking = rig.through_asking()
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    client = begun(asking, "POST", "/v1/locks/l", {"lease": two, "wait": "30s"})
    wait_until(lambda: rig.json("GET", "/v1/locks/l")["waiting"] == 1, "the waiter")
    rig.json("DELETE", f"/v1/locks/l?lease={one}")
    assert answer(client)["token"] == 2
    assert asking.json("POST", "/v1/locks/l", {"lease": one, "wait": "50ms"}, status=409)["error"] == "locked"
    assert rig.json("GET", "/v1/locks/l")["waiting"] == 0
    client = begun(asking, "POST", "/v1/locks/l", {"lease": one, "wait": "30s"})
    wait_until(lambda: rig.json("GET", "/v1/locks/l")["waiting"] == 1, "the waiter")
    client.close()
    wait_until(lambda: rig.json("GET", "/v1/locks/l")["waiting"] == 0, "its place given up")
    entering = begun(asking, "POST", "/v1/barriers/b/enter", {"lease": one, "parties": 2, "wait": "30s"})
    wait_until(lambda: rig.json("GET", "/v1/barriers/b")["state"] == "filling", "one inside")
    rig.json("POST", "/v1/barriers/b/enter", {"lease": two, "parties": 2})
    assert answer(entering)["entered"] is True
    candidate = begun(asking, "POST", "/v1/elections/e", {"lease": one, "value": "here", "wait": "5s"})
    assert answer(candidate)["value"] == "here"
