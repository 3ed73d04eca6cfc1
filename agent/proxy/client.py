"""A client's connection: heads in, exchanges begun, one answer after another in the order that they were asked for."""

from typing import Any, Final

from agent.core.http.body import RequestBody
from agent.core.http.errors import BadMessage
from agent.core.http.head import RequestHead, complaint_of_beginning
from agent.proxy import flags, pipeline, rescue
from agent.proxy.exchange import Exchange
from agent.proxy.gate import Gate, Plan
from agent.proxy.hit import answer_hit
from agent.proxy.reply import Downstream
from agent.proxy.sink import Failure
from agent.runtime.sockets import original_destination
from agent.runtime.wheel import Timed

IDLE: Final = 0
HEAD: Final = 1
BUSY: Final = 2
LINGER: Final = 3
CLOSED: Final = 4

LINGER_S: Final = 2.0
LINGER_BYTES_MAX: Final = 262_144
"""After a last response the client's rest is read and dropped for a moment: closing on unread octets would reset the
connection and could take the response with it (RFC 9112 section 9.6)."""


class ConnectionTimer(Timed):
    """The time limit of one client connection."""

    def __init__(self, connection: "ClientConnection") -> None:
        super().__init__()
        self.connection = connection

    def on_deadline(self, now: float) -> None:
        self.connection.on_deadline(now)


