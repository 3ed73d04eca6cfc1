"""Handing a port over: the kernel's own sockets, and connections counted where they arrive."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from agent.proxy.listener import Listener
from agent.runtime.reuseport import accept_all, spread_evenly, steer_away


def listening(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen(256)
    sock.setblocking(False)
    return sock


def taken(sock: socket.socket) -> int:
    """How many connections wait on it; they are taken and closed."""
    found: list[socket.socket] = []
    accept_all(sock, found.append)
    for connection in found:
        connection.close()
    return len(found)


def connect(place: Any, times: int = 40) -> None:
    for _ in range(times):
        socket.create_connection(place[:2], 5.0).close()


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    with contextlib.ExitStack() as stack:
        older = stack.enter_context(listening(0, request.param))
        yield older, stack.enter_context(listening(older.getsockname()[1], request.param))


@pytest.mark.parametrize("leaves", ["older", "younger"])
def test_the_one_that_leaves_gets_nothing_new(pair: tuple[socket.socket, socket.socket], leaves: str) -> None:
    leaving, staying = pair if leaves == "older" else pair[::-1]
    place = leaving.getsockname()
    connect(place)
    meanwhile: list[socket.socket] = []
    waiting = taken(staying)
    assert steer_away(leaving, meanwhile.append)
    accept_all(leaving, meanwhile.append)
    assert waiting + len(meanwhile) == 40  # none of those from before is lost, and the probe is none of them
    taken(staying)
    connect(place)
    assert (taken(leaving), taken(staying)) == (0, 40)
    leaving.close()
    connect(place)
    assert taken(staying) == 40
    with listening(place[1], place[0]) as third:
        spread_evenly(third)
        connect(place, 200)
        assert (left := taken(staying)) > 0 and (right := taken(third)) > 0
        assert left + right == 200


def test_one_that_is_alone_goes_on_getting_all() -> None:
    with listening() as alone:
        kept: list[socket.socket] = []
        assert not steer_away(alone, kept.append)
        taken(alone)
        connect(alone.getsockname())
        assert taken(alone) == 40


def test_a_socket_without_the_option_is_left_as_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.setblocking(False)
        assert not steer_away(plain, lambda connection: connection.close())
        spread_evenly(plain)
        taken(plain)
        connect(plain.getsockname(), 3)
        assert taken(plain) == 3


@pytest.mark.parametrize("reuse_port", [True, False])
def test_a_listener_serves_what_the_kernel_had_accepted_when_it_was_closed(reuse_port: bool) -> None:
    served: list[str] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            served.append("one")
            transport.close()

    async def scenario() -> None:
        listener = Listener(SimpleNamespace(), "127.0.0.1", 0, reuse_port, 100)  # type: ignore[arg-type]
        listener._protocol = Protocol  # type: ignore[assignment,method-assign]
        await listener.open(asyncio.get_running_loop())
        # The loop does not turn meanwhile: all of them still wait in the kernel.
        clients = [socket.create_connection(("127.0.0.1", listener.port), 5.0) for _ in range(20)]
        await listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.port), 5.0)
        for client in clients:
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""  # an orderly end, no reset
            client.close()

    uvloop.run(scenario())
    assert len(served) == 20
