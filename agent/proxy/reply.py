"""The answer to one request as its client gets it: head, body, trailers, or a problem in their place."""

from typing import Any, Final

from agent.core.http import fields as f
from agent.core.http.body import LAST_CHUNK, encode_chunk
from agent.core.http.edits import HeaderEdits
from agent.core.http.fields import Field
from agent.core.http.forwarding import FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, forward_response_head
from agent.core.http.head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, RequestHead, ResponseHead
from agent.hooks import RequestView
from agent.proxy import counters, flags, rescue
from agent.proxy.datapath import RoutePolicy
from agent.proxy.gate import KIND_NAMES, Gate, Plan
from agent.proxy.plugins import RequiredPluginFault
from agent.proxy.sink import COPY_MAX, Failure, ResponseSink

_CRLF: Final = b"\r\n"
_NO_DATE: Final = b""


class Downstream:
    """What an exchange needs of its client's connection."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.transport: Any = None
        self.client = b""
        """The client's address as X-Forwarded-For has it; empty for a Unix socket."""
        self.writing_paused = False
        self.body_complete = True
        """The request body has been read whole."""
        self.original_destination: tuple[str, int] | None = None

    def exchange_done(self, keep: bool) -> None:
        """The response is written. keep: the connection can take another request."""
        raise NotImplementedError

    def request_body_paused(self, paused: bool) -> None:
        """Whether to stop reading the request's body."""
        raise NotImplementedError

    def start_tunnel(self) -> None:
        """From here on octets pass in both directions without being read."""
        raise NotImplementedError


class Mute:
    """A transport that drops what is written."""

    def write(self, data: bytes) -> None:
        """Gone."""

    def writelines(self, pieces: list[bytes]) -> None:
        """Gone."""


