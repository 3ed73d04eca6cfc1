"""One request and its response, seen from the client's side."""

from time import perf_counter
from typing import Any, Final

from agent.core.cache.entry import Entry
from agent.core.http import fields as f
from agent.core.http.body import LAST_CHUNK, encode_chunk
from agent.core.http.edits import HeaderEdits
from agent.core.http.fields import Field
from agent.core.http.forwarding import FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, forward_response_head
from agent.core.http.head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, RequestHead, ResponseHead
from agent.proxy import counters, flags, rescue
from agent.proxy.datapath import RoutePolicy
from agent.proxy.effects import after_response
from agent.proxy.forward import Forward
from agent.proxy.gate import Gate, Plan
from agent.proxy.reset import reset
from agent.proxy.sink import Failure, ResponseSink

_CRLF: Final = b"\r\n"
COPY_MAX: Final = 16_384
"""Head and first piece are joined into one write up to this size; larger pieces are written as they are."""


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


class Source(ResponseSink):
    """A sink that several exchanges read from: a fill of the cache."""

    def reader_ready(self, exchange: "Exchange") -> None:
        """The client takes more."""
        raise NotImplementedError

    def reader_left(self, exchange: "Exchange") -> None:
        """The client has gone."""
        raise NotImplementedError


class Exchange(ResponseSink):
    """From a parsed request head to the last octet of its response."""

    def __init__(self, connection: Downstream, head: RequestHead, plan: Plan, started: float) -> None:
        self.connection = connection
        self.gate = connection.gate
        self.path = connection.gate.path
        self.head = head
        self.plan = plan
        self.policy: RoutePolicy | None = plan.policy
        self.started = started
        self.forward: Forward | None = None
        self.source: Source | None = None
        self.reader_index = 0
        """The next piece of the source's body to be written."""
        self.entry: Entry | None = None
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
        self.tunnel = False
        self.request_id = b""
        self.transport: Any = connection.transport
        """Where the response goes: the client, or nowhere when the client asked why instead."""
        self.trace: list[tuple[Any, ...]] | None = None
        """What was decided, step by step (agent.proxy.explain); None where nobody could ask."""
        self.why = False
        self.hook_state: Any = None
        self.next_waiter: Any = None
        """A release gate to tell when this exchange is over."""
        self.counted = False
        self.upstream = ""
        self.extra_request_fields: list[Field] = []
        self.rewritten: tuple[bytes, bytes] | None = None
        """Target and authority for the upstream, where a rule changed them."""
        self.chosen_service = ""
        """The service that a plugin chose."""
        self.held_body: list[bytes] = []
        """The request's body as far as it came before there was anywhere to send it."""
        self.body_bytes = 0
        self.body_bytes_max = 0
        self.removed_request_fields: frozenset[bytes] = frozenset()
        self.cache_suffix = b""
        """What a plugin adds to the cache key."""
        self.deadline = 0.0
        """Loop time by which the client wants its answer."""
        self.timer: Any = None
        self.priority = 5
        self.hash_key = -1

    # -- the request's body, from the client

    def on_request_body(self, piece: bytes) -> None:
        self.body_bytes += len(piece)
        if self.body_bytes_max and self.body_bytes > self.body_bytes_max:
            self.cancel_upstream()
            self.fail(Failure(413, flags.BODY_TOO_LARGE, f"body of more than {self.body_bytes_max} octets"))
            return
        forward = self.forward
        if forward is None:
            self.held_body.append(piece)
            if self.body_bytes > self.path.http.buffer_bytes_max:
                self.connection.request_body_paused(True)
        elif not forward.write_body(piece):
            self.connection.request_body_paused(True)

    def on_request_end(self) -> None:
        if self.forward is not None:
            self.forward.end_body()

    def hand_over_body(self, forward: Forward) -> None:
        """Give a new `Forward` what has come of the body while there was none."""
        for piece in self.held_body:
            forward.write_body(piece)
        self.held_body = []
        if self.connection.body_complete:
            forward.body_done = True

    def on_request_writable(self) -> None:
        self.connection.request_body_paused(False)

    # -- ResponseSink: a response that goes straight from an upstream to this client

    def on_informational(self, head: ResponseHead) -> None:
        if self.head.minor == 1 and not self.answered:
            lines = [head.status_line]
            for field in head.fields:
                if not field.flags & (f.CONNECTION | f.HOP | f.CONTENT_LENGTH | f.TRANSFER_ENCODING):
                    lines.append(field.line)
            self.transport.write(_CRLF.join(lines) + b"\r\n\r\n")

    def on_response(self, head: ResponseHead) -> None:
        if self.over:
            return
        if self.forward is not None:
            self.upstream = self.forward.upstream
        if head.status == 101:
            self._switch_protocols(head)
            return
        if self.policy is not None:
            after_response(self.path, self.policy, self.head, head)
        self.send_response(head)

    def on_body(self, piece: bytes) -> None:
        if self.over:
            return
        if self.tunnel:
            self.connection.transport.write(piece)
        else:
            self.send_piece(piece)
        if self.connection.writing_paused and self.forward is not None:
            self.forward.pause()

    def on_flush(self) -> None:
        if self.over:
            return
        if self.pending:
            self.transport.write(self.pending)
            self.pending = b""

    def on_end(self, trailers: list[Field]) -> None:
        if not self.over:
            if self.tunnel:
                self.finish(False)
            else:
                self.send_end(trailers)

    def on_abort(self, failure: Failure) -> None:
        """The client must see that the response is not whole: no last chunk, and the connection is cut."""
        if self.over:
            return
        self.flag = failure.flag
        self.detail = failure.detail
        if self.policy is not None:
            self.policy.counters.aborted += 1
        self.on_flush()
        if self.head.minor == 0 and not self.why:
            # HTTP/1.0 may take an orderly end for the end of the body: reset instead.
            reset(self.connection.transport)
        self.finish(False)

    def on_failed(self, failure: Failure) -> None:
        if not self.over:
            self.fail(failure)

    # -- writing the response

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
            edits = self.plugin_edits(edits, head)
        self.pending = forward_response_head(
            head,
            self.path.headers,
            edits,
            self.own_fields(),
            framing,
            self.head.minor,
            self.keep,
            self.path.date(self.path.wall()),
        )
        self.answered = True

    def plugin_edits(self, edits: HeaderEdits | None, head: ResponseHead | None) -> HeaderEdits | None:
        """The route's edits with what plugins change of this response."""
        target = self.plan.target
        service = self.policy.cluster.name if self.policy is not None else ""
        route = target.route if target is not None else ""
        fields, dropped = self.path.plugins.on_response(self.head, self.connection.client, service, route, self.status, head)
        if not fields and not dropped:
            return edits
        own = HeaderEdits({}, {}, ())
        own.set_fields = fields
        own.dropped = dropped
        return edits.then(own) if edits is not None else own

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

    # -- tunnels

    def _switch_protocols(self, head: ResponseHead) -> None:
        if not self.head.upgrade or not self.connection.body_complete:
            self.cancel_upstream()
            self.fail(Failure(502, flags.UPSTREAM_PROTOCOL_ERROR, "the upstream switched protocols without being asked to"))
            return
        self.status = 101
        lines = [head.status_line]
        for field in head.fields:
            if not field.flags & (f.CONNECTION | f.CONTENT_LENGTH | f.TRANSFER_ENCODING):
                lines.append(field.line)
        lines.append(b"Connection: upgrade")
        self.open_tunnel(_CRLF.join(lines) + b"\r\n\r\n")

    def open_tunnel(self, raw: bytes) -> None:
        self.answered = True
        self.tunnel = True
        self.keep = False
        self.connection.transport.write(raw)
        self.connection.start_tunnel()

    def on_connected(self) -> None:
        """The tunnel that CONNECT asked for is there (RFC 9110 section 9.3.6)."""
        if not self.over:
            self.status = 200
            if self.forward is not None:
                self.upstream = self.forward.upstream
            self.open_tunnel(b"HTTP/1.1 200 Connection Established\r\n\r\n")

    def on_upstream_eof(self) -> None:
        """The upstream end of the tunnel sends no more; the client's direction may go on."""
        transport = self.connection.transport
        if self.tunnel and not self.over and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def on_tunnel_data(self, data: bytes) -> None:
        """Octets from the client."""
        forward = self.forward
        if forward is None or forward.winner is None or forward.winner.connection is None:
            return
        upstream = forward.winner.connection
        upstream.transport.write(data)
        forward.touch()
        if upstream.writing_paused:
            self.connection.request_body_paused(True)

    def on_tunnel_eof(self) -> None:
        """The client will send no more; the other direction may go on."""
        forward = self.forward
        if forward is not None and forward.winner is not None and forward.winner.connection is not None:
            transport = forward.winner.connection.transport
            if transport.can_write_eof() and not transport.is_closing():
                transport.write_eof()

    # -- flow control and the end

    def on_client_writable(self) -> None:
        if self.forward is not None:
            self.forward.resume()
        if self.source is not None:
            self.source.reader_ready(self)

    def on_client_gone(self) -> None:
        """The client closed or was cut. A fill goes on without it; a request of its own does not."""
        if self.over:
            return
        if not self.flag:
            self.flag = flags.DOWNSTREAM_CLOSED
        self.cancel_upstream()
        self.finish(False)

    def keep_deadline(self) -> None:
        """Fail at the client's deadline if nothing has been answered by then."""
        self.timer = self.path.loop.call_at(self.deadline, self._deadline_passed)

    def _deadline_passed(self) -> None:
        self.timer = None
        if not self.over and not self.answered:
            self.cancel_upstream()
            self.fail(Failure(504, flags.DEADLINE, "the client's deadline passed before the upstream answered"))

    def cancel_upstream(self) -> None:
        source = self.source
        if source is not None:
            self.source = None
            source.reader_left(self)
        forward = self.forward
        if forward is not None:
            self.forward = None
            forward.cancel()

    def finish(self, keep: bool) -> None:
        """The exchange is over: count it, log it, and hand the connection back."""
        if self.over:
            return
        self.over = True
        if self.timer is not None:
            self.timer.cancel()
        path = self.path
        elapsed = perf_counter() - self.started
        policy = self.policy
        books = policy.counters if policy is not None else path.none
        if self.counted:
            books.in_flight -= 1
            path.in_flight -= 1
        status = self.status if self.status else 499
        books.record(self.outcome, status if status < 600 else 599, elapsed)
        if self.flag:
            books.flag(self.flag)
        if path.access_log is not None:
            path.access_log.record(self, elapsed)
        if self.trace is not None:
            self.tell_story(elapsed, keep)
        source = self.source
        if source is not None:
            self.source = None
            source.reader_left(self)
        if self.next_waiter is not None:
            gate = self.next_waiter
            self.next_waiter = None
            gate.released()
        self.connection.exchange_done(keep)

    # -- why

    def answer_why(self) -> None:
        """The client asked why: it gets the explanation in place of the response, which is read and dropped."""
        self.why = True
        self.trace = []
        self.transport = Mute()

    def tell_story(self, elapsed: float, keep: bool) -> None:
        """Remember what an explanation needs (`agent.proxy.explain`), and nothing as large as a body; answer who asked."""
        path = self.path
        story = (
            self.head,
            self.gate.table,
            self.request_id,
            self.policy.cluster.name if self.policy is not None else "",
            self.status,
            self.outcome,
            self.flag,
            self.detail,
            self.cache_status,
            self.upstream,
            self.started,
            elapsed,
            self.trace,
        )
        path.recent.append(story)
        if not self.why:
            return
        transport = self.connection.transport
        if not transport.is_closing():
            body: bytes = path.explain(path.agent_id, story)
            fields = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), (b"X-Pilotfish-Why", b"1")]
            transport.write(rescue.plain(200, fields, body, path.date(path.wall()), keep, self.head.method != b"HEAD"))
