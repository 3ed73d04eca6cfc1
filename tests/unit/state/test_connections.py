"""Framing, order, bounds, and who may ask."""

import gc
import json
import socket
from pathlib import Path

import pytest

from tests.harness.state_rig import StateRig, ask, request, state_rig
from tests.harness.wait import wait_until


def test_pipelined_requests_are_answered_in_their_order(rig: StateRig) -> None:
    with rig.client() as client:
        parts = []
        for number in range(40):
            parts.append(request("PUT", f"/v1/kv/k{number}", b"v%d" % number))
            parts.append(request("GET", f"/v1/kv/k{number}"))
            parts.append(request("GET", "/v1/status"))
        client.send(b"".join(parts))
        for number in range(40):
            assert json.loads(client.reply().body) == {"revision": number + 1, "version": 1}
            assert client.reply().body == b"v%d" % number
            assert json.loads(client.reply().body)["agent"] == "rig"


def test_an_answer_that_waits_holds_back_the_ones_behind_it(rig: StateRig) -> None:
    with rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"v")
        rig.run(rig.service.hold)
        client.send(request("PUT", "/v1/kv/k", b"w") + request("GET", "/v1/status"))
        wait_until(lambda: rig.run(lambda: sum(len(one.calls) for one in rig.api.connections)) == 2, "both requests")
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.more()
        client.sock.settimeout(20)
        rig.run(rig.service.release)
        assert client.reply().status == 200 and b"agent" in client.reply().body


def test_requests_beyond_the_pipelines_bound_wait_unread() -> None:
    with state_rig(pipeline_max=4) as rig, rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"v")
        rig.run(rig.service.hold)
        client.send(request("PUT", "/v1/kv/k", b"w") * 20)
        wait_until(lambda: rig.run(lambda: [len(one.calls) for one in rig.api.connections]) == [4], "four requests")
        rig.run(rig.service.release)
        versions = [json.loads(client.reply().body)["version"] for _ in range(20)]
        assert versions == list(range(2, 22))


def test_a_request_may_come_octet_by_octet(rig: StateRig) -> None:
    with rig.client() as client:
        data = request("PUT", "/v1/kv/k", b"value") + request("GET", "/v1/kv/k")
        for at in range(len(data)):
            client.send(data[at : at + 1])
        assert client.reply().status == 200
        assert client.reply().body == b"value"


def test_chunked_bodies_and_100_continue(rig: StateRig) -> None:
    with rig.client() as client:
        client.send(b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert client.reply().status == 200
        client.send(b"PUT /v1/kv/l HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"xyz")
        assert client.reply().status == 200
        assert ask(client, "GET", "/v1/kv/k").body + ask(client, "GET", "/v1/kv/l").body == b"abcdexyz"


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET /v1/status HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /v1/kv/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost.evil.example:15030\r\n\r\n", 421),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403),
        (b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 403),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nPilotfish-Session: 1\r\nContent-Length: 0\r\n\r\n", 400),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nPilotfish-Session: x\r\nPilotfish-Request: 1\r\nContent-Length: 0\r\n\r\n", 400),
        (b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: \xe4\r\nContent-Length: 0\r\n\r\n", 400),
    ],
)
def test_what_cannot_be_taken_is_said_after_the_answers_before_it_and_ends_the_connection(
    rig: StateRig, octets: bytes, status: int
) -> None:
    with rig.client() as client:
        client.send(request("GET", "/v1/status") + octets)
        assert client.reply().status == 200
        reply = client.reply()
        assert reply.status == status, reply
        assert reply.header("connection") == "close" and set(json.loads(reply.body)) >= {"error", "detail", "applied"}
        assert client.rest() == b""
    assert rig.ask("GET", "/v1/status").status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:15030", "127.0.0.1:1", "[::1]:80", "10.1.2.3", "state.local:15030"])
