"""One request and its response, seen from the client's side."""

from typing import Any, Final

from agent.core.cache import cache_status
from agent.core.cache.entry import Entry
from agent.core.http import fields as f
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead, ResponseHead
from agent.proxy import flags, rescue
from agent.proxy.effects import after_pass, after_response
from agent.proxy.forward import Forward
from agent.proxy.gate import Plan
from agent.proxy.keeper import Keeper, keeper_of
from agent.proxy.reply import Downstream, Mute, Reply
from agent.proxy.sink import Failure, ResponseSink
from agent.proxy.story import Story
from agent.runtime.sockets import reset

_CRLF: Final = b"\r\n"


class Source(ResponseSink):
    """A sink that several exchanges read from: a fill of the cache."""

    def reader_ready(self, exchange: "Exchange") -> None:
        """The client takes more."""
        raise NotImplementedError

    def reader_left(self, exchange: "Exchange") -> None:
        """The client has gone."""
        raise NotImplementedError

    def on_request_writable(self) -> None:
        """A fill's request has no body."""

    def on_connected(self) -> None:
        """A fill is never a tunnel."""

    def on_upstream_eof(self) -> None:
        """A fill is never a tunnel."""


class Exchange(Reply):
    """From a parsed request head to the last octet of its response."""

    def __init__(self, connection: Downstream, head: RequestHead, plan: Plan, started: float) -> None:
        super().__init__(connection, head, plan)
        self.tunnel_ends = 0
        self.started = started
        self.forward: Forward | None = None
        self.source: Source | None = None
        self.reader_index = 0
        """The next piece of the source's body to be written."""
        self.entry: Entry | None = None
        self.tunnel = False
        self.story: Story | None = None
        """Takes note of what is decided; None where nobody could ask."""
        self.why = False
        self.body_copy: Any = None
        """Keeps the request's body for plugins (agent.proxy.changes)."""
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
        self.passing = b""
        """The flight's key, where the request did not make one because the key's responses were not to be shared lately."""
        self.fwd = b""
        """Why such a request went to the upstream, in the words of RFC 9211."""
        self.cache_suffix = b""
        """What a plugin adds to the cache key."""
        self.deadline = 0.0
        """Loop time by which the client wants its answer."""
        self.timer: Any = None
        self.epoch = 0
        """Of the store when the request was sent."""
        self.keeper: Keeper | None = None
        self.priority = 5
        self.hash_key = -1

    # -- the request's body, from the client

    def on_request_body(self, piece: bytes) -> None:
        self.body_bytes += len(piece)
        if self.body_bytes_max and self.body_bytes > self.body_bytes_max:
            self.cancel_upstream()
            self.fail(Failure(413, flags.BODY_TOO_LARGE, f"body of more than {self.body_bytes_max} octets"))
            return
        if self.body_copy is not None:
            self.body_copy.add(piece)
        forward = self.forward
        if forward is None:
            self.held_body.append(piece)
            if self.body_bytes > self.path.http.buffer_bytes_max:
                self.connection.request_body_paused(True)
        elif not forward.write_body(piece):
            self.connection.request_body_paused(True)

    def on_request_end(self) -> None:
        if self.body_copy is not None:
            self.body_copy.end()
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
        policy = self.policy
        if policy is not None and self.passing:
            self.cache_status = cache_status.forwarded(self.fwd, head.status, False, False)
            storage = after_pass(self.path, policy, self.head, head, self.passing)
            if self.story is not None:
                self.story.storage_at = self.path.now
                self.story.storage = storage
        elif policy is not None and policy.cache.enabled:
            keeper = keeper_of(self, policy, head, self.epoch, self.started, self.cache_suffix)
            after_response(self.path, policy, self.head, head, self.plan.key)
            if keeper is not None:
                keeper.epoch = self.path.store.epoch  # what the response itself made stale is not itself
                self.keeper = keeper
        self.send_response(head)

    def on_body(self, piece: bytes) -> None:
        if self.over:
            return
        if self.tunnel:
            self.connection.transport.write(piece)
        else:
            if self.keeper is not None:
                self.keeper.add(piece)
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
                if self.keeper is not None:
                    self.keeper.end()
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
        self._tunnel_ended(1)

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
        self._tunnel_ended(2)

    def _tunnel_ended(self, side: int) -> None:
        """One side (1 the upstream, 2 the client) sends no more. When both have ended nothing can move, so it is over."""
        self.tunnel_ends |= side
        forward = self.forward
        if self.tunnel_ends == 3 and forward is not None and forward.winner is not None and forward.winner.connection is not None:
            forward.winner.connection.transport.close()

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

    def withhold(self, failure: Failure) -> None:
        self.cancel_upstream()
        self.fail(failure)

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
        if self.keeper is not None:
            self.keeper.drop()
        path = self.path
        elapsed = path.clock() - self.started
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
        if self.story is not None:
            self.tell_story(self.story, elapsed, keep)
        self.forward = None
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
        self.story = Story(self.head, self.gate.table, self.started)
        self.story.in_full = True
        self.transport = Mute()

    def tell_story(self, story: Story, elapsed: float, keep: bool) -> None:
        """Remember what an explanation needs, and answer who asked for it."""
        path = self.path
        story.head = self.head
        story.request_id = self.request_id
        if self.policy is not None:
            story.service = self.policy.cluster.name
        story.status = self.status
        story.outcome = self.outcome
        story.flag = self.flag
        story.detail = self.detail
        story.cache_status = self.cache_status
        story.endpoint = self.upstream
        story.elapsed_s = elapsed
        path.recent.append(story)
        if not self.why:
            return
        transport = self.connection.transport
        if not transport.is_closing():
            body: bytes = path.explain(path.agent_id, story)
            fields = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), (b"X-Pilotfish-Why", b"1")]
            transport.write(rescue.plain(200, fields, body, path.date(path.wall()), keep, self.head.method != b"HEAD"))
