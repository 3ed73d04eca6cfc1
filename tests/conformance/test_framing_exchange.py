"""What HTTP/1.1 and 1.0 allow, and what must arrive unchanged: pipelining, both framings both ways, trailers, 1xx, no bodies."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Close, Handler, Received, Upstream, response
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("framing_exchange")


class Bench:
    def __init__(self, agent: AgentProcess, upstream: Upstream) -> None:
        self.agent = agent
        self.upstream = upstream

    def script(self, handler: Handler) -> list[Received]:
        """Answer with `handler` from here on; the list of requests, emptied."""
        self.upstream.handler = handler
        self.upstream.requests.clear()
        return self.upstream.requests

    def client(self) -> RawClient:
        return RawClient(self.agent.egress, 10.0)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Upstream() as upstream:
        service = {
            "endpoints": [upstream.address],
            "retries": {"attempts": 0},
            "outlier": {"enabled": False},
            "breaker": {"enabled": False},
        }
        services = {"plain": {**service, "hosts": ["test"]}, "stored": {**service, "hosts": ["stored"], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent:
            yield Bench(agent, upstream)


def test_pipelined_requests_are_answered_in_their_order(bench: Bench) -> None:
    """The first answer comes last from its upstream; the second and third wait for it."""
    later = threading.Event()

    def answer(received: Received) -> object:
        return [lambda: later.wait(5), response(received.target)] if received.target == "/0" else response(received.target)

    bench.script(answer)
    with bench.client() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % number for number in range(6)))
        later.set()
        assert [client.reply().body for _ in range(6)] == [b"/%d" % number for number in range(6)]


def test_pipelined_hits_and_misses_keep_their_order(bench: Bench) -> None:
    bench.script(lambda received: response(received.target, headers=[("Cache-Control", "max-age=60")]))
    with bench.client() as client:
        client.get("/hit", "stored")
        names = [b"/hit", b"/miss1", b"/hit", b"/hit", b"/miss2", b"/hit"]
        client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: stored\r\n\r\n" % name for name in names))
        assert [client.reply().body for _ in names] == names


def test_pipelined_bodies(bench: Bench) -> None:
    """A request begins where the body before it ends, with either framing, wherever the octets are cut."""
    seen = bench.script(lambda received: response(received.body))
    length = b"POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
    chunks = b"POST /chunks HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    empty = b"GET /empty HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
    wire = (length + chunks + empty) * 3
    for size in (len(wire), 1, 7, 64):
        with bench.client() as client:
            for at in range(0, len(wire), size):
                client.send(wire[at : at + size])
            bodies = [client.reply().body for _ in range(9)]
        assert bodies[::3] == [b"hello"] * 3 and bodies[2::3] == [b""] * 3
        assert all(body.endswith(b"0\r\n\r\n") for body in bodies[1::3])
    assert [each.target for each in seen] == ["/length", "/chunks", "/empty"] * 12


def test_requests_behind_a_half_close_are_answered(bench: Bench) -> None:
    """A client may end its side when it has said all (``nc -N``): every request before that is answered."""
    bench.script(lambda received: response(received.target))
    with bench.client() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % number for number in range(3)))
        client.sock.shutdown(1)
        assert [client.reply().body for _ in range(3)] == [b"/0", b"/1", b"/2"]
        assert client.rest() == b""


def test_an_empty_line_between_requests_is_forgiven(bench: Bench) -> None:
    """RFC 9112 section 2.2: some clients send CRLF behind a body."""
    bench.script(lambda received: response(received.target))
    with bench.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello\r\n")
        assert client.reply().body == b"/a"
        assert client.get("/b").body == b"/b"
        client.send(b"\r\n")
        assert client.get("/c").body == b"/c"


@pytest.mark.parametrize("keep", [False, True])
def test_http_10(bench: Bench, keep: bool) -> None:
    """One request a connection unless it asks for more; no chunks, no 1xx."""
    chunks = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    seen = bench.script(lambda received: chunks if received.target == "/chunks" else response("hello"))
    option = b"Connection: keep-alive\r\n" if keep else b""
    with bench.client() as client:
        client.send(b"GET /a HTTP/1.0\r\nHost: test\r\n" + option + b"\r\n")
        reply = client.reply()
        assert (reply.status, reply.body, reply.header("connection")) == (200, b"hello", "keep-alive" if keep else "close")
        if keep:
            client.send(b"GET /chunks HTTP/1.0\r\nHost: test\r\n" + option + b"\r\n")
            reply = client.reply()
            assert (reply.status, reply.header("transfer-encoding"), reply.header("connection")) == (200, None, "close")
            assert reply.body == b"hello"
        assert client.rest() == b""
    assert all(each.lines[0].endswith(b"HTTP/1.1") for each in seen)
    assert seen[0].header("via") == "1.0 pilotfish"


def test_an_upstream_of_http_10(bench: Bench) -> None:
    seen = bench.script(lambda _: [b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"])
    with bench.client() as client:
        for _ in range(3):
            reply = client.get("/a")
            assert (reply.head[:8], reply.body, reply.header("connection")) == (b"HTTP/1.1", b"hello", None)
    assert len({each.connection for each in seen}) == 3, "such a connection is not kept"


def test_connection_close_from_either_side(bench: Bench) -> None:
    seen = bench.script(lambda _: response("hello", headers=[("Connection", "close, X-Hop"), ("X-Hop", "1"), ("X-End", "2")]))
    with bench.client() as client:
        reply = client.get("/a")
        assert (reply.header("connection"), reply.header("x-hop"), reply.header("x-end")) == (None, None, "2")
        reply = client.get("/b", "test", "Connection: close, X-Mine", "X-Mine: 1", "X-Thine: 2")
        assert reply.header("connection") == "close"
        assert client.rest() == b""
    assert seen[0].connection != seen[1].connection
    assert (seen[1].header("x-mine"), seen[1].header("x-thine")) == (None, "2")


@pytest.mark.parametrize("host", ["test", "stored"])
def test_a_body_until_the_connection_ends(bench: Bench, host: str) -> None:
    """To a client of HTTP/1.1 it goes in chunks, so that its end is certain."""
    bench.script(lambda _: [b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n", b"hello, ", b"world", Close])
    with bench.client() as client:
        for _ in range(2):
            assert client.get("/until-close", host).body == b"hello, world"
        client.send(f"GET /until-close2 HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        assert client.reply().body == b"hello, world"


def test_chunks_are_streamed_both_ways(bench: Bench) -> None:
    """Each piece passes before the next is sent: nothing waits for the end of the body."""
    step = threading.Semaphore(0)

    def answer(_: Received) -> object:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for number in range(5):
            yield lambda: step.acquire(timeout=5)
            yield b"1\r\n%d\r\n" % number
        yield b"0\r\n\r\n"

    seen = bench.script(answer)
    with bench.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = sum(map(len, bench.upstream.raw))
        for number in range(5):
            client.send(b"1\r\n%d\r\n" % number)
            wait_until(lambda want=b"1\r\n%d\r\n" % number: any(raw.endswith(want) for raw in bench.upstream.raw), "the chunk upstream")
        assert sum(map(len, bench.upstream.raw)) > sent
        client.send(b"0\r\n\r\n")
        client.until(b"\r\n\r\n")
        for number in range(5):
            step.release()
            assert client.until(b"1\r\n%d\r\n" % number) == b"1\r\n%d\r\n" % number
        assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"
    assert seen[0].body == b"".join(b"1\r\n%d\r\n" % number for number in range(5)) + b"0\r\n\r\n"


def test_trailers_go_to_those_who_asked_for_them(bench: Bench) -> None:
    """Not to others, and never those that frame or route (RFC 9110 section 6.5)."""
    body = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n"
    seen = bench.script(lambda _: b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    with bench.client() as client:
        reply = client.get("/a", "test", "TE: trailers", "Connection: TE")
        assert (reply.body, reply.trailers, reply.header("trailer")) == (b"hello", [("X-Sum", "1")], "X-Sum")
        reply = client.get("/b")
        assert (reply.body, reply.trailers) == (b"hello", [])
    assert (seen[0].header("te"), seen[1].header("te")) == ("trailers", None)


def test_expect_100_continue(bench: Bench) -> None:
    """The upstream's 100 reaches the client, and only then is the body sent."""
    seen = bench.script(lambda received: response(received.body))
    with bench.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert client.reply().status == 100
        client.send(b"hello")
        assert client.reply().body == b"hello"
        assert client.get("/b").status == 200
    assert [each.target for each in seen] == ["/a", "/b"]


