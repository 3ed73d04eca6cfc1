"""One connection with a peer."""

import asyncio
import contextlib
import socket
import ssl
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from agent.runtime.log import Logger
from agent.runtime.peers.counters import PeerCounters
from agent.runtime.peers.handshake import Handshake
from agent.runtime.peers.wire import Frame, PeerError, RecordReader, decode_frames, encode_frames, record

if TYPE_CHECKING:
    from agent.runtime.transport.tls import MutualTls

HANDSHAKE_S: Final = 5.0
QUEUE_BYTES_MAX: Final = 16 * 1024 * 1024
"""For a peer that takes nothing; over it, all that waits is thrown away: what is this old is of no use to a protocol."""
QUEUE_FRAMES_MAX: Final = 16_384
WRITE_HIGH_BYTES: Final = 1024 * 1024
"""In the loop's own buffer; over it, frames wait in the queue."""
SILENCE_MS: Final = 10_000
"""What was sent and is not acknowledged so long ends the connection (TCP_USER_TIMEOUT): a machine that is gone says no goodbye."""


class Owner(Protocol):
    """What a connection needs of the transport it is one of."""

    cluster: str
    name: str
    tls: "MutualTls | None"
    counters: PeerCounters
    log: Logger
    keys: Callable[[], tuple[bytes, ...]]

    def on_open(self, link: "Link") -> None: ...
    def on_frames(self, link: "Link", frames: list[Frame]) -> None: ...
    def on_closed(self, link: "Link") -> None: ...
    def on_overflow(self, link: "Link") -> None: ...


class Link(asyncio.Protocol):
    """`expected`: the name of the peer that was dialled; empty on a connection that came."""

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, expected: str = "") -> None:
        self._owner = owner
        self._loop = loop
        self.expected = expected
        self.name = ""
        """The peer's, once it is proved."""
        self.identity = ""
        """Its SPIFFE ID, with mTLS."""
        self.open = False
        self.why = ""
        """Why it was closed, where that was our doing."""
        self.ended = loop.create_future()
        self.proved: asyncio.Future[None] = loop.create_future()
        self._handshake: Handshake | None = None
        self._reader = RecordReader()
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._pending: list[Frame] = []
        self._pending_bytes = 0
        self.key = b""
        self._seal: Callable[[bytes], bytes] | None = None
        self._unseal: Callable[[bytes], bytes] | None = None

    # -- what the loop calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self.ended.done():
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        _tune(transport.get_extra_info("socket"))
        self._timer = self._loop.call_later(HANDSHAKE_S, self._too_late)
        owner = self._owner
        try:
            if owner.tls is not None:
                self.identity = owner.tls.check(transport.get_extra_info("peercert"))
            keys = owner.keys() if owner.tls is None else ()
            self._handshake = Handshake(owner.cluster, owner.name, keys, initiator=bool(self.expected))
            for body in self._handshake.start():
                self._write(record(body))
        except ssl.SSLError as error:
            self._refuse("tls", str(error))

    def data_received(self, data: bytes) -> None:
        self._owner.counters.bytes_in += len(data)
        try:
            body = self._reader.one(data)
            while body is not None:
                self._owner.counters.records_in += 1
                if self.open:
                    self._take(body)
                else:
                    self._prove(body)
                body = self._reader.one(b"")
        except PeerError as error:
            self._refuse(error.reason, str(error))
        except Exception:
            self._owner.log.error("peer_fault", peer=self.name or self.expected, text=traceback.format_exc(limit=-4))
            self._refuse("fault", "our own fault on what the peer sent")

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        was_open, self.open = self.open, False
        self._pending.clear()
        if not self.proved.done():
            self.proved.set_exception(ConnectionError(self.why or str(exc or "closed before it was proved")))
            self.proved.exception()  # whoever dials asks; nobody need
        if not self.ended.done():
            self.ended.set_result(None)
        if was_open:
            self._owner.on_closed(self)

    # -- the handshake

    def _prove(self, body: bytes) -> None:
        handshake = self._handshake
        assert handshake is not None
        for answer in handshake.take(body):
            self._write(record(answer))
        self._reader.limit = handshake.limit
        if not handshake.done:
            return
        assert handshake.peer is not None
        if self.expected and handshake.peer.name != self.expected:
            raise PeerError("name", f"the peer is {handshake.peer.name!r}, expected {self.expected!r}")
        self.name = handshake.peer.name
        self.key = handshake.key
        if handshake.sender is not None and handshake.receiver is not None:
            self._seal, self._unseal = handshake.sender.seal, handshake.receiver.open
        self._handshake = None
        if self._timer is not None:
            self._timer.cancel()
        self.open = True
        self._owner.counters.opened += 1
        if not self.proved.done():
            self.proved.set_result(None)
        self._owner.on_open(self)

    def _too_late(self) -> None:
        self._refuse("handshake_timeout", f"the peer has not proved itself within {HANDSHAKE_S:g} s")

    def _refuse(self, reason: str, text: str) -> None:
        if self._transport is None or self.why:
            return
        self.why = text
        self._owner.counters.drop(reason)
        source = self._transport.get_extra_info("peername") or ("", 0)
        self._owner.log.warning("peer_refused", peer=self.name or self.expected, source=str(source[0]), reason=reason, text=text)
        self._transport.abort()

    # -- frames

    def _take(self, body: bytes) -> None:
        if self._unseal is not None:
            body = self._unseal(body)
        frames = decode_frames(body)
        self._owner.counters.frames_in += len(frames)
        self._owner.on_frames(self, frames)

    def queue(self, frame: Frame) -> None:
        """To be sent with the next `flush`."""
        self._pending.append(frame)
        self._pending_bytes += len(frame.payload)
        if self._pending_bytes > QUEUE_BYTES_MAX or len(self._pending) > QUEUE_FRAMES_MAX:
            self._owner.counters.queue_drops += len(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            self._owner.on_overflow(self)

    @property
    def waiting_bytes(self) -> int:
        """What has not gone yet."""
        return self._pending_bytes + (self._transport.get_write_buffer_size() if self.open else 0)

    def flush(self) -> None:
        """All that is queued, in one write."""
        frames = self._pending
        if not frames or self._paused or not self.open:
            return
        self._pending = []
        self._pending_bytes = 0
        self._owner.counters.frames_out += len(frames)
        bodies = encode_frames(frames)
        seal = self._seal
        if seal is not None:
            bodies = [seal(body) for body in bodies]
        self._write(record(bodies[0]) if len(bodies) == 1 else b"".join(map(record, bodies)))

    def _write(self, data: bytes) -> None:
        self._owner.counters.writes += 1
        self._owner.counters.bytes_out += len(data)
        self._transport.write(data)

    def close(self, why: str) -> None:
        """What is queued goes yet."""
        self.flush()
        self.why = self.why or why
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        self.why = self.why or why
        if self._transport is not None:
            self._transport.abort()
        elif not self.ended.done():
            # Nothing will ever say that a connection is lost which was not made (TLS was refused, or not yet through).
            self.ended.set_result(None)


def _tune(sock: Any) -> None:
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", SILENCE_MS)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
