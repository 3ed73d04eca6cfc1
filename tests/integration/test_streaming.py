"""Bodies that are larger than any buffer, through slow readers and to slow upstreams: memory stays where it was."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.wait import wait_until

PIECE = b"x" * 65_536
GIB = 1 << 30
HELD_MAX = 16 << 20
"""What the agent may take for one transfer: its buffers (`http.buffer_bytes_max` each way, uvloop's own), and noise."""


class Giver:
    """An upstream that answers every request with a body of `size` octets, as fast as it is taken; or reads one, when told to."""

    def __init__(self, size: int, framing: str) -> None:
        self.size = size
        self.framing = framing
        self.given = 0
        self.taken = 0
        self.may_read = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            try:
                self._serve(sock)
            except OSError:
                pass
            finally:
                sock.close()

    def _serve(self, sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65_536)
        if head.startswith(b"POST"):
            self.taken += len(head.partition(b"\r\n\r\n")[2])
            self.may_read.wait(60)
            while self.taken < self.size:
                self.taken += len(sock.recv(1 << 20))
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        if self.framing == "length":
            sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % self.size)
        elif self.framing == "chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n")
        while self.given < self.size:
            sock.sendall(b"10000\r\n" + PIECE + b"\r\n" if self.framing == "chunked" else PIECE)
            self.given += len(PIECE)
        if self.framing == "chunked":
            sock.sendall(b"0\r\n\r\n")

    def close(self) -> None:
        self.may_read.set()
        self.server.close()


def memory_bytes(pid: int) -> int:
    """PSS: pages that the process shares with others count in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def standstill(progress: Callable[[], int]) -> Callable[[], bool]:
    """A condition: `progress` has begun and has not moved while it was looked at a hundred times."""
    seen = [0, 0]

    def still() -> bool:
        now = progress()
        seen[:] = [now, seen[1] + 1 if now == seen[0] and now > 0 else 0]
        return seen[1] >= 100

    return still


def services(giver: Giver) -> dict[str, object]:
    return {"services": {"web": {"hosts": ["*"], "endpoints": [giver.address], "cache": {"enabled": True}}}}


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_gibibyte_through_a_slow_reader_costs_its_buffer(framing: str) -> None:
    size = GIB if framing == "length" else GIB // 4
    giver = Giver(size, framing)
    try:
        with AgentProcess(services(giver)) as agent:
            before = memory_bytes(agent.pid)
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            sock.connect(agent.egress)
            sock.sendall(b"GET /big HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")
            got = len(sock.recv(1000))
            # The reader stops. The upstream comes to a halt too, far from the end: the agent takes no more than it may hold.
            wait_until(standstill(lambda: giver.given), "the upstream is held back")
            assert giver.given < 64 << 20
            most = memory_bytes(agent.pid)
            look_at = 0
            while True:
                piece = sock.recv(1 << 20)
                if not piece:
                    break
                got += len(piece)
                if got >= look_at:
                    look_at += 64 << 20
                    most = max(most, memory_bytes(agent.pid))
            assert got > size
            assert giver.given == size
            assert max(most, memory_bytes(agent.pid)) - before < HELD_MAX
    finally:
        giver.close()


@pytest.mark.slow
def test_an_upload_to_a_slow_upstream_costs_its_buffer() -> None:
    size = 256 << 20
    giver = Giver(size, "length")
    try:
        with AgentProcess(services(giver)) as agent, RawClient(agent.egress) as client:
            before = memory_bytes(agent.pid)
            client.send(b"POST /up HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % size)
            sent = [0]

            def feed() -> None:
                while sent[0] < size:
                    client.sock.sendall(PIECE)
                    sent[0] += len(PIECE)

            thread = threading.Thread(target=feed, daemon=True)
            thread.start()
            wait_until(standstill(lambda: sent[0]), "the client is held back")
            assert sent[0] < 64 << 20
            assert memory_bytes(agent.pid) - before < HELD_MAX
            giver.may_read.set()
            thread.join(60)
            assert client.reply("POST").status == 200
            assert giver.taken == size
            assert memory_bytes(agent.pid) - before < HELD_MAX
    finally:
        giver.close()


def test_a_client_that_leaves_ends_its_own_transfer() -> None:
    giver = Giver(GIB, "length")
    try:
        with AgentProcess(services(giver)) as agent:
            with RawClient(agent.egress) as client:
                client.send(b"GET /left HTTP/1.1\r\nHost: web.test\r\nCache-Control: no-store\r\n\r\n")
                client.until(b"\r\n\r\n")
            wait_until(lambda: agent.metric("pilotfish_requests_in_flight", service="web") == 0, "the transfer is over")
            assert giver.given < GIB
    finally:
        giver.close()
