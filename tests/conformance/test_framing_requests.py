"""Requests that could be read in two ways are refused, the connection is closed, and no upstream sees anything of them."""

import contextlib
import re
from collections.abc import Iterator

import pytest

from tests.conformance.framing_vectors import BODY_BYTES_MAX, SMUGGLED, VECTORS, Vector, request
from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response

STATUS_LINE = re.compile(rb"HTTP/1\.1 \d{3} ")
pytestmark = pytest.mark.xdist_group("framing_requests")


def whole(received: Received) -> bool:
    """Whether an upstream that reads strictly would take it for a request that has ended."""
    if received.header("transfer-encoding"):
        return received.body.endswith(b"0\r\n\r\n")
    return len(received.body) == int(received.header("content-length") or 0)


class Bench:
    """An agent before one upstream, over at most one connection at a time, so that what reaches the upstream has an order."""

    def __init__(self, agent: AgentProcess, upstream: Upstream) -> None:
        self.agent = agent
        self.upstream = upstream
        self.marks = 0

    def seen_since(self, count: int) -> list[bytes]:
        """Lines of the whole requests that the upstream got after its first `count`, once all that is on its way has arrived: a
        marked request goes the same way behind it."""
        self.marks += 1
        mark = f"/mark{self.marks}"
        with RawClient(self.agent.egress, 5.0) as client:
            assert client.get(mark).status == 200
        lines = [received.lines[0] for received in self.upstream.requests[count:] if whole(received)]
        assert lines.pop() == b"GET " + mark.encode() + b" HTTP/1.1"
        return lines


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Upstream(lambda received: response(received.lines[0])) as upstream:
        service = {
            "hosts": ["*"],
            "endpoints": [upstream.address],
            "limits": {"connections_max": 1},
            "outlier": {"enabled": False},
            "breaker": {"enabled": False},
        }
        config = {"services": {"web": service}, "http": {"body_bytes_max": BODY_BYTES_MAX}}
        with AgentProcess(config) as agent:
            yield Bench(agent, upstream)


def send_and_read_all(bench: Bench, pieces: list[bytes]) -> bytes:
    """What comes back until the agent closes. It may close while we still send."""
    with RawClient(bench.agent.egress, 5.0) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                client.send(piece)
        return client.rest()


def check_refused(bench: Bench, vector: Vector, pieces: list[bytes]) -> None:
    before = len(bench.upstream.requests)
    answer = send_and_read_all(bench, pieces)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % vector.status), (vector.name, answer[:300])
    assert b"\r\nConnection: close" in head
    assert b"application/problem+json" in head
    assert len(STATUS_LINE.findall(answer)) == 1, "one refusal, and no answer to what was hidden behind it"
    assert body.startswith(b"{") and body.endswith(b"}\n")
    assert bench.seen_since(before) == []


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector.group}: {vector.name}")
def test_refused_whole(bench: Bench, vector: Vector) -> None:
    """The whole message in one write: the upstream is not even connected to on its account."""
    before = len(bench.upstream.requests)
    check_refused(bench, vector, [vector.raw])
    targets = [received.target for received in bench.upstream.requests[before:]]
    assert [target for target in targets if target != "/large"] == [f"/mark{bench.marks}"], "not even a beginning of it"


@pytest.mark.parametrize("vector", [v for v in VECTORS if len(v.raw) < 1000], ids=lambda vector: f"{vector.group}: {vector.name}")
def test_refused_octet_by_octet(bench: Bench, vector: Vector) -> None:
    """However it dribbles in, the answer is the same, and the upstream never has a whole request."""
    check_refused(bench, vector, [vector.raw[at : at + 1] for at in range(len(vector.raw))])


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.group != "sizes"][::5], ids=lambda vector: f"{vector.group}: {vector.name}")
def test_refused_behind_a_good_request(bench: Bench, vector: Vector) -> None:
    """Pipelined behind a request that is right: that one is answered, then the refusal, then the end."""
    good = b"GET /good HTTP/1.1\r\nHost: test\r\n\r\n"
    before = len(bench.upstream.requests)
    with RawClient(bench.agent.egress, 5.0) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(good + vector.raw)
        assert client.reply().body == b"GET /good HTTP/1.1"
        answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % vector.status), answer[:300]
    assert len(STATUS_LINE.findall(answer)) == 1
    assert bench.seen_since(before) == [b"GET /good HTTP/1.1"]


@pytest.mark.parametrize("named", [b"content-length", b"Content-Length, host", b"close, content-length", b"transfer-encoding, x"])
def test_connection_options_cannot_unframe_a_request(bench: Bench, named: bytes) -> None:
    """A Connection field that names Content-Length would, taken at its word, leave a body that the upstream reads as a request."""
    before = len(bench.upstream.requests)
    with RawClient(bench.agent.egress, 5.0) as client:
        client.send(request(b"Connection: " + named, b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED))
        assert client.reply("POST").status == 200
    assert bench.seen_since(before) == [b"POST /a HTTP/1.1"]
    received = bench.upstream.requests[before]
    assert received.body == SMUGGLED
    assert received.header("host") == "test"
    assert received.header("content-length") == str(len(SMUGGLED))


@pytest.mark.parametrize("named", [b"transfer-encoding", b"Transfer-Encoding, close", b"host"])
def test_connection_options_cannot_unframe_chunks(bench: Bench, named: bytes) -> None:
    before = len(bench.upstream.requests)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    with RawClient(bench.agent.egress, 5.0) as client:
        client.send(request(b"Connection: " + named, b"Transfer-Encoding: chunked", body=chunks))
        assert client.reply("POST").status == 200
    assert bench.seen_since(before) == [b"POST /a HTTP/1.1"]
    assert bench.upstream.requests[before].header("transfer-encoding") == "chunked"
    assert bench.upstream.requests[before].body == chunks


def test_the_upstream_gets_one_framing_of_ours(bench: Bench) -> None:
    """Leading zeros, odd case, chunk extensions and chunk sizes as the client cut them do not go on."""
    before = len(bench.upstream.requests)
    with RawClient(bench.agent.egress, 5.0) as client:
        client.send(request(b"content-LENGTH:   0005", body=b"hello"))
        assert client.reply("POST").status == 200
        client.send(request(b"transfer-ENCODING: ChUnKeD", body=b"0005;a=b\r\nhello\r\n000;x\r\nX-Trailer: a\r\n\r\n"))
        assert client.reply("POST").status == 200
    assert bench.seen_since(before) == [b"POST /a HTTP/1.1"] * 2
    first, second = bench.upstream.requests[before : before + 2]
    assert (first.header("content-length"), first.body) == ("5", b"hello")
    assert second.header("content-length") is None
    assert (second.header("transfer-encoding"), second.body) == ("chunked", b"5\r\nhello\r\n0\r\n\r\n")