def test_a_refusal_in_place_of_100(bench: Bench) -> None:
    """The body that was never sent cannot be told from a next request: the connection ends."""
    with bench.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: nobody\r\nExpect: 100-continue\r\nContent-Length: 38\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.header("connection")) == (404, "close")
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.rest() == b""


def test_informational_responses(bench: Bench) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    bench.script(lambda _: hints + response("hello"))
    with bench.client() as client:
        first, second, third = client.get("/a"), client.reply(), client.reply()
        assert (first.status, first.header("link"), second.status, third.body) == (103, "</a.css>", 102, b"hello")


@pytest.mark.parametrize("host", ["test", "stored"])
@pytest.mark.parametrize(
    ("name", "raw", "method", "status", "length"),
    [
        ("HEAD with a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 200, "5"),
        ("HEAD without a length", b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", 200, None),
        ("HEAD with chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 200, None),
        ("HEAD of an error", b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n", "HEAD", 404, "5"),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, None),
        ("304", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', "GET", 304, None),
        ("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", 304, "5"),
        ("a length of 0", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 200, "0"),
        ("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", 200, "0"),
        ("empty reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "GET", 200, "0"),
    ],
)
def test_no_body(bench: Bench, name: str, raw: bytes, method: str, status: int, length: str | None, host: str) -> None:
    """The connections on both sides go on with the next message."""
    seen = bench.script(lambda received: raw if received.target.startswith("/a") else response("next"))
    with bench.client() as client:
        reply = client.get(f"/a{hash(name)}", host, method=method)
        assert (reply.status, reply.header("content-length"), reply.header("transfer-encoding")) == (status, length, None)
        assert client.get(f"/next{hash(name)}", host).body == b"next"
    assert seen[0].connection == seen[-1].connection


def test_a_stored_204_has_no_length(bench: Bench) -> None:
    bench.script(lambda _: b"HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n")
    with bench.client() as client:
        for _ in range(3):
            reply = client.get("/204", "stored")
            assert (reply.status, reply.header("content-length")) == (204, None)
        assert "hit" in (reply.header("cache-status") or "")


@pytest.mark.parametrize(
    ("line", "target", "host"),
    [
        ("GET /a?b=c%20d HTTP/1.1", "/a?b=c%20d", "test"),
        ("GET http://test/a?b HTTP/1.1", "/a?b", "test"),
        ("GET HTTP://TEST/a HTTP/1.1", "/a", "test"),
        ("GET http://test HTTP/1.1", "/", "test"),
        ("GET http://test?b HTTP/1.1", "/?b", "test"),
        ("OPTIONS * HTTP/1.1", "*", "test"),
        ("OPTIONS http://test HTTP/1.1", "*", "test"),
        ("GET //a//b/../c HTTP/1.1", "//a//b/../c", "test"),
        ("get /a HTTP/1.1", "/a", "test"),
        ("M-SEARCH!#$ /a HTTP/1.1", "/a", "test"),
    ],
)
def test_targets(bench: Bench, line: str, target: str, host: str) -> None:
    """Origin-form goes on; absolute-form counts before Host (RFC 9112 section 3.2.2)."""
    seen = bench.script(lambda _: response("hello"))
    other = "test" if line.split(" ")[1].startswith(("/", "*")) else "elsewhere"
    with bench.client() as client:
        client.send(f"{line}\r\nHost: {other}\r\n\r\n".encode())
        assert client.reply().status == 200
    assert (seen[0].target, seen[0].header("host"), seen[0].method) == (target, host, line.split(" ")[0])


def test_h2c_is_not_offered_to_an_upstream(bench: Bench) -> None:
    """Through an h2c tunnel requests would pass that nothing has looked at (RFC 9113 section 3.1 withdrew the upgrade)."""
    seen = bench.script(lambda _: response("hello"))
    with bench.client() as client:
        lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
        assert client.get("/a", "test", *lines).body == b"hello"
    assert (seen[0].header("upgrade"), seen[0].header("http2-settings"), seen[0].header("connection")) == (None, None, None)


def test_a_connection_closed_at_once_is_answered_at_once() -> None:
    """An upstream that accepts and closes: 502 with its reason, however the closing races with the dialling."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=close_each, args=(listener,), daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        service = {
            "hosts": ["*"],
            "endpoints": [address],
            "retries": {"attempts": 0},
            "outlier": {"enabled": False},
            "breaker": {"enabled": False},
            "limits": {"connections_max": 4},
        }
        with AgentProcess({"services": {"web": service}}) as agent, RawClient(agent.egress, 5.0) as client:
            for _ in range(200):
                reply = client.get("/a")
                assert (reply.status, reply.header("x-pilotfish-reason")) == (502, "UC")


def close_each(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return
