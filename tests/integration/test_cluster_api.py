"""The cluster's part of the admin API over a cluster that does as the test says: answers as documented, the stream, and who may ask."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.admin import events
from agent.admin.cluster_schema import PATHS
from agent.admin.mesh import MATRIX_MAX, latency
from agent.admin.openapi import DOCUMENT
from tests.harness.fabric import KEY, OTHER_KEY, AdminThread, FakeFabric, configuration, fingerprint, member
from tests.harness.wait import wait_until

HOSTILE = "<img src=x onerror=alert(1)>\nevent: join\n\n"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[AdminThread]:
    services = {"web": {"hosts": ["web"], "endpoints": ["127.0.0.1:9", "127.0.0.1:10"], "cache": {"enabled": True}}}
    with AdminThread(configuration(tmp_path, services=services), FakeFabric()) as admin:
        yield admin


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[AdminThread]:
    with AdminThread(configuration(tmp_path)) as admin:
        yield admin


def ask(admin: AdminThread, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(admin.address, timeout=20)
    try:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text.decode(), answer.headers
    finally:
        connection.close()


CALLS: list[tuple[str, str, Any, int]] = [
    ("get", "/cluster", None, 200),
    ("get", "/cluster/members", None, 200),
    ("get", "/cluster/wan", None, 200),
    ("get", "/cluster/holders?service=web&url=http://web/x", None, 200),
    ("get", "/cluster/holders?service=web&url=x", None, 400),
    ("get", "/cluster/health", None, 200),
    ("get", "/cluster/keys", None, 200),
    ("get", "/cluster/mesh", None, 200),
    ("post", "/cluster/keys", {"op": "list"}, 200),
    ("post", "/cluster/keys", {"op": "install", "key": OTHER_KEY}, 200),
    ("post", "/cluster/keys", {"op": "use", "key": OTHER_KEY}, 400),
    ("post", "/cluster/keys", {"op": "remove", "key": KEY}, 400),
    ("post", "/cluster/keys", {"op": "list", "key": KEY}, 400),
    ("post", "/cluster/keys", {"op": "install", "key": KEY[:-4]}, 400),
    ("post", "/cluster/keys", {"op": "install", "key": "é"}, 400),
    ("post", "/cluster/keys", {"op": "install", "key": 7}, 400),
    ("post", "/cluster/keys", {"op": "forget", "key": KEY}, 400),
    ("post", "/cluster/keys", {"opp": "list"}, 400),
    ("post", "/cluster/keys", [], 400),
    ("post", "/cluster/keys", b"{", 400),
    ("post", "/cluster/ping", {"member": "web-2"}, 200),
    ("post", "/cluster/ping", {"member": "web-9"}, 404),
    ("post", "/cluster/ping", {"member": "web-3"}, 504),
    ("post", "/cluster/ping", {}, 400),
    ("post", "/cluster/leave", {}, 200),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), CALLS)
def test_answers_are_as_documented(admin: AdminThread, method: str, path: str, body: Any, expected: int) -> None:
    status, value, _ = ask(admin, method.upper(), path, body)
    assert status == expected, value
    schema = DOCUMENT["paths"][path.partition("?")[0]][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)
    assert KEY not in json.dumps(value) and OTHER_KEY not in json.dumps(value)


def test_every_documented_answer_is_asked_for() -> None:
    called = {(path.partition("?")[0], method, status) for method, path, _, status in CALLS}
    documented = {(path, method, int(status)) for path, one in PATHS.items() for method in one for status in one[method]["responses"]}
    without = {(path, method, 404) for path, one in PATHS.items() for method in one if path.startswith("/cluster")}
    page = {("/", "get", 200), ("/ui/{name}", "get", 200), ("/ui/{name}", "get", 404)}
    stream = {("/cluster/events", "get", 200), ("/cluster/events", "get", 503)}
    assert documented - called - without == page | stream


@pytest.mark.parametrize(("method", "path"), [(method, path) for path, one in PATHS.items() for method in one if "cluster" in path])
def test_without_a_cluster_the_answer_says_how_to_have_one(alone: AdminThread, method: str, path: str) -> None:
    status, value, _ = ask(alone, method.upper(), path, {} if method == "post" else None)
    assert status == 404
    assert "cluster.bind" in value["error"]


def test_a_key_that_cannot_be_used_is_not_repeated_in_the_answer(admin: AdminThread) -> None:
    _, value, _ = ask(admin, "POST", "/cluster/keys", {"op": "use", "key": OTHER_KEY})
    assert value["error"] == "use: the key (key) is not installed"


def test_health_names_those_that_are_not_well_and_why(admin: AdminThread) -> None:
    assert admin.fabric is not None
    admin.fabric.rows[1]["health"] = {"level": "degraded", "reason": "event loop lags 210 ms"}
    admin.fabric.rows[2] = member("web-3", state="dead", health=None)
    admin.fabric.rows.append(member("web-4", state="left"))
    _, value, _ = ask(admin, "GET", "/cluster/health")
    assert value["counts"] == {"alive": 2, "suspect": 0, "dead": 1, "left": 1}
    assert value["unwell"] == [
        {"name": "web-2", "state": "alive", "level": "degraded", "reason": "event loop lags 210 ms"},
        {"name": "web-3", "state": "dead", "level": "", "reason": ""},
    ]


def test_the_mesh_joins_endpoints_with_who_announces_them_and_what_peers_say(admin: AdminThread) -> None:
    assert admin.fabric is not None
    admin.fabric.rows[1]["announced"] = [{"service": "web", "address": "127.0.0.1:9", "weight": 1, "healthy": True, "tags": {}}]
    admin.fabric.rows[2]["judgements"] = [{"service": "web", "address": "127.0.0.1:10", "breaker": "open", "ejected": False}]
    _, value, _ = ask(admin, "GET", "/cluster/mesh")
    first, second = sorted(value["services"][0]["endpoints"], key=lambda endpoint: len(endpoint["address"]))
    assert (first["announced_by"], first["peers_say"]) == ("web-2", [])
    assert (second["announced_by"], second["peers_say"]) == ("", [{"member": "web-3", "breaker": "open", "ejected": False}])
    assert value["latency"]["names"] == ["test-1", "web-2", "web-3"]
    assert value["latency"]["ms"] == [[None, 0.42, 0.42], [0.5, None, None], [0.5, None, None]]
    assert value["members"][0]["cache"] == {"entries": 0, "bytes": 0, "hits": 0, "asked": 0}


def test_the_matrix_of_many_members_is_by_zone() -> None:
    rows = [
        member(f"m-{number}", zone="abc"[number % 3], peers_ms={f"m-{number + 1}": float(number % 3)}) for number in range(MATRIX_MAX + 9)
    ]
    found = latency("m-0", rows)
    assert (found["by"], found["names"]) == ("zone", ["eu-1/a", "eu-1/b", "eu-1/c"])
    assert found["ms"][1][2] == 1.0  # every member of zone b measured one of zone c, and found 1 ms
    assert found["ms"][1][1] is None


class Reader:
    """A reader of the event stream; `blocks` is what came, an event each."""

    def __init__(self, admin: AdminThread, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection(admin.address, timeout=20)
        self.connection.request(
            "GET", f"/cluster/events{query}", headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        assert self.block() == ["retry: 2000"]

    def block(self) -> list[str]:
        lines = []
        while line := self.answer.readline().decode().rstrip("\n"):
            lines.append(line)
        return lines

    def event(self) -> tuple[str, str, dict[str, Any]]:
        """id, name, data."""
        parts = dict(line.split(": ", 1) for line in self.block())
        return parts.get("id", ""), parts["event"], json.loads(parts["data"])

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self.connection.close()


def emit(admin: AdminThread, kind: str, name: str, detail: str = "") -> None:
    assert admin.fabric is not None
    fabric = admin.fabric
    admin.do(lambda: fabric.emit(kind, name, detail))


def test_events_come_as_they_happen_and_a_reader_that_returns_misses_none(admin: AdminThread) -> None:
    emit(admin, "join", "before")
    with Reader(admin) as reader:
        emit(admin, "join", "web-7")
        first, name, data = reader.event()
        assert (name, data["member"], data["kind"], data["at"]) == ("join", "web-7", "join", 1_700_000_000.0)
    emit(admin, "fail", HOSTILE, HOSTILE)
    emit(admin, "no\nkind", "web-8")
    with Reader(admin, Last_Event_ID=first) as reader:
        assert reader.event()[1:] == (
            "fail",
            {"id": data["id"][:-1] + "3", "at": data["at"], "kind": "fail", "member": HOSTILE, "detail": HOSTILE},
        )
        assert reader.event()[1] == "other"
    with Reader(admin, "?recent=2") as reader:
        assert [reader.event()[2]["member"], reader.event()[2]["member"]] == [HOSTILE, "web-8"]


def test_a_reader_that_was_away_for_too_long_is_told_how_many_it_missed(admin: AdminThread) -> None:
    emit(admin, "join", "m-1")
    with Reader(admin, "?recent=1") as reader:
        seen = reader.event()[0]
    for number in range(2, events.RING_MAX + 12):
        emit(admin, "join", f"m-{number}")
    with Reader(admin, Last_Event_ID=seen) as reader:
        assert reader.event()[1:] == ("gap", {"missed": 10})
        assert reader.event()[2]["member"] == "m-12"
    with Reader(admin, Last_Event_ID="7-3") as reader:  # of an earlier life: everything that is kept
        assert reader.event()[1:] == ("gap", {"missed": None})
        assert reader.event()[2]["member"] == "m-12"


def test_a_silent_stream_says_that_it_is_there(admin: AdminThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_S", 0.02)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.04)
    with Reader(admin) as reader:
        assert reader.block() == [": still here"]


def test_a_reader_that_does_not_read_is_cut_off_and_costs_no_memory(admin: AdminThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WRITE_S", 0.2)
    host, _, port = admin.address.partition(":")
    ring = admin.server._cluster.ring
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        sock.sendall(b"GET /cluster/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: ring.readers == 1, "the reader is there")

        def dropped() -> bool:
            for _ in range(100):
                emit(admin, "update", "x" * 500, "y" * 500)
            return bool(ring.readers == 0)

        wait_until(dropped, "the reader is cut off")
    assert len(ring.recent(10_000)) == events.RING_MAX


def test_a_reader_that_goes_is_forgotten(admin: AdminThread) -> None:
    with Reader(admin):
        pass
    wait_until(lambda: admin.server._cluster.ring.readers == 0, "the reader is forgotten")


def test_readers_have_a_bound(admin: AdminThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "READERS_MAX", 1)
    with Reader(admin):
        status, value, _ = ask(admin, "GET", "/cluster/events")
        assert (status, value) == (503, {"error": "1 readers are there already"})


def test_open_streams_do_not_hold_the_agent_up_when_it_stops(tmp_path: Path) -> None:
    with AdminThread(configuration(tmp_path), FakeFabric()) as admin:
        reader = Reader(admin)
    assert reader.answer.read() == b""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_make_the_agent_do_things(admin: AdminThread, headers: dict[str, str], expected: int) -> None:
    status, _, _ = ask(admin, "POST", "/cluster/leave", {}, **headers)
    assert status == expected
    assert admin.fabric is not None
    assert admin.fabric.left == (expected == 200)
    assert ask(admin, "GET", "/cluster", **headers)[0] == 200


def test_the_page_own_origin_may(admin: AdminThread) -> None:
    assert ask(admin, "POST", "/cluster/leave", {}, Origin=admin.url)[0] == 200


def test_fingerprints_and_nothing_else_of_keys(admin: AdminThread) -> None:
    assert ask(admin, "GET", "/cluster/keys")[1] == {
        "encrypted": True,
        "keys": [{"fingerprint": fingerprint(KEY), "bits": 128, "primary": True}],
    }
