"""Responses that could be read in two ways become 502, and one that breaks in its body is cut where the client can see it."""

import threading
from collections.abc import Iterator

import pytest

from tests.conformance.framing_vectors import RESPONSE_VECTORS, ResponseVector
from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Close, Received, Upstream, response

pytestmark = pytest.mark.xdist_group("framing_responses")
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"


class Bench:
    """An agent before one upstream that says `script` to every request but those for ``/good``."""

    def __init__(self, agent: AgentProcess, upstream: Upstream) -> None:
        self.agent = agent
        self.upstream = upstream
        self.script: list[object] = []
        upstream.handler = self.answer

    def answer(self, received: Received) -> object:
        return response("good") if received.target.startswith("/good") else self.script

    def client(self) -> RawClient:
        return RawClient(self.agent.egress, 5.0)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Upstream() as upstream:
        common = {
            "endpoints": [upstream.address],
            "retries": {"attempts": 0},
            "limits": {"connections_max": 2},
            "outlier": {"enabled": False},
            "breaker": {"enabled": False},
        }
        plain = {**common, "hosts": ["plain"]}
        stored = {**common, "hosts": ["stored"], "cache": {"enabled": True, "ttl_default": "60s"}}
        with AgentProcess({"services": {"plain": plain, "stored": stored}}) as agent:
            yield Bench(agent, upstream)


def check(bench: Bench, vector: ResponseVector, host: str, target: str) -> None:
    with bench.client() as client:
        if vector.cut:
            client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            body = client.rest()
            assert b"smuggled" not in body and not body.endswith(b"0\r\n\r\n")
            if b"content-length: 10" in head.lower():
                assert len(body) < 10
            else:
                assert b"transfer-encoding: chunked" in head.lower()
        else:
            reply = client.get(target, host)
            while reply.status == 103:
                reply = client.reply()
            assert reply.status == 502, (reply.head, reply.body)
            assert reply.header("content-type") == "application/problem+json"
            assert reply.header("x-pilotfish-reason") in ("UPE", "UC")
            assert client.get("/good", host).body == b"good", "the client's connection is as good as before"
    with bench.client() as client:
        assert client.get(f"/good{target}", host).body == b"good", "and so is the next connection to the upstream"


@pytest.mark.parametrize("host", ["plain", "stored"])
@pytest.mark.parametrize("vector", RESPONSE_VECTORS, ids=lambda vector: f"{vector.group}: {vector.name}")
def test_not_passed_on(bench: Bench, vector: ResponseVector, host: str) -> None:
    bench.script = [vector.raw, Close]
    check(bench, vector, host, f"/{hash(vector.name)}")


@pytest.mark.parametrize(
    "vector", [each for each in RESPONSE_VECTORS if len(each.raw) < 600], ids=lambda vector: f"{vector.group}: {vector.name}"
)
def test_not_passed_on_octet_by_octet(bench: Bench, vector: ResponseVector) -> None:
    bench.script = [*(vector.raw[at : at + 1] for at in range(len(vector.raw))), Close]
    check(bench, vector, "stored", f"/octets{hash(vector.name)}")


NO_STORE = "Cache-Control: no-store\r\n"
LEFT_OVER = {
    "behind a length": f"HTTP/1.1 200 OK\r\n{NO_STORE}Content-Length: 5\r\n\r\nhello",
    "behind chunks": f"HTTP/1.1 200 OK\r\n{NO_STORE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "behind a length of 0": f"HTTP/1.1 200 OK\r\n{NO_STORE}Content-Length: 0\r\n\r\n",
    "behind 204": f"HTTP/1.1 204 No Content\r\n{NO_STORE}\r\n",
    "behind 204 with a length": f"HTTP/1.1 204 No Content\r\n{NO_STORE}Content-Length: {len(SECOND)}\r\n\r\n",
    "behind 304": f"HTTP/1.1 304 Not Modified\r\n{NO_STORE}Content-Length: 5\r\n\r\n",
    "behind 304 with chunks": f"HTTP/1.1 304 Not Modified\r\n{NO_STORE}Transfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("host", ["plain", "stored"])
@pytest.mark.parametrize("name", LEFT_OVER)
def test_what_follows_a_response_answers_nothing(bench: Bench, name: str, host: str) -> None:
    """Octets behind a response are nobody's: the connection they came on serves no further request."""
    bench.script = [LEFT_OVER[name].encode() + SECOND]
    with bench.client() as client:
        first = client.get("/left-over", host)
        assert b"smuggled" not in first.body
        if first.status == 204:
            assert first.header("content-length") is None
        assert client.get("/good", host).body == b"good"
        assert client.get("/good2", host).body == b"good"


@pytest.mark.parametrize("host", ["plain", "stored"])
def test_a_body_behind_head_is_not_passed_on(bench: Bench, host: str) -> None:
    bench.script = [b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"]
    with bench.client() as client:
        reply = client.get("/head", host, method="HEAD")
        assert (reply.status, reply.header("content-length")) == (200, "8")
        assert client.get("/good", host).body == b"good"


@pytest.mark.parametrize("host", ["plain", "stored"])
@pytest.mark.parametrize("named", ["content-length", "Content-Length, keep-alive", "close, content-length"])
def test_connection_options_cannot_unframe_a_response(bench: Bench, named: str, host: str) -> None:
    bench.script = [f"HTTP/1.1 200 OK\r\n{NO_STORE}Connection: {named}\r\nContent-Length: 5\r\n\r\nhello".encode()]
    with bench.client() as client:
        reply = client.get("/named", host)
        assert (reply.status, reply.header("content-length"), reply.body) == (200, "5", b"hello")
        assert client.get("/good", host).body == b"good"


@pytest.mark.parametrize("host", ["plain", "stored"])
def test_informational_responses_carry_no_length(bench: Bench, host: str) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 0\r\nConnection: x\r\n\r\n"
    bench.script = [early + response("final", headers=[("Cache-Control", "no-store")])]
    with bench.client() as client:
        reply = client.get("/early", host)
        assert (reply.status, reply.fields) == (103, [("Link", "</a>")])
        assert client.reply().body == b"final"


def test_http_10_sees_a_cut_body_as_a_reset(bench: Bench) -> None:
    """An orderly end would be the end of a whole body to a client of HTTP/1.0 (RFC 9112 section 8)."""
    bench.script = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Close]
    with bench.client() as client:
        client.send(b"GET /cut HTTP/1.0\r\nHost: plain\r\n\r\n")
        received = []
        with pytest.raises(ConnectionResetError):
            received.extend(iter(lambda: client.sock.recv(65536), b""))


def test_an_upstream_that_speaks_first_is_not_believed(bench: Bench) -> None:
    """A second response that arrives once the connection lies idle closes it; the next request gets another."""
    sent = threading.Event()
    bench.script = [response("first"), SECOND, sent.set]
    with bench.client() as client:
        assert client.get("/idle", "plain").body == b"first"
        assert sent.wait(5)
        # What has arrived by now is read before anything that is sent after this answer.
        assert client.get("/", "no such host").status == 400
    with bench.client() as client:
        assert client.get("/good", "plain").body == b"good"