class ClientConnection(Downstream):
    """asyncio protocol (by duck typing, so that it compiles natively) of one client connection."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.path = gate.path
        self.timer = ConnectionTimer(self)
        self.state = IDLE
        self.buffer = b""
        """Octets not yet understood: an unfinished head, or requests that wait for the one before."""
        self.exchange: Exchange | None = None
        self.body: RequestBody | None = None
        """What is still to come of the request under way; None once its body is complete."""
        self.head_timed = False
        """The limit of the head that is coming in has begun to run."""
        self.parsing = False
        self.reading_paused = False
        self.tunnel = False
        self.lingered = 0
        self.blank = False
        """An empty line has been forgiven before the next request."""
        self.eof = False

    # -- transport callbacks

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        counters = self.gate.counters
        counters.accepted += 1
        counters.open += 1
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and peer:
            self.client = str(peer[0]).encode("ascii", "replace")
        if counters.open > self.path.http.connections_max:
            counters.refused += 1
            self._refuse(503, flags.CONNECTIONS_MAX, f"the listener has its {self.path.http.connections_max} connections")
            return
        if self.gate.kind == 2:
            self.original_destination = original_destination(transport.get_extra_info("socket"))
        self.path.connections.add(self)
        if self.path.client_timeouts.keep_alive > 0.0:
            self.path.wheel.arm(self.timer, self.path.clock() + self.path.client_timeouts.keep_alive)

    def connection_lost(self, error: BaseException | None) -> None:
        self.gate.counters.open -= 1
        self.path.connections.discard(self)
        self.state = CLOSED
        self.path.wheel.drop(self.timer)
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.on_client_gone()

    def eof_received(self) -> bool:
        exchange = self.exchange
        if exchange is not None and self.tunnel:
            exchange.on_tunnel_eof()
            return True
        self.eof = True
        if exchange is None or self.state != BUSY:
            return False
        # A client may close its side and wait for its answer, if it has sent the whole of its request.
        return self.body_complete

    def pause_writing(self) -> None:
        self.writing_paused = True
        limit_s = self.path.client_timeouts.tunnel_idle if self.tunnel else self.path.client_timeouts.body_idle
        if limit_s > 0.0:
            self.path.wheel.arm(self.timer, self.path.clock() + limit_s)

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.body_complete:
            self.timer.deadline = 0.0
        if self.exchange is not None:
            self.exchange.on_client_writable()

    def data_received(self, data: bytes) -> None:
        if self.state == IDLE:
            self._read(data)
        elif self.state == BUSY:
            self._read_while_busy(data)
        elif self.state == HEAD:
            data = self.buffer + data
            self.buffer = b""
            self.state = IDLE
            self._read(data)
        elif self.state == LINGER:
            self.lingered += len(data)
            if self.lingered > LINGER_BYTES_MAX:
                self.transport.abort()

    # -- heads

    def _read(self, data: bytes) -> None:
        """Take requests from `data` until one has to be waited for."""
        self.parsing = True
        path = self.path
        http = path.http
        while data:
            started = path.clock()
            head = path.known_head(data)
            if head is not None:
                data = b""
            else:
                if data[:2] == b"\r\n" and not self.blank:
                    data = data[2:]  # RFC 9112 section 2.2: an empty line before a request is forgiven, once
                    self.blank = True
                    if not data:
                        break
                end = data.find(b"\r\n\r\n") + 4
                if end < 4:
                    self._incomplete(data)
                    break
                if end > http.head_bytes_max:
                    self._refuse(431, flags.DOWNSTREAM_PROTOCOL_ERROR, f"head of {end} octets; at most {http.head_bytes_max}")
                    break
                try:
                    head = path.parse_head(data[:end] if end < len(data) else data)
                except BadMessage as error:
                    self._refuse(error.status, flags.DOWNSTREAM_PROTOCOL_ERROR, error.reason)
                    break
                data = data[end:] if end < len(data) else b""
            self.blank = False
            plan = pipeline.plan_for(self.gate, head)
            if plan.plain and answer_hit(self, head, plan, started):
                continue
            if not self._begin(head, plan, started, data):
                break
            data = self.buffer
            self.buffer = b""
        self.parsing = False
        if self.state == IDLE:
            if self.eof:
                self.transport.close()
            else:
                self._limit(self.path.client_timeouts.keep_alive)

    def _incomplete(self, data: bytes) -> None:
        http = self.path.http
        if len(data) > http.head_bytes_max:
            if b"\n" not in data and data.count(b" ") < 2:
                self._refuse(414, flags.DOWNSTREAM_PROTOCOL_ERROR, f"request line of more than {http.head_bytes_max} octets")
            else:
                self._refuse(431, flags.DOWNSTREAM_PROTOCOL_ERROR, f"head of more than {http.head_bytes_max} octets")
            return
        complaint = complaint_of_beginning(data)
        if complaint:
            self._refuse(400, flags.DOWNSTREAM_PROTOCOL_ERROR, complaint)
            return
        if self.eof:
            self.transport.close()
            return
        self.buffer = data
        if self.state != HEAD:
            self.state = HEAD
            if self.timer.deadline == 0.0 or not self.head_timed:
                self._limit(self.path.client_timeouts.head)
                self.head_timed = True  # one limit for the whole head, however it dribbles in

    def _limit(self, seconds: float) -> None:
        """The limit of what is waited for, from the clock's latest reading on."""
        if seconds > 0.0:
            self.path.wheel.arm(self.timer, self.path.now + seconds)
        else:
            self.timer.deadline = 0.0

    def _begin(self, head: RequestHead, plan: Plan, started: float, rest: bytes) -> bool:
        """Start an exchange; `rest` is what came behind the head. True when it is over and `buffer` may be read on."""
        self.state = BUSY
        self.timer.deadline = 0.0
        self.head_timed = False
        self.body = None
        self.body_complete = True
        self.buffer = rest
        if head.has_body:
            http = self.path.http
            try:
                self.body = RequestBody(head.content_length, http.body_bytes_max, http.head_bytes_max, http.header_count_max)
            except BadMessage as error:
                self._refuse(error.status, flags.BODY_TOO_LARGE, error.reason)
                return False
            self.body_complete = False
        exchange = pipeline.start(self, head, plan, started)
        self.exchange = exchange
        if not self.body_complete and rest:
            # The body that came with the head is at hand before anything is decided, so that a small request is whole.
            self.buffer = b""
            pieces = self._body_pieces(rest)
            if not self._serves(exchange):
                return self.state == IDLE
            for piece in pieces or []:
                exchange.on_request_body(piece)
        if not exchange.over:
            pipeline.run(exchange)
        if self._serves(exchange):
            if not self.body_complete:
                self._limit(self.path.client_timeouts.body_idle)
            elif len(self.buffer) > self.path.http.buffer_bytes_max:
                self._pause_reading()
            return False
        return self.state == IDLE

    def _serves(self, exchange: Exchange) -> bool:
        """Whether it is still under way. Not to be written in place: compiled, that takes the attribute for what it was before."""
        return self.exchange is exchange

    # -- bodies

    def _read_while_busy(self, data: bytes) -> None:
        exchange = self.exchange
        if self.tunnel:
            if exchange is not None:
                exchange.on_tunnel_data(data)
            return
        if self.body_complete:
            self.buffer = self.buffer + data if self.buffer else data
            if len(self.buffer) > self.path.http.buffer_bytes_max:
                self._pause_reading()
            return
        self.path.clock()
        self._limit(self.path.client_timeouts.body_idle)
        pieces = self._body_pieces(data)
        if pieces is None or exchange is None or not self._serves(exchange):
            return
        for piece in pieces:
            exchange.on_request_body(piece)
            if not self._serves(exchange):
                return
        if self.body_complete:
            self.timer.deadline = 0.0
            exchange.on_request_end()

    def _body_pieces(self, data: bytes) -> list[bytes] | None:
        """Unframe some of the request's body; what follows the body goes to `buffer`. None when it was refused."""
        body = self.body
        if body is None:
            return None
        try:
            pieces: list[bytes] = body.feed(data)
        except BadMessage as error:
            self._reject_body(error.status, error.reason)
            return None
        if body.done:
            self.body_complete = True
            self.buffer = body.rest
            self.body = None
        return pieces

    def _reject_body(self, status: int, reason: str) -> None:
        exchange = self.exchange
        flag = flags.BODY_TOO_LARGE if status == 413 else flags.DOWNSTREAM_PROTOCOL_ERROR
        self.gate.counters.protocol_errors += 1
        if exchange is not None:
            exchange.cancel_upstream()
            exchange.fail(Failure(status, flag, reason))

    # -- Downstream

    def exchange_done(self, keep: bool) -> None:
        self.exchange = None
        self.tunnel = False
        if self.state == CLOSED:
            return
        if not keep or (self.eof and not self.buffer):
            self._close_after_response()
            return
        self.state = IDLE
        self.head_timed = False
        if self.reading_paused:
            self._resume_reading()
        if self.parsing:
            return
        data = self.buffer
        if data:
            self.buffer = b""
            self._read(data)
        else:
            self._limit(self.path.client_timeouts.keep_alive)

    def request_body_paused(self, paused: bool) -> None:
        if paused:
            self._pause_reading()
            self.timer.deadline = 0.0
        elif self.reading_paused:
            self._resume_reading()
            if not self.body_complete and not self.tunnel:
                self.path.clock()
                self._limit(self.path.client_timeouts.body_idle)

    def start_tunnel(self) -> None:
        self.tunnel = True
        self.timer.deadline = 0.0
        if self.buffer:
            data = self.buffer
            self.buffer = b""
            if self.exchange is not None:
                self.exchange.on_tunnel_data(data)

    # -- closing

    def _close_after_response(self) -> None:
        self.state = LINGER
        rest = self.buffer
        self.buffer = b""
        if self.eof or (self.body_complete and not rest):
            self.timer.deadline = 0.0
            self.transport.close()
            return
        if self.reading_paused:
            self._resume_reading()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self.path.clock()
        self._limit(LINGER_S)

    def _refuse(self, status: int, flag: str, reason: str) -> None:
        """Answer what is no request, and close."""
        self.gate.counters.protocol_errors += 1
        path = self.path
        path.none.flag(flag)
        path.none.record(6, status, 0.0)
        failure = Failure(status, flag, reason)
        self.transport.write(rescue.problem(failure, path.agent_id, path.date(path.wall()), False))
        if path.access_log is not None:
            path.access_log.record_refused(self, failure)
        self.body_complete = False
        self._close_after_response()

    def on_deadline(self, now: float) -> None:
        timeouts = self.path.client_timeouts
        exchange = self.exchange
        if self.state == HEAD:
            self._refuse(408, flags.DOWNSTREAM_TIMEOUT, f"no whole request head within {timeouts.head:g} s")
        elif self.state == BUSY and exchange is not None:
            if self.writing_paused:
                exchange.flag = flags.DOWNSTREAM_TIMEOUT
                self.transport.abort()
            elif not self.body_complete:
                exchange.cancel_upstream()
                reason = f"nothing of the request body for {timeouts.body_idle:g} s"
                exchange.fail(Failure(408, flags.DOWNSTREAM_TIMEOUT, reason))
        else:
            self.transport.abort() if self.state == LINGER else self.transport.close()

    def begin_drain(self) -> None:
        """Close now if nothing is under way; else the response under way says that it is the last."""
        if self.state == IDLE:
            self.transport.close()

    def _pause_reading(self) -> None:
        if not self.reading_paused and self.state != CLOSED:
            self.reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self.reading_paused and self.state != CLOSED and not self.transport.is_closing():
            self.reading_paused = False
            self.transport.resume_reading()
