"""Both kinds of transport, alike, and loops to run them on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from agent.core.swim.messages import Place
from agent.runtime.transport import Connection, Stream, Transport
from agent.runtime.transport.memory import MemoryNetwork, MemoryTransport
from agent.runtime.transport.sockets import SocketTransport

BOUND_S = 40.0


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine on the agent's loop; it may not take for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition. The bound is `run`'s; the name of what did not come is said."""
    try:
        while not condition():  # noqa: ASYNC110 (any condition)
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        raise AssertionError(f"waited for {what}") from None


class World:
    """Makes transports of one kind that reach each other."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.network = MemoryNetwork()

    def transport(self, place: Place = ("127.0.0.1", 0)) -> Transport:
        return MemoryTransport(self.network, place) if self.kind == "memory" else SocketTransport(place)


KINDS = ["sockets", "memory"]


class Heard:
    """A receiver that keeps what comes. `serve` handles streams."""

    def __init__(self, serve: Callable[[Stream], Coroutine[Any, Any, None]] | None = None) -> None:
        self.packets: list[tuple[Place, bytes]] = []
        self.sources: list[Place] = []
        self.serve = serve
        self.tasks: list[asyncio.Task[None]] = []

    def on_packet(self, source: Place, data: bytes) -> None:
        self.packets.append((source, data))

    def on_connection(self, connection: Connection) -> None:
        self.sources.append(connection.source)
        if self.serve is None:
            connection.refuse()
            return
        self.tasks.append(asyncio.get_running_loop().create_task(self._serve(connection)))

    async def _serve(self, connection: Connection) -> None:
        assert self.serve is not None
        stream = await connection.open()
        try:
            await self.serve(stream)
        finally:
            stream.close()


async def read_all(stream: Stream) -> bytes:
    pieces = []
    while data := await stream.read():
        pieces.append(data)
    return b"".join(pieces)
