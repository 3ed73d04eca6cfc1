"""The twin of the sockets: a network in this process. It loses nothing but what goes to places where nobody listens."""

import asyncio
from collections import deque

from agent.core.swim.messages import Place
from agent.runtime.transport import Receiver

WINDOW_BYTES = 65_536


class MemoryNetwork:
    """Transports that share one reach each other. `cut` holds pairs of places between which nothing passes."""

    def __init__(self) -> None:
        self.transports: dict[Place, MemoryTransport] = {}
        self.cut: set[frozenset[Place]] = set()
        self._last_port = 49_151

    def free_place(self, host: str) -> Place:
        self._last_port += 1
        return host, self._last_port

    def reach(self, source: Place, to: Place) -> "MemoryTransport | None":
        return None if frozenset((source, to)) in self.cut else self.transports.get(to)


class Pipe:
    """One direction of a stream, with a window as a socket has it."""

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        self.abandoned = False
        self.changed = asyncio.Event()

    async def wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()


class MemoryStream:
    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    async def read(self) -> bytes:
        pipe = self._incoming
        while not pipe.pieces:
            if pipe.ended:
                return b""
            await pipe.wait()
        piece = pipe.pieces.popleft()
        pipe.size -= len(piece)
        pipe.changed.set()
        return piece

    async def write(self, data: bytes) -> None:
        pipe = self._outgoing
        for at in range(0, len(data), WINDOW_BYTES):
            while pipe.size >= WINDOW_BYTES and not pipe.abandoned:
                await pipe.wait()
            if pipe.abandoned or self._closed:
                raise ConnectionResetError("the peer closed the stream")
            piece = bytes(data[at : at + WINDOW_BYTES])
            pipe.pieces.append(piece)
            pipe.size += len(piece)
            pipe.changed.set()

    def close(self) -> None:
        self._closed = True
        self._outgoing.ended = True
        self._outgoing.changed.set()
        self._incoming.abandoned = True
        self._incoming.changed.set()


class MemoryConnection:
    def __init__(self, source: Place, stream: MemoryStream) -> None:
        self.source = source
        self._stream = stream

    async def open(self) -> MemoryStream:
        return self._stream

    def refuse(self) -> None:
        self._stream.close()


class MemoryTransport:
    """As `SocketTransport`, on a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, place: Place) -> None:
        self._network = network
        self._place = place if place[1] else network.free_place(place[0])
        self._receiver: Receiver | None = None
        self.send_errors = 0

    @property
    def place(self) -> Place:
        return self._place

    async def start(self, receiver: Receiver) -> None:
        if self._place in self._network.transports:
            raise OSError(f"the place {self._place} is taken")
        self._receiver = receiver
        self._network.transports[self._place] = self

    def send(self, to: Place, data: bytes) -> None:
        if len(data) > 65_507 or self._receiver is None:
            self.send_errors += 1
            return
        asyncio.get_running_loop().call_soon(self._deliver, to, bytes(data))

    def _deliver(self, to: Place, data: bytes) -> None:
        peer = self._network.reach(self._place, to)
        if peer is not None and peer._receiver is not None:
            peer._receiver.on_packet(self._place, data)

    async def connect(self, to: Place) -> MemoryStream:
        await asyncio.sleep(0)
        peer = self._network.reach(self._place, to)
        if peer is None or peer._receiver is None:
            raise ConnectionRefusedError(f"nobody listens at {to}")
        there, back = Pipe(), Pipe()
        source = self._network.free_place(self._place[0])
        peer._receiver.on_connection(MemoryConnection(source, MemoryStream(there, back)))
        return MemoryStream(back, there)

    async def close(self) -> None:
        self._receiver = None
        if self._network.transports.get(self._place) is self:
            del self._network.transports[self._place]
