"""CONNECT and Upgrade: octets in both directions, ends of either side, refusals, and the limit on a tunnel where nothing moves."""

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("tunnels")
BIG = 4_000_000


class Server:
    """A TCP server that hands each connection to `talk`."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._talk(sock)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def echo(sock: socket.socket) -> None:
    """Until the client has ended; then one last word."""
    while data := sock.recv(65_536):
        sock.sendall(data)
    sock.sendall(b"bye")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(echo) as server:
        yield server


@pytest.fixture(scope="module")
def agent(server: Server) -> Iterator[AgentProcess]:
    services = {
        "far": {"hosts": ["far.test"], "endpoints": [server.address]},
        "gone": {"hosts": ["gone.test"], "endpoints": ["127.0.0.1:1"], "retries": {"attempts": 0}},
    }
    with AgentProcess({"services": services, "timeouts": {"tunnel_idle": "1s"}}) as agent:
        yield agent


def connect(client: RawClient, authority: str, behind: bytes = b"") -> None:
    client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + behind)


def test_octets_pass_both_ways_and_the_ends_too(agent: AgentProcess) -> None:
    with RawClient(agent.egress) as client:
        connect(client, "far.test:443", b"sent with the head ")
        reply = client.reply("CONNECT")
        assert reply.status == 200
        assert reply.header("content-length") is None and reply.header("transfer-encoding") is None
        assert client.exactly(19) == b"sent with the head "
        client.send(b"\x00\xffGET / HTTP/1.1\r\n\r\n")  # nothing of it is read as HTTP
        assert client.exactly(20) == b"\x00\xffGET / HTTP/1.1\r\n\r\n"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b"bye"


def test_much_passes_both_ways_at_once(agent: AgentProcess) -> None:
    data = bytes(range(256)) * (BIG // 256)
    with RawClient(agent.egress) as client:
        connect(client, "far.test:443")
        assert client.reply("CONNECT").status == 200
        sender = threading.Thread(target=client.sock.sendall, args=(data,))
        sender.start()
        assert client.exactly(len(data)) == data
        sender.join(20)


def test_a_tunnel_where_nothing_moves_is_ended(agent: AgentProcess) -> None:
    with RawClient(agent.egress) as client:
        connect(client, "far.test:443")
        assert client.reply("CONNECT").status == 200
        assert client.rest() == b""
    wait_until(lambda: agent.get("/status")["in_flight"] == 0, "the tunnel is given up")


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_tunnel_is_over_when_both_sides_have_ended(first: str) -> None:
    """Long before the limit on one where nothing moves."""

    def until_told(sock: socket.socket) -> None:
        if first == "server":
            sock.sendall(b"bye")
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass

    with Server(until_told) as server:
        services = {"far": {"hosts": ["*"], "endpoints": [server.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            connect(client, "far.test:443")
            assert client.reply("CONNECT").status == 200
            if first == "server":
                assert client.rest() == b"bye"
            client.sock.shutdown(socket.SHUT_WR)
            assert client.rest() == b""
            wait_until(lambda: agent.get("/status")["in_flight"] == 0, "the tunnel is over")
            wait_until(lambda: agent.metric("pilotfish_connections", listener="egress") == 0, "its connection is closed")


@pytest.mark.parametrize("size", [11, 1_000_000])
def test_a_server_that_speaks_first_is_heard_from_its_first_octet(size: int) -> None:
    """As SSH and SMTP servers do, at once when they are connected to."""
    greeting = b"220 hello\r\n" * (size // 11)

    def greet(sock: socket.socket) -> None:
        sock.sendall(greeting)
        echo(sock)

    with Server(greet) as server:
        services = {"far": {"hosts": ["*"], "endpoints": [server.address]}}
        with AgentProcess({"services": services}) as agent:
            for _ in range(10):
                with RawClient(agent.egress) as client:
                    connect(client, "far.test:25")
                    assert client.reply("CONNECT").status == 200
                    assert client.exactly(len(greeting)) == greeting
                    client.send(b"QUIT")
                    assert client.exactly(4) == b"QUIT"


@pytest.mark.parametrize(("authority", "status", "flag"), [("nobody.test:443", 404, "NR"), ("gone.test:443", 503, "UF")])
def test_what_cannot_be_reached_is_refused_in_http(agent: AgentProcess, authority: str, status: int, flag: str) -> None:
    with RawClient(agent.egress) as client:
        connect(client, authority)
        reply = client.reply()
        assert (reply.status, reply.header("x-pilotfish-reason")) == (status, flag)


def test_unmatched_authorities_are_dialled_where_configuration_lets_them(server: Server) -> None:
    with AgentProcess({"services": {}, "egress": {"unmatched": "pass"}}) as agent:
        with RawClient(agent.egress) as client:
            connect(client, server.address, b"hello")
            assert client.reply("CONNECT").status == 200
            assert client.exactly(5) == b"hello"
        with RawClient(agent.egress) as client:
            connect(client, f"127.0.0.1:{agent.egress[1]}")
            assert client.reply("CONNECT").status == 508


def test_curl_through_a_tunnel() -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with Upstream(response("inside")) as upstream, AgentProcess({"services": {}, "egress": {"unmatched": "pass"}}) as agent:
        command = ["curl", "-sS", "--noproxy", "", "--proxytunnel", "-x", agent.url, f"http://{upstream.address}/a"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (done.stdout, done.returncode) == ("inside", 0), done.stderr
        assert upstream.requests[0].header("via") is None  # the agent saw nothing of it
        done_name, labels = "pilotfish_request_duration_seconds_count", {"service": "passthrough", "code": "2xx"}
        wait_until(lambda: agent.metric(done_name, **labels) == 1, "the tunnel to be over and counted")


UPGRADE = b"GET /chat HTTP/1.1\r\nHost: far.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: made-up/1\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: made-up/1\r\n\r\n"


def upgraded(sock: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(65_536)
    assert b"\r\nConnection: upgrade\r\nUpgrade: made-up/1\r\n" in head
    sock.sendall(SWITCHED + b"first ")
    echo(sock)


def test_an_upgrade_that_is_taken_becomes_a_tunnel() -> None:
    with Server(upgraded) as server:
        services = {"far": {"hosts": ["*"], "endpoints": [server.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            client.send(UPGRADE)
            head = client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nUpgrade: made-up/1\r\n" in head and b"\r\nConnection: upgrade\r\n" in head
            client.send(b"second")
            assert client.exactly(12) == b"first second"
            client.sock.shutdown(socket.SHUT_WR)
            assert client.rest() == b"bye"


def test_an_upgrade_that_is_not_taken_is_a_request_like_others() -> None:
    with Upstream(response("plain")) as upstream:
        services = {"far": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            for _ in range(2):
                client.send(UPGRADE)
                assert client.reply().body == b"plain"
            assert client.get("/", "far.test").body == b"plain"


def test_draining_ends_a_tunnel_at_its_limit(server: Server) -> None:
    config = {"services": {"far": {"hosts": ["*"], "endpoints": [server.address]}}, "drain": {"timeout": "500ms"}}
    with AgentProcess(config) as agent, RawClient(agent.egress) as client:
        connect(client, "far.test:443", b"x")
        assert client.reply("CONNECT").status == 200
        assert client.exactly(1) == b"x"
        assert agent.stop() == 0
