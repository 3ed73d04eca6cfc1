import base64
import json
import os
from typing import Any

import pytest

from agent.core.machine.config import Limits
from agent.core.machine.envelope import encode_command, seal
from agent.core.machine.machine import Machine
from agent.core.replica.log import COMMAND, Entry
from tests.harness.client import RawClient
from tests.harness.state_rig import StateRig, ask, request, state_rig
from tests.harness.wait import wait_until


class EventReader:
    """A reader of server-sent events."""

    def __init__(self, client: RawClient, target: str, *lines: str) -> None:
        self.client = client
        self.client.send(request("GET", target, None, *lines))
        self.head = self.client.until(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 200") and b"text/event-stream" in self.head

    def next(self) -> tuple[str, str, Any]:
        """(id, event, data) of the next event; comments and retry are passed over."""
        while True:
            fields: dict[str, str] = {}
            for line in self.client.until(b"\n\n").decode().strip().split("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                return fields.get("id", ""), fields["event"], json.loads(fields["data"])

    def close(self) -> None:
        self.client.close()


class Watcher(EventReader):
    def __init__(self, rig: StateRig, target: str, *lines: str) -> None:
        super().__init__(rig.client(), target, *lines)


def test_events_are_told_as_they_happen(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/a", b"0")
    watcher = Watcher(rig, "/v1/watch?prefix=a")
    assert watcher.next() == ("", "open", {"revision": 1})
    rig.ask("PUT", "/v1/kv/b", b"not this")
    rig.ask("PUT", "/v1/kv/a", b"1")
    rig.ask("PUT", "/v1/kv/ab?ttl=10s", b"\xff")
    rig.ask("DELETE", "/v1/kv/a")
    rig.run(lambda: rig.service.pass_time(10))
    told = [watcher.next() for _ in range(4)]
    item = {"key": "a", "value": "1", "create_revision": 1, "mod_revision": 3, "version": 2, "lease": 0, "revision": 3}
    assert told[0] == ("3", "put", item)
    assert told[1][1] == "put" and told[1][2]["value_base64"] == "/w==" and told[1][2]["lease"] > 0
    assert told[2:] == [("5", "delete", {"key": "a", "revision": 5}), ("6", "delete", {"key": "ab", "expired": True, "revision": 6})]
    watcher.close()
    wait_until(lambda: rig.run(lambda: rig.api.figures.watches) == 0, "the watch's end")


def test_a_watch_goes_on_from_a_revision_exactly(rig: StateRig) -> None:
    for number in range(5):
        rig.ask("PUT", f"/v1/kv/k{number}", b"")
    rig.json("POST", "/v1/txn", {"then": [{"put": {"key": "k8", "value": ""}}, {"put": {"key": "k9", "value": ""}}]})
    for target, lines in (("/v1/watch?after=3", ()), ("/v1/watch?after=1", ("Last-Event-ID: 3",))):
        watcher = Watcher(rig, target, *lines)
        assert watcher.next()[1] == "open"
        told = [watcher.next() for _ in range(4)]
        assert [(id, data["key"]) for id, _, data in told] == [("4", "k3"), ("5", "k4"), ("", "k8"), ("6", "k9")], "the id stands last"
        watcher.close()
    ahead = Watcher(rig, "/v1/watch?after=8&values=false")
    ahead.next()
    for number in range(4):
        rig.ask("PUT", "/v1/kv/x", b"%d" % number)
    told = ahead.next()
    assert told[0] == "9" and "value" not in told[2]
    ahead.close()


def test_one_key_and_a_range(rig: StateRig) -> None:
    one = Watcher(rig, "/v1/watch?key=b")
    some = Watcher(rig, "/v1/watch?start=b&end=d")
    for watcher in (one, some):
        watcher.next()
    for key in "abcd":
        rig.ask("PUT", f"/v1/kv/{key}", b"")
    rig.ask("PUT", "/v1/kv/b", b"")
    assert [one.next()[0] for _ in range(2)] == ["2", "5"]
    assert [some.next()[0] for _ in range(3)] == ["2", "3", "5"]
    for query in ("key=a&prefix=b", "after=x", "values=maybe"):
        assert rig.ask("GET", "/v1/watch?" + query).status == 400
    for watcher in (one, some):
        watcher.close()


def test_what_is_no_longer_kept_is_said() -> None:
    with state_rig(Limits(history_events=4)) as rig:
        for _ in range(10):
            rig.ask("PUT", "/v1/kv/k", b"")
        watcher = Watcher(rig, "/v1/watch?after=2")
        assert watcher.next()[1] == "open"
        assert watcher.next() == ("", "compacted", {"oldest": 6, "revision": 10})
        assert watcher.client.rest() == b""
        gone = rig.json("GET", "/v1/events?after=2", status=410)
        assert (gone["error"], gone["oldest"], gone["revision"]) == ("compacted", 6, 10)


def test_a_reader_that_stops_is_told_the_rest_when_it_goes_on_or_that_it_is_gone() -> None:
    with state_rig(Limits(history_events=20), watch_buffer=65_536) as rig:
        slow = Watcher(rig, "/v1/watch?prefix=")
        fine = Watcher(rig, "/v1/watch?prefix=&values=false")
        slow.next(), fine.next()
        value = os.urandom(300_000)
        with rig.client() as client:
            for _ in range(40):
                assert ask(client, "PUT", "/v1/kv/k", value).status == 200
        assert [fine.next()[0] for _ in range(40)] == [str(number) for number in range(1, 41)]
        held = rig.run(lambda: max(one.transport.get_write_buffer_size() for one in rig.api.connections))
        assert held < 1_000_000, "what is held for a slow reader is bounded"
        seen = []
        while (told := slow.next())[1] == "put":
            seen.append(int(told[0]))
        assert seen == list(range(1, len(seen) + 1)), "nothing is left out"
        assert told[1] == "compacted" and told[2]["oldest"] >= len(seen)
        assert slow.client.rest() == b""
        fine.close()


def test_a_reader_that_never_goes_on_is_cut_off() -> None:
    with state_rig(watch_stall=0.2, watch_buffer=65_536) as rig:
        watcher = Watcher(rig, "/v1/watch")
        watcher.next()
        with rig.client() as client:
            for _ in range(30):
                ask(client, "PUT", "/v1/kv/k", os.urandom(300_000))
        wait_until(lambda: rig.run(lambda: rig.api.figures.slow) == 1, "its end")
        wait_until(lambda: rig.run(lambda: len(rig.api.connections)) == 0, "its connection's end")
        watcher.close()


def test_a_silent_watch_says_that_it_is_there() -> None:
    with state_rig(heartbeat=0.1) as rig:
        watcher = Watcher(rig, "/v1/watch")
        watcher.client.until(b": still here\n\n")
        watcher.client.until(b": still here\n\n")
        watcher.close()


def test_watches_go_on_over_a_snapshot(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/k", b"1")
    watcher, quiet = Watcher(rig, "/v1/watch?key=k"), Watcher(rig, "/v1/watch?key=q")
    watcher.next(), quiet.next()
    other = Machine()
    chunks = rig.run(lambda: list(rig.machine.snapshot()))
    other.restore(chunks)
    from agent.core.machine.commands import Put

    for number in (2, 3):
        other.apply(Entry(1, other.index + 1, COMMAND, seal(10, 0, 0, 0, encode_command(Put(b"k", b"%d" % number)))))
    rig.run(lambda: rig.service.restore(list(other.snapshot())))
    rig.ask("PUT", "/v1/kv/k", b"4")
    assert [watcher.next()[2]["value"] for _ in range(3)] == ["2", "3", "4"]
    rig.ask("PUT", "/v1/kv/q", b"!")
    assert quiet.next()[2]["value"] == "!"
    watcher.close(), quiet.close()


def test_watches_have_a_bound_and_hear_that_the_agent_stops() -> None:
    with state_rig(watches_max=1) as rig:
        watcher = Watcher(rig, "/v1/watch")
        watcher.next()
        assert rig.json("GET", "/v1/watch", status=503)["error"] == "busy"
        rig.stop()
        assert watcher.next()[1:] == ("closed", {"error": "stopped", "detail": "the agent stops; go on at another, or later"})
        assert watcher.client.rest() == b""
        rig.stop = lambda: None  # type: ignore[method-assign]


def test_a_question_for_events_looks_at_so_many_and_says_where_to_go_on(rig: StateRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.state.watches.SCAN_MAX", 4)
    monkeypatch.setattr("agent.state.watches.EVENTS_MAX", 2)
    for number in range(10):
        rig.ask("PUT", "/v1/kv/" + ("last" if number == 9 else "k"), b"")
    steps = []
    after = 0
    while True:
        told = rig.json("GET", f"/v1/events?after={after}&key=last&wait=20s&limit=1")
        after = told["revision"]
        steps.append((after, len(told["events"]), told["more"]))
        if told["events"]:
            break
    assert steps == [(4, 0, True), (8, 0, True), (10, 1, False)]


def test_events_by_asking(rig: StateRig) -> None:
    for number in range(5):
        rig.ask("PUT", f"/v1/kv/{'ab'[number % 2]}", b"%d" % number)
    told = rig.json("GET", "/v1/events?after=0&prefix=a&limit=2")
    assert [event["value"] for event in told["events"]] == ["0", "2"] and told["revision"] == 3
    told = rig.json("GET", f"/v1/events?after={told['revision']}&prefix=a&limit=2")
    assert [event["value"] for event in told["events"]] == ["4"] and told["revision"] == 5
    assert rig.json("GET", "/v1/events?after=5") == {"events": [], "revision": 5, "more": False}
    assert rig.json("GET", "/v1/events?after=5&wait=100ms") == {"events": [], "revision": 5, "more": False}
    with rig.client() as client:
        client.send(request("GET", "/v1/events?after=5&key=b&wait=20s"))
        wait_until(lambda: rig.run(lambda: rig.api.figures.watches) == 1, "the wait")
        rig.ask("PUT", "/v1/kv/a", b"")
        rig.ask("PUT", "/v1/kv/b", b"!")
        found = json.loads(client.reply().body)
        assert found["events"][0]["value"] == "!" and found["revision"] == 7
    with rig.client() as client:
        client.send(request("GET", "/v1/events?after=7&wait=20s"))
        wait_until(lambda: rig.run(lambda: rig.api.figures.watches) == 1, "the wait")
    wait_until(lambda: rig.run(lambda: rig.api.figures.watches) == 0, "its end with the connection")
    assert rig.json("GET", "/v1/events", status=400)["error"] == "bad_request"


# -- WebSocket


class Wire:
    """A client of RFC 6455, as far as these tests need it."""

    def __init__(self, rig: StateRig, target: str = "/v1/watch", *lines: str) -> None:
        self.client: RawClient = rig.client()
        key = base64.b64encode(os.urandom(16)).decode()
        head = ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        self.client.send(request("GET", target, None, *head, *lines))
        assert self.client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")

    def send(self, payload: bytes, opcode: int = 1, final: bool = True) -> None:
        mask = os.urandom(4)
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else bytes([254]) + size.to_bytes(2, "big")
        masked = bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))
        self.client.send(bytes([(128 if final else 0) | opcode]) + length + mask + masked)

    def say(self, message: Any) -> None:
        self.send(json.dumps(message).encode())

    def frame(self) -> tuple[int, bytes]:
        first, size = self.client.exactly(2)
        if size == 126:
            size = int.from_bytes(self.client.exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(self.client.exactly(8), "big")
        return first & 15, self.client.exactly(size)

    def next(self) -> Any:
        opcode, payload = self.frame()
        assert opcode == 1, (opcode, payload)
        return json.loads(payload)


def test_many_watches_on_one_websocket(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/a", b"0")
    wire = Wire(rig, "/v1/watch?prefix=a&after=0")
    assert wire.next() == {"id": 0, "open": {"revision": 1}}
    assert wire.next()["events"][0]["value"] == "0"
    wire.say({"watch": {"id": 7, "key": "b"}})
    assert wire.next() == {"id": 7, "open": {"revision": 1}}
    rig.ask("PUT", "/v1/kv/b", b"1")
    event = {"type": "put", "key": "b", "value": "1", "create_revision": 2, "mod_revision": 2, "version": 1, "lease": 0, "revision": 2}
    assert wire.next() == {"id": 7, "events": [event], "revision": 2}
    wire.say({"cancel": {"id": 7}})
    assert wire.next() == {"id": 7, "closed": {"error": "cancelled", "detail": "as was asked"}}
    rig.ask("PUT", "/v1/kv/b", b"2")
    rig.ask("DELETE", "/v1/kv/a")
    assert wire.next() == {"id": 0, "events": [{"type": "delete", "key": "a", "revision": 4}], "revision": 4}
    wire.say({"watch": {"id": 0, "key": "b"}})
    assert wire.next()["closed"]["error"] == "bad_request"
    for wrong in ({"watch": {"id": 1, "key": "a", "key_base64": "YQ=="}}, {"watch": {"key": "a"}}, {"what": 1}):
        wire.say(wrong)
        assert wire.next()["closed"]["error"] == "bad_request"
    wire.send(b"ping!", opcode=9)
    assert wire.frame() == (10, b"ping!")
    wire.send((1000).to_bytes(2, "big"), opcode=8)
    assert wire.frame()[0] == 8 and wire.client.rest() == b""
    wait_until(lambda: rig.run(lambda: rig.api.figures.watches) == 0, "the watches' end")


def test_a_websocket_says_what_is_compacted_and_that_it_is_there() -> None:
    with state_rig(Limits(history_events=2), heartbeat=0.1, watches_per_connection_max=1) as rig:
        for _ in range(5):
            rig.ask("PUT", "/v1/kv/k", b"")
        wire = Wire(rig)
        wire.say({"watch": {"id": 1, "prefix": "", "after": 1}})
        assert wire.next() == {"id": 1, "open": {"revision": 5}}
        assert wire.next() == {"id": 1, "compacted": {"oldest": 3, "revision": 5}}
        wire.say({"watch": {"id": 2, "prefix": ""}})
        assert wire.next() == {"id": 2, "open": {"revision": 5}}
        assert wire.next() == {"id": 2, "progress": {"revision": 5}}
        wire.say({"watch": {"id": 3, "prefix": ""}})
        answers = [wire.next() for _ in range(1)]
        while "progress" in answers[-1]:
            answers.append(wire.next())
        assert answers[-1]["id"] == 3 and answers[-1]["closed"]["error"] == "busy"


@pytest.mark.parametrize("attack", ["binary", "huge", "unmasked", "garbage"])
def test_a_websocket_that_misbehaves_is_closed(rig: StateRig, attack: str) -> None:
    wire = Wire(rig)
    if attack == "binary":
        wire.send(b"\x00", opcode=2)
    elif attack == "huge":
        for _ in range(5):
            wire.send(b"x" * 20_000, opcode=1 if _ == 0 else 0, final=False)
    elif attack == "unmasked":
        wire.client.send(b"\x81\x02{}")
    else:
        wire.client.send(b"\x83\x80\x00\x00\x00\x00")  # an opcode that means nothing
    assert wire.client.rest()[:1] in (b"\x88", b"")
    assert rig.ask("GET", "/v1/status").status == 200


def test_a_bad_handshake_is_refused(rig: StateRig) -> None:
    base = ["Connection: Upgrade", "Upgrade: websocket"]
    for lines in (base, [*base, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"], [*base, "Sec-WebSocket-Version: 8"]):
        assert rig.json("GET", "/v1/watch", None, *lines, status=400)["error"] == "bad_request"


def test_counters_make_no_events(rig: StateRig) -> None:
    watcher = Watcher(rig, "/v1/watch")
    watcher.next()
    rig.json("POST", "/v1/counters/c", {})
    rig.ask("PUT", "/v1/kv/k", b"")
    assert watcher.next()[0] == "1"
    watcher.close()