def test_names_that_are_taken(host: str) -> None:
    with state_rig(hosts=("state.local",)) as rig, rig.client() as client:
        client.send(f"GET /v1/status HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host.lower()}\r\n\r\n".encode())
        assert client.reply().status == 200


def test_unknown_paths_and_methods(rig: StateRig) -> None:
    with rig.client() as client:
        for method, target, status in (
            ("GET", "/", 404),
            ("GET", "/v1/nothing", 404),
            ("GET", "/v1/locks/a/b", 404),
            ("GET", "/v1/locks", 404),
            ("PATCH", "/v1/kv/k", 405),
            ("DELETE", "/v1/status", 405),
            ("HEAD", "/v1/watch", 405),
            ("HEAD", "/v1/elections/e/observe", 405),
            ("HEAD", "/v1/events", 400),
        ):
            reply = ask(client, method, target)
            assert reply.status == status, target
            if status == 405:
                assert reply.header("allow")
        assert ask(client, "GET", "/v1/status").status == 200, "the connection goes on"


def test_http_1_0_and_connection_close(rig: StateRig) -> None:
    with rig.client() as client:
        client.send(b"GET /v1/status HTTP/1.0\r\n\r\n")
        assert client.reply().header("connection") == "close" and client.rest() == b""
    with rig.client() as client:
        client.send(request("GET", "/v1/status", None, "Connection: close") + request("GET", "/v1/status"))
        assert client.reply().status == 200 and client.rest() == b""


def test_a_client_may_close_its_side_and_wait(rig: StateRig) -> None:
    with rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"v")
        rig.run(rig.service.hold)
        client.send(request("PUT", "/v1/kv/k", b"w"))
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: rig.run(lambda: sum(len(one.calls) for one in rig.api.connections)) == 1, "the request")
        rig.run(rig.service.release)
        assert client.reply().status == 200 and client.rest() == b""


def test_a_request_that_does_not_end_is_given_up() -> None:
    with state_rig(head_timeout=0.2) as rig:
        for octets in (b"GET /v1/sta", b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"):
            with rig.client() as client:
                client.send(octets)
                assert client.reply().status == 408 and client.rest() == b""


def test_an_idle_connection_is_closed() -> None:
    with state_rig(keep_alive=0.2) as rig, rig.client() as client:
        assert ask(client, "GET", "/v1/status").status == 200
        assert client.rest() == b""


def test_connections_have_a_bound() -> None:
    with state_rig(connections_max=1) as rig, rig.client() as first:
        assert ask(first, "GET", "/v1/status").status == 200
        with rig.client() as second:
            assert second.reply().status == 503 and second.rest() == b""
        assert ask(first, "GET", "/v1/status").status == 200


def test_a_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sock"
    with state_rig(listen=f"unix:{path}") as rig:
        assert rig.api.address == f"unix:{path}"
        assert rig.ask("PUT", "/v1/kv/k", b"v").status == 200
    assert not path.exists()
    with state_rig(listen=f"unix:{path}"):
        pass


def test_a_client_that_takes_no_answers_is_not_read_from_for_ever() -> None:
    with state_rig(watch_stall=0.3) as rig, rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"x" * 1_000_000)
        client.send(request("GET", "/v1/kv/k") * 100)
        wait_until(lambda: not rig.run(lambda: list(rig.api.connections)), "the connection's end")


def test_requests_leave_nothing_for_the_collector(rig: StateRig) -> None:
    with rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"v")
        rig.run(lambda: (gc.collect(), gc.disable(), gc.set_debug(gc.DEBUG_SAVEALL)))
        try:
            for _ in range(50):
                assert ask(client, "PUT", "/v1/kv/k", b"v").status == ask(client, "GET", "/v1/kv/k").status == 200
                assert ask(client, "POST", "/v1/txn", {"then": [{"get": {"key": "k"}}]}).status == 200
                assert ask(client, "GET", "/v1/kv/none").status == 404
            rig.run(gc.collect)
            left = [one for one in gc.garbage if type(one).__module__.startswith("agent.")]
            assert not left, left[:5]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
