"""A connection to an upstream: one response at a time, strict framing, nothing left over for the next request."""

from typing import Any, Final

from agent.core.http.body import ChunkedDecoder
from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field
from agent.core.http.head import CHUNKED, LENGTH, NO_BODY, ResponseHead, response_head
from agent.core.routing import endpoint as outcome
from agent.proxy.sink import COPY_MAX
from agent.runtime.wheel import Timed

INFORMATIONAL_MAX: Final = 16
"""1xx responses to one request; a flood of them is a fault (502)."""

HELD_BYTES_MAX: Final = 65_536
"""What an upstream may say before the tunnel to it is open."""

IDLE: Final = 0
AWAIT_HEAD: Final = 1
IN_BODY: Final = 2
TUNNEL: Final = 3
CLOSED: Final = 4

_NO_TRAILERS: Final[list[Field]] = []


class Try:
    """One attempt at a request; what an `UpstreamConnection` tells about it."""

    def wants_tunnel(self) -> bool:
        """Whether the upstream may speak first."""
        return False

    def on_connected(self, connection: "UpstreamConnection") -> None:
        """A connection is there: send."""
        raise NotImplementedError

    def on_unreachable(self, code: int, detail: str) -> None:
        """No connection could be had. `code` is an outcome of `agent.core.routing.endpoint`."""
        raise NotImplementedError

    def on_informational(self, head: ResponseHead) -> None:
        raise NotImplementedError

    def on_head(self, head: ResponseHead) -> None:
        raise NotImplementedError

    def on_body(self, piece: bytes) -> None:
        raise NotImplementedError

    def on_flush(self) -> None:
        raise NotImplementedError

    def on_end(self, trailers: list[Field]) -> None:
        raise NotImplementedError

    def on_broken(self, code: int, detail: str) -> None:
        """The connection or the message broke before the response was complete."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """The transport takes more after it had asked to pause."""
        raise NotImplementedError

    def on_tunnel_data(self, data: bytes) -> None:
        raise NotImplementedError

    def on_tunnel_eof(self) -> None:
        raise NotImplementedError


class ConnectionHome:
    """Where a connection belongs (its pool)."""

    def on_free(self, connection: "UpstreamConnection") -> None:
        """The exchange is over and the connection can serve another."""
        raise NotImplementedError

    def on_gone(self, connection: "UpstreamConnection") -> None:
        """The connection is closed."""
        raise NotImplementedError


class UpstreamConnection(Timed):
    """asyncio protocol (by duck typing, so that it compiles natively) of one connection to an endpoint."""

    def __init__(self, home: ConnectionHome, head_bytes_max: int, header_count_max: int) -> None:
        super().__init__()
        self.home = home
        self.head_bytes_max = head_bytes_max
        self.header_count_max = header_count_max
        self.transport: Any = None
        self.state = IDLE
        self.user: Try | None = None
        self.method = b"GET"
        self.buffer = b""
        self.head: ResponseHead | None = None
        self.left = 0
        self.chunked: ChunkedDecoder | None = None
        self.informational = 0
        self.requests = 0
        self.idle_since = 0.0
        self.reading_paused = False
        self.held = False
        """Made for a tunnel that is not open yet: what the upstream says first, and its end, wait for it."""
        self.ended_early = False
        self.writing_paused = False
        self.may_switch = False
        """Whether the request asked for another protocol, so that 101 may answer it."""
        self.request_sent = True
        """False while the request's body is still on its way: such a connection is not reused when the response ends."""
        self.keep = True
        self.limit_reason = ""
        """What `deadline` stands for, for the error message."""

    def itself(self) -> "UpstreamConnection":
        """The protocol factory of this one connection."""
        return self

    # -- transport callbacks

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.user is not None:
            self.user.on_writable()

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state == AWAIT_HEAD:
            self._read_head(data)
        elif state == IN_BODY:
            self._read_body(data)
            if self.state == IN_BODY and self.user is not None:
                self.user.on_flush()
        elif state == TUNNEL:
            if self.user is not None:
                self.user.on_tunnel_data(data)
        elif self.held and state == IDLE:
            self.buffer += data
            if len(self.buffer) > HELD_BYTES_MAX:
                self.pause_reading()
        else:
            self.close()  # octets that nobody asked for: whatever they are, they answer no request of ours

    def eof_received(self) -> bool:
        if self.state == TUNNEL and self.user is not None:
            self.user.on_tunnel_eof()
            return True
        self.ended_early = self.held
        return self.held

    def connection_lost(self, error: BaseException | None) -> None:
        state = self.state
        self.state = CLOSED
        self.deadline = 0.0
        user = self.user
        self.user = None
        self.home.on_gone(self)
        if user is None:
            return
        if state == IN_BODY and self.chunked is None and self.left < 0 and error is None:
            user.on_end(_NO_TRAILERS)
        elif state == TUNNEL:
            user.on_tunnel_eof()
            user.on_end(_NO_TRAILERS)
        else:
            where = "before a response" if state == AWAIT_HEAD else "in the middle of a response body"
            user.on_broken(outcome.RESET, f"the upstream closed the connection {where}")

    def on_deadline(self, now: float) -> None:
        user = self.user
        if user is None:
            self.close()
            return
        self.user = None
        self.close()
        user.on_broken(outcome.TIMEOUT, self.limit_reason)

    # -- use

    def begin(self, user: Try, method: bytes) -> None:
        """Take the connection for one request; the caller then writes it to `transport`."""
        self.user = user
        self.method = method
        self.state = AWAIT_HEAD
        self.informational = 0
        self.requests += 1
        self.may_switch = False
        self.request_sent = True

    def send(self, pieces: list[bytes], size: int) -> None:
        """Write the head and what is there of the body. size: octets of the body among the pieces."""
        if size <= COPY_MAX:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)

    def close(self) -> None:
        """Close without ceremony; whoever used it is not told (they asked, or have been told)."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.deadline = 0.0
            self.user = None
            self.transport.abort()

    def begin_tunnel(self) -> None:
        """Pass on what the upstream has said while the tunnel was being opened, and go on."""
        self.held = False
        self.resume_reading()
        early = self.buffer
        self.buffer = b""
        if early and self.user is not None:
            self.user.on_tunnel_data(early)
        if self.ended_early and self.user is not None:
            self.user.on_tunnel_eof()

    def pause_reading(self) -> None:
        if not self.reading_paused and self.state != CLOSED:
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused and self.state != CLOSED:
            self.reading_paused = False
            self.transport.resume_reading()

    # -- reading

    def _read_head(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > self.head_bytes_max:
                    self._bad(f"response head of more than {self.head_bytes_max} octets")
                elif data.count(b"\n") != data.count(b"\r\n"):
                    self._bad("bare LF in the response head")
                else:
                    self.buffer = data
                return
            end += 4
            if end > self.head_bytes_max:
                self._bad(f"response head of {end} octets; at most {self.head_bytes_max} are accepted")
                return
            try:
                head = response_head(data[:end], self.method, self.header_count_max)
            except BadMessage as error:
                self._bad(error.reason)
                return
            data = data[end:] if end < len(data) else b""
            if head.status == 101 and not self.may_switch:
                self._bad("101 to a request that did not ask for another protocol")
                return
            if head.status >= 200 or head.status == 101:
                self._start_body(head, data)
                return
            self.informational += 1
            if self.informational > INFORMATIONAL_MAX:
                self._bad(f"more than {INFORMATIONAL_MAX} informational responses")
                return
            if self.user is not None:
                self.user.on_informational(head)
            if not data or self.state != AWAIT_HEAD:
                return

    def _start_body(self, head: ResponseHead, rest: bytes) -> None:
        user = self.user
        if user is None:
            self.close()
            return
        self.head = head
        self.keep = head.keep_alive
        if head.status == 101:
            self.state = TUNNEL
            user.on_head(head)
            if rest and self.user is not None:
                user.on_tunnel_data(rest)
            return
        self.state = IN_BODY
        self.chunked = None
        kind = head.body
        if kind == NO_BODY:
            self.left = 0
        elif kind == LENGTH:
            self.left = head.content_length
        elif kind == CHUNKED:
            self.left = 0
            self.chunked = ChunkedDecoder(self.head_bytes_max, self.header_count_max)
        else:
            self.left = -1
        user.on_head(head)
        if self.state != IN_BODY or self.user is None:
            return
        if kind == NO_BODY:
            self._finish(rest, _NO_TRAILERS)
            return
        if rest:
            self._read_body(rest)
        if self.state == IN_BODY and self.user is not None:
            self.user.on_flush()

    def _read_body(self, data: bytes) -> None:
        user = self.user
        if user is None:
            return
        if self.chunked is not None:
            self._read_chunked(user, self.chunked, data)
        elif self.left < 0:
            user.on_body(data)
        else:
            size = len(data)
            left = self.left
            if size < left:
                self.left = left - size
                user.on_body(data)
            elif size == left:
                user.on_body(data)
                if self.state == IN_BODY and self.user is user:
                    self._finish(b"", _NO_TRAILERS)
            else:
                user.on_body(data[:left])
                if self.state == IN_BODY and self.user is user:
                    self._finish(data[left:], _NO_TRAILERS)

    def _read_chunked(self, user: Try, decoder: ChunkedDecoder, data: bytes) -> None:
        try:
            pieces = decoder.feed(data)
        except BadMessage as error:
            self._bad(error.reason)
            return
        for piece in pieces:
            user.on_body(piece)
            if self.user is not user:
                return
        if decoder.done:
            self._finish(decoder.rest, decoder.trailers)

    def _finish(self, rest: bytes, trailers: list[Field]) -> None:
        user = self.user
        self.user = None
        if rest or not self.keep or not self.request_sent:
            # What follows a response that we did not ask for must never be taken for the next answer.
            self.close()
        else:
            self.resume_reading()
            self.state = IDLE
            self.home.on_free(self)
        if user is not None:
            user.on_end(trailers)

    def _bad(self, detail: str) -> None:
        user = self.user
        self.user = None
        self.close()
        if user is not None:
            user.on_broken(outcome.GATEWAY_ERROR, f"bad response from the upstream: {detail}")