class Reply(ResponseSink):
    """Writes one response to one client's connection."""

    def __init__(self, connection: Downstream, head: RequestHead, plan: Plan) -> None:
        self.connection = connection
        self.gate = connection.gate
        self.path = connection.gate.path
        self.head = head
        self.plan = plan
        self.policy: RoutePolicy | None = plan.policy
        self.outcome = counters.PASS
        self.cache_status = b""
        self.status = 0
        self.flag = ""
        self.detail = ""
        self.bytes_out = 0
        self.keep = head.keep_alive
        self.pending = b""
        self.chunked_out = False
        self.bodyless = False
        self.answered = False
        """A response head has been handed to the transport (or is held to be sent with the first octets of the body)."""
        self.over = False
        self.request_id = b""
        self.transport: Any = connection.transport
        """Where the response goes: the client, or nowhere when the client asked why instead."""

    def send_response(self, head: ResponseHead) -> None:
        """Hold the head for the client; it goes out with the first octets of the body."""
        self.status = head.status
        method = self.head.method
        kind = head.body
        framing = FRAME_NONE
        if kind == LENGTH or (kind == NO_BODY and head.content_length >= 0):
            framing = FRAME_LENGTH
        elif kind == NO_BODY:
            framing = FRAME_NONE
            if head.status >= 200 and head.status not in (204, 304) and method != b"HEAD":
                framing = FRAME_LENGTH
        elif kind == CHUNKED or kind == UNTIL_CLOSE:
            if self.head.minor == 1:
                framing = FRAME_CHUNKED
                self.chunked_out = True
            else:
                framing = FRAME_CLOSE
                self.keep = False
        self.bodyless = kind == NO_BODY
        self.settle_keep()
        target = self.plan.target
        edits = target.response_edits if target is not None else None
        if self.path.plugins.response_hooks:
            edits = self.plugin_edits(edits, head.fields)
            if self.over:
                return
        self.pending = forward_response_head(
            head,
            self.path.headers,
            edits,
            self.own_fields(),
            framing,
            self.head.minor,
            self.keep,
            _NO_DATE if head.flags & f.DATE else self.path.date(self.path.wall()),
        )
        self.answered = True

    def plugin_edits(self, edits: HeaderEdits | None, fields: list[Field]) -> HeaderEdits | None:
        """The route's edits with what plugins change of this response. `over` afterwards: a required plugin failed, and the
        client got the news instead of the response."""
        target = self.plan.target
        service = self.policy.cluster.name if self.policy is not None else ""
        route = target.route if target is not None else ""
        view = RequestView(self.head, self.connection.client.decode("latin-1"), service, route, KIND_NAMES[self.gate.kind])
        cached = self.outcome in (counters.HIT, counters.STALE, counters.REVALIDATED)
        try:
            added, dropped = self.path.plugins.on_response(view, fields, self.status, cached)
        except RequiredPluginFault as fault:
            self.withhold(Failure(500, flags.PLUGIN, str(fault)))
            return edits
        if not added and not dropped:
            return edits
        own = HeaderEdits({}, {}, ())
        own.set_fields = added
        own.dropped = dropped
        return edits.then(own) if edits is not None else own

    def withhold(self, failure: Failure) -> None:
        """Fail in place of a response that is there."""
        raise NotImplementedError

    def settle_keep(self) -> None:
        """Decide whether the connection outlives this response, before its head says so."""
        if self.keep and (self.path.draining or not self.connection.body_complete):
            self.keep = False

    def own_fields(self) -> bytes:
        """Raw lines that the agent adds to a response: Cache-Status, and what plugins asked for."""
        lines = b""
        if self.cache_status:
            lines = b"Cache-Status: " + self.cache_status + _CRLF
        if self.request_id and self.head.flags & f.REQUEST_ID:
            lines += b"X-Request-Id: " + self.request_id + _CRLF
        return lines

    def send_raw_head(self, raw: bytes, status: int, bodyless: bool) -> None:
        """Hold a head that is ready to be written."""
        self.status = status
        self.pending = raw
        self.bodyless = bodyless
        self.answered = True

    def send_piece(self, piece: bytes) -> None:
        if self.bodyless or not piece:
            return
        self.bytes_out += len(piece)
        pending = self.pending
        transport = self.transport
        if self.chunked_out:
            if len(piece) <= COPY_MAX:
                transport.write(pending + encode_chunk(piece))
            else:
                transport.writelines([pending + b"%x\r\n" % len(piece), piece, _CRLF])
            self.pending = b""
        elif not pending:
            transport.write(piece)
        elif len(piece) <= COPY_MAX:
            self.pending = b""
            transport.write(pending + piece)
        else:
            self.pending = b""
            transport.writelines([pending, piece])

    def send_end(self, trailers: list[Field]) -> None:
        pending = self.pending
        self.pending = b""
        if self.chunked_out and not self.bodyless:
            if trailers and self.trailers_welcome():
                lines = [field.line for field in trailers]
                pending += b"0\r\n" + _CRLF.join(lines) + b"\r\n\r\n"
            else:
                pending += LAST_CHUNK
        if pending:
            self.transport.write(pending)
        self.finish(self.keep)

    def trailers_welcome(self) -> bool:
        """The client said that it keeps trailers (RFC 9110 section 6.5.1)."""
        value = self.head.get(b"te") if self.head.flags & f.TE else None
        return value is not None and b"trailers" in value.lower()

    def fail(self, failure: Failure) -> None:
        """Answer with the failure, or cut the connection where a response has begun."""
        if self.over:
            return
        self.flag = failure.flag
        self.detail = failure.detail
        if self.answered:
            self.finish(False)
            return
        self.outcome = counters.LOCAL
        self.status = failure.status
        self.settle_keep()
        if failure.status in (400, 408, 413, 414, 431, 501, 505):
            self.keep = False
        wire = rescue.problem(failure, self.path.agent_id, self.path.date(self.path.wall()), self.keep, self.head.method != b"HEAD")
        self.answered = True
        self.transport.write(wire)
        self.finish(self.keep)

    def answer(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, flag: str = "") -> None:
        """A response of the agent's own that is no failure."""
        self.outcome = counters.LOCAL
        self.status = status
        self.flag = flag
        self.settle_keep()
        wire = rescue.plain(status, fields, body, self.path.date(self.path.wall()), self.keep, self.head.method != b"HEAD")
        self.bytes_out = len(body)
        self.answered = True
        self.transport.write(wire)
        self.finish(self.keep)

    def finish(self, keep: bool) -> None:
        """The response is written. keep: the connection can take another request."""
        raise NotImplementedError
