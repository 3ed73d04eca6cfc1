"""UDP and TCP at one address and port, with mTLS for the streams where it is configured."""

import asyncio
import errno
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from agent.core.swim.messages import Place
from agent.runtime.transport import Receiver

if TYPE_CHECKING:
    from agent.runtime.transport.tls import MutualTls

RECEIVE_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""Asked of the kernel, which may give less (net.core.rmem_max): what waits while this process does not run must not be lost."""
STREAM_BUFFER_BYTES: Final = 65_536
BACKLOG: Final = 128
TAKEN_TRIES: Final = 16
"""With port 0: the kernel finds a port that is free for TCP; another is tried where that one is not free for UDP."""
HANDSHAKE_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 5.0
"""For what is written to a peer that does not read."""
ACCEPT_PAUSE_S: Final = 0.5
"""Before the next accept where this one failed for want of file descriptors or memory."""


class SocketStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(STREAM_BUFFER_BYTES)

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the stream is closed")
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        if not self._writer.is_closing():
            self._writer.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._writer.transport.abort)


class SocketConnection:
    """An accepted socket."""

    def __init__(self, accepted: socket.socket, source: Place, tls: "MutualTls | None") -> None:
        self.source = source
        self._socket = accepted
        self._tls = tls

    async def open(self) -> SocketStream:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(STREAM_BUFFER_BYTES, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        secured: dict[str, Any] = {}
        if self._tls is not None:
            secured = {"ssl": self._tls.server_context(), "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S}
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._socket, **secured)
        except BaseException:
            self._socket.close()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        if self._tls is not None:
            check_peer(self._tls, writer)
        return SocketStream(reader, writer)

    def refuse(self) -> None:
        self._socket.close()


def check_peer(tls: "MutualTls", writer: asyncio.StreamWriter) -> None:
    """Close and raise where the certificate, which verified, names somebody whom we do not talk to."""
    try:
        tls.check(writer.get_extra_info("peercert"))
    except ssl.SSLError:
        writer.transport.abort()
        raise


class PacketProtocol(asyncio.DatagramProtocol):
    def __init__(self, owner: "SocketTransport", receiver: Receiver) -> None:
        self._owner = owner
        self._receiver = receiver
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receiver.on_packet((addr[0], addr[1]), data)

    def error_received(self, exc: Exception) -> None:
        """The kernel's late word on an earlier datagram: nobody was there."""
        self._owner.send_errors += 1


class SocketTransport:
    """Listens at `place`; port 0 takes a free one. `tls` secures streams both ways; packets have the key ring."""

    def __init__(self, place: Place, tls: "MutualTls | None" = None) -> None:
        self._place = place
        self._tls = tls
        self._packets: asyncio.DatagramTransport | None = None
        self._protocol: PacketProtocol | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self.send_errors = 0
        self.accept_errors = 0

    @property
    def place(self) -> Place:
        return self._place

    async def start(self, receiver: Receiver) -> None:
        listener, packets = bind_both(self._place)
        self._place = listener.getsockname()[:2]
        loop = asyncio.get_running_loop()
        self._listener = listener
        self._packets, self._protocol = await loop.create_datagram_endpoint(lambda: PacketProtocol(self, receiver), sock=packets)
        self._accepting = loop.create_task(self._accept(listener, receiver))

    async def _accept(self, listener: socket.socket, receiver: Receiver) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError:
                self.accept_errors += 1
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            accepted.setblocking(False)
            receiver.on_connection(SocketConnection(accepted, (address[0], address[1]), self._tls))

    def send(self, to: Place, data: bytes) -> None:
        if self._packets is None or self._packets.is_closing():
            self.send_errors += 1
            return
        try:
            self._packets.sendto(data, to)
        except (OSError, ValueError):
            self.send_errors += 1

    async def connect(self, to: Place) -> SocketStream:
        secured: dict[str, Any] = {}
        if self._tls is not None:
            secured = {"ssl": self._tls.client_context(), "server_hostname": "", "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S}
        reader, writer = await asyncio.open_connection(to[0], to[1], limit=STREAM_BUFFER_BYTES, **secured)
        if self._tls is not None:
            check_peer(self._tls, writer)
        return SocketStream(reader, writer)

    async def close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        if self._packets is not None and self._protocol is not None:
            self._packets.close()
            await self._protocol.lost.wait()
            await asyncio.sleep(0)  # uvloop closes the socket behind that call


def bind_both(place: Place) -> tuple[socket.socket, socket.socket]:
    """A listening TCP socket and a UDP socket at the same port."""
    host, port = place
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempt in range(TAKEN_TRIES):
        listener = socket.socket(family, socket.SOCK_STREAM)
        packets = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for each in (listener, packets):
                each.setblocking(False)
                if family == socket.AF_INET6:
                    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            packets.bind((host, listener.getsockname()[1]))
            packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            packets.close()
            if port or error.errno != errno.EADDRINUSE or attempt == TAKEN_TRIES - 1:
                raise
        else:
            return listener, packets
    raise AssertionError
