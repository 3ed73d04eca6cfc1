"""A client's connection: requests in, each handed on when it is whole; answers out in their order. No task, no await."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from agent.core.http.body import RequestBody
from agent.core.http.errors import BadMessage
from agent.core.http.head import complaint_of_beginning
from agent.runtime.wheel import Alarm
from agent.state import wire
from agent.state.call import Call
from agent.state.errors import ApiError
from agent.state.plan import Plan

if TYPE_CHECKING:
    from agent.state.api import StateApi

LINGER_S: Final = 2.0
LINGER_BYTES_MAX: Final = 4_194_304
"""After a last response the client's rest is read and dropped for a moment: closing on unread octets would reset the
connection and could take the response with it (RFC 9112 section 9.6)."""
HEADERS_MAX: Final = 64
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ApiConnection:
    """asyncio protocol, by duck typing."""

    def __init__(self, api: "StateApi") -> None:
        self.alarm = Alarm(self.on_deadline)
        self.api = api
        self.transport: Any = None
        self.gone = False
        self.calls: deque[Call] = deque()
        """In the order of the requests; the first one's answer is the next to leave."""
        self._buffer = b""
        self._plan: Plan | None = None
        """Of the request whose body is coming in."""
        self._body: RequestBody | None = None
        self._pieces: list[bytes] = []
        self._last = False
        """No further request is read."""
        self._paused = False
        self._full = False
        """The client does not take what is written."""
        self._reading = False
        self._eof = False
        self._blank = False
        """An empty line has been forgiven before the next request."""
        self._timed = False
        """The limit of the request that is coming in runs."""
        self._lingered = -1
        self._stream: Any = None

    # -- transport callbacks

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        api = self.api
        figures = api.figures
        figures.connections += 1
        api.connections.add(self)
        if len(api.connections) > api.config.connections_max:
            self._refuse(ApiError(503, "busy", f"the API has its {api.config.connections_max} connections", "no"))
        else:
            self._limit(api.config.keep_alive)

    def connection_lost(self, error: BaseException | None) -> None:
        self.gone = True
        self.api.forget(self)
        self.api.wheel.release(self.alarm)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.on_gone()
        calls, self.calls = self.calls, deque()
        for call in calls:
            if call.on_gone is not None:
                call.on_gone()
            elif call.stream is not None and call.stream is not stream:
                call.stream.on_gone()

    def eof_received(self) -> bool:
        """A client may close its side and wait for its answers. One that watches, or waits for somebody else, and does so is gone."""
        self._last = self._eof = True
        return bool(self.calls) and self._lingered < 0 and not any(call.stream or call.on_gone for call in self.calls)

    def pause_writing(self) -> None:
        self._full = True
        if self._stream is not None:
            self._stream.on_writable(False)
        else:
            self._limit(self.api.config.watch_stall)
            self._pause()

    def resume_writing(self) -> None:
        self._full = False
        if self._stream is not None:
            self._stream.on_writable(True)
        else:
            self._resume()

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.on_data(data)
        elif self._last:
            self._drop(data)
        else:
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
            self._read(data)

    # -- requests

    def _read(self, data: bytes) -> None:
        """Take requests from `data` until one is not whole, or enough wait for their answers."""
        api = self.api
        self._reading = True
        while data and not self._last:
            if self._body is not None:
                data = self._read_body(data)
                continue
            if len(self.calls) >= api.config.pipeline_max or self._full:
                self._buffer = data
                self._pause()
                break
            if data[:2] == b"\r\n" and not self._blank:
                data = data[2:]  # RFC 9112 section 2.2: an empty line before a request is forgiven, once
                self._blank = True
                continue
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or end > api.config.head_bytes_max:
                self._unfinished(data, end)
                break
            try:
                plan = api.plan(data[:end])
            except BadMessage as found:
                self._refuse(ApiError(found.status, "bad_request", found.reason, "no"))
                break
            except ApiError as error:  # not by the same name: compiled, a name has one type
                self._refuse(error)
                break
            sender = plan.sender
            data = data[end:] if end < len(data) else b""
            if not sender.has_body:
                self._begin(plan, b"")
                continue
            length = sender.head.content_length
            if 0 < length <= len(data) and length <= api.config.body_bytes_max:
                body = data[:length]
                data = data[length:] if length < len(data) else b""
                self._begin(plan, body)
            else:
                self._expect_body(plan, data)
        self._reading = False
        if not self.gone:
            self._settle()

    def _settle(self) -> None:
        """The time limit of what is waited for now."""
        if self.calls and self._body is None and not self._buffer:
            if not self._full:
                self.alarm.deadline = 0.0
        elif not self.calls and self._lingered < 0 and self._body is None and not self._buffer and self._stream is None:
            self._limit(self.api.config.keep_alive)

    def _unfinished(self, data: bytes, end: int) -> None:
        """A head that is not whole yet, or too long."""
        most = self.api.config.head_bytes_max
        if end > most or len(data) > most:
            self._refuse(ApiError(431, "too_large", f"a head of more than {most} octets", "no"))
            return
        complaint = complaint_of_beginning(data)
        if complaint:
            self._refuse(ApiError(400, "bad_request", complaint, "no"))
            return
        self._buffer = data
        self._time()

    def _time(self) -> None:
        """One limit for the whole request, however it dribbles in."""
        if not self._timed:
            self._timed = True
            self._limit(self.api.config.head_timeout)

    def _expect_body(self, plan: Plan, rest: bytes) -> None:
        most = self.api.config.body_bytes_max
        head = plan.sender.head
        try:
            self._body = RequestBody(head.content_length if not head.chunked else -1, most, 4_096, HEADERS_MAX)
        except BadMessage as error:
            self._refuse(ApiError(error.status, "too_large", error.reason, "no"))
            return
        self._plan = plan
        self._time()
        if not rest and not self.calls and head.minor == 1 and (head.get(b"expect") or b"").lower() == b"100-continue":
            self.transport.write(CONTINUE)

    def _read_body(self, data: bytes) -> bytes:
        body = self._body
        assert body is not None
        try:
            self._pieces.extend(body.feed(data))
        except BadMessage as error:
            self._body = None
            self._refuse(ApiError(error.status, "bad_request" if error.status == 400 else "too_large", error.reason, "no"))
            return b""
        if not body.done:
            return b""
        whole = b"".join(self._pieces)
        plan = self._plan
        assert plan is not None
        self._body = self._plan = None
        self._pieces = []
        self._begin(plan, whole)
        return body.rest

    def _begin(self, plan: Plan, body: bytes) -> None:
        self._blank = self._timed = False
        keep = plan.sender.keep_alive
        if not keep:
            self._last = True
        call = Call(self, plan, body, keep)
        self.calls.append(call)
        route = plan.route
        route.count += 1
        if isinstance(route.error, ApiError):
            call.fail(route.error)
            return
        try:
            route.handler(self.api, call)
        except ApiError as error:
            call.fail(error)

    # -- answers

    def advance(self) -> None:
        """Write the answers whose turn has come."""
        calls = self.calls
        while calls:
            call = calls[0]
            if call.output is not None:
                calls.popleft()
                if self.gone:
                    continue
                self.transport.write(call.output)
                if not call.keep:
                    self._close()
                    return
            elif call.stream is not None:
                if not self.gone and self._stream is None:
                    self._last = True
                    self._buffer = b""
                    self.alarm.deadline = 0.0
                    self._stream = call.stream
                    call.stream.begin(self.transport)
                return
            else:
                return
        if self.gone or self._reading:
            return
        if self._last:
            self._close()
        elif self._paused:
            self._resume()
        else:
            self._settle()

    def _pause(self) -> None:
        if not self._paused and not self.gone:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        """Read on, if there is room for it."""
        if self.gone or self._full or self._last or len(self.calls) >= self.api.config.pipeline_max:
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        data, self._buffer = self._buffer, b""
        self._read(data)

    # -- closing

    def _refuse(self, error: ApiError) -> None:
        """Answer what is no request, after those before it, and close."""
        self._last = True
        self._buffer = b""
        counts = self.api.figures.errors
        counts[error.code] = counts.get(error.code, 0) + 1
        call = Call(self, self.api.no_plan, b"", False)
        call.output = wire.response(error.status, wire.JSON, wire.to_json(error.document()), b"", False)
        self.calls.append(call)
        self.advance()

    def _close(self) -> None:
        """No more is written; what still comes in is dropped for a moment."""
        if self._lingered >= 0 or self.gone:
            return
        self._last = True
        self._lingered = 0
        self.calls.clear()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if not self._eof and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
            self._limit(LINGER_S)
        else:
            self.transport.close()

    def _drop(self, data: bytes) -> None:
        if self._lingered >= 0:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES_MAX:
                self.transport.abort()

    def _limit(self, seconds: float) -> None:
        self.api.wheel.arm(self.alarm, self.api.loop.time() + seconds)

    def on_deadline(self, now: float) -> None:
        if self._full or self._lingered >= 0:
            self.transport.abort()
        elif self._buffer or self._body is not None:
            if self.calls:
                # What is under way is answered first; its rest had time enough.
                self._last = True
                self._buffer = b""
                self._body = None
            else:
                self._body = None
                self._refuse(ApiError(408, "timeout", f"no whole request within {self.api.config.head_timeout:g} s", "no"))
        elif not self.calls:
            self.transport.close()

    def end(self) -> None:
        """The API closes: streams are told, answers that are due are still given."""
        self._last = True
        if self._stream is not None:
            self._stream.end()
        elif not self.calls:
            self._close()
