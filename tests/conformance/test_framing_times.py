"""The time limits of both sides: 408 for a client that stops, 504 for an upstream that does. The limits are short; nothing sleeps."""

import threading
from collections.abc import Iterator

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response

pytestmark = pytest.mark.xdist_group("framing_times")
HEAD = b"POST /a HTTP/1.1\r\nHost: test\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def agent(upstream: Upstream) -> Iterator[AgentProcess]:
    service = {
        "endpoints": [upstream.address],
        "retries": {"attempts": 0},
        "outlier": {"enabled": False},
        "breaker": {"enabled": False},
        "timeouts": {"first_byte": "200ms", "idle": "200ms"},
    }
    services = {
        "plain": {**service, "hosts": ["test"]},
        "stored": {**service, "hosts": ["stored"], "cache": {"enabled": True, "ttl_default": "1m"}},
        "whole": {**service, "hosts": ["whole"], "timeouts": {"request": "200ms"}},
    }
    times = {"head": "200ms", "body_idle": "200ms", "keep_alive": "200ms"}
    with AgentProcess({"services": services, "timeouts": times}) as process:
        yield process


def read_to_the_end(client: RawClient) -> tuple[int, str | None]:
    """Status and reason of the one answer, after which the agent closes."""
    reply = client.reply()
    assert reply.header("connection") == "close"
    assert client.rest() == b""
    return reply.status, reply.header("x-pilotfish-reason")


@pytest.mark.parametrize(
    "begun", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: test\r\nX: a", b"GET / HTTP/1.1\r\nHost: test\r\n\r"]
)
def test_a_head_that_does_not_end(agent: AgentProcess, begun: bytes) -> None:
    with RawClient(agent.egress) as client:
        client.send(begun)
        assert read_to_the_end(client) == (408, "DT")


def test_a_head_that_dribbles_gets_no_longer(agent: AgentProcess) -> None:
    """The limit is for the whole head: octets that keep coming do not move it."""
    with RawClient(agent.egress) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX: ")
        client.sock.settimeout(0.02)
        for _ in range(500):
            try:
                client.send(b"a")
                if not client.more():
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("10 s of dribbling were accepted")
        assert client.buffer.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_ends_without_a_message(agent: AgentProcess, upstream: Upstream) -> None:
    upstream.handler = lambda _: response("hello")
    with RawClient(agent.egress) as client:
        assert client.rest() == b""
    with RawClient(agent.egress) as client:
        assert client.get("/a").body == b"hello"
        assert client.rest() == b""


@pytest.mark.parametrize(
    "begun",
    [
        HEAD + b"Content-Length: 5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\nhel",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
def test_a_body_that_does_not_end(agent: AgentProcess, upstream: Upstream, begun: bytes) -> None:
    """Nothing that an upstream could take for the whole request has gone on."""
    upstream.requests.clear()
    with RawClient(agent.egress) as client:
        client.send(begun)
        assert read_to_the_end(client) == (408, "DT")
    assert not any(each.body.endswith(b"0\r\n\r\n") or each.body == b"hello" for each in upstream.requests)


@pytest.mark.parametrize("host", ["test", "stored", "whole"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_an_upstream_that_does_not_answer(agent: AgentProcess, upstream: Upstream, host: str, said: bytes) -> None:
    """504, and the client's connection goes on."""
    over = threading.Event()
    upstream.handler = lambda received: response("next") if received.target == "/next" else [said, lambda: over.wait(20)]
    with RawClient(agent.egress) as client:
        reply = client.get(f"/slow{len(said)}", host)
        if reply.status == 103:
            reply = client.reply()
        assert (reply.status, reply.header("x-pilotfish-reason")) == (504, "UT")
        assert client.get("/next", host).body == b"next"
    over.set()


@pytest.mark.parametrize("host", ["test", "stored"])
@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked", "X: until the connection ends"])
def test_an_upstream_that_stops_in_a_body(agent: AgentProcess, upstream: Upstream, host: str, framing: str) -> None:
    """The client sees that the body is not whole, and it is not stored as if it were."""
    over = threading.Event()
    body = b"5\r\nhello\r\n" if "chunked" in framing else b"hello"
    upstream.handler = lambda _: [f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + body, lambda: over.wait(20)]
    target = f"/stops{len(framing)}"
    with RawClient(agent.egress) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        client.until(b"\r\n\r\n")
        assert client.rest() in (b"5\r\nhello\r\n", b"hello")
    over.set()
    upstream.handler = lambda _: response("whole")
    with RawClient(agent.egress) as client:
        assert client.get(target, host).body == b"whole"
