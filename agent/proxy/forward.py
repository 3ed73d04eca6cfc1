"""A request on its way to an upstream: tries, retries and hedges, until one of them has a response head.

`Forward` decides, `Attempt` is one try on one endpoint. Before a response head has been handed to the sink everything can
still be tried again; after it, nothing is.
"""

from typing import Any, Final

from agent.core.http.body import LAST_CHUNK, encode_chunk
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead, ResponseHead
from agent.core.routing import endpoint as outcome
from agent.core.routing.cluster import ADMITTED, Cluster, reason_text
from agent.core.routing.deadline import with_less_time
from agent.core.routing.endpoint import Endpoint
from agent.proxy import limits
from agent.proxy.attempt import Attempt, Contest
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.pool import Pool
from agent.proxy.sink import Failure, ResponseSink
from agent.proxy.story import Story, note_admission, note_try
from agent.proxy.upstream import CLOSED, TUNNEL, UpstreamConnection

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_NO_TRAILERS: Final[list[Field]] = []


class Forward(Contest):
    """One request to one service."""

    def __init__(self, path: DataPath, policy: RoutePolicy, cluster: Cluster, sink: ResponseSink, head: RequestHead, wire: bytes) -> None:
        super().__init__(path, policy, sink)
        self.is_tunnel = head.method == b"CONNECT"
        self.cluster = cluster
        self.head = head
        self.wire = wire
        """The head as the upstream gets it."""
        self.retries = policy.retries
        self.priority = 5
        self.hash_key = -1
        self.started = 0.0
        self.attempt: Attempt | None = None
        self.hedge: Attempt | None = None
        self.tries = 0
        self.retry_slots = 0
        """Places in the retry budget that this request holds."""
        self.admitted = False
        self.over = False
        self.timer: Any = None
        """Of the next retry or hedge."""
        self.limit_timer: Any = None
        """Ends a wait for a connection at the deadline. (A request that has its connection is the wheel's.)"""
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.body_kept = True
        self.body_done = not head.has_body
        self.story: Story | None = None
        """Takes note of what is decided; None where nobody could ask."""
        self.upstream = ""

    # -- from the side that wants the response

    def start(self) -> None:
        now = self.path.now
        self.started = now
        self.clients_deadline = self.deadline > 0.0
        if self.policy.request_s > 0.0:
            limit = now + self.policy.request_s
            if self.deadline == 0.0 or limit < self.deadline:
                self.deadline = limit
                self.clients_deadline = False
        reason = self.cluster.admit(now, self.priority)
        if reason != ADMITTED:
            self.over = True
            flag, text = reason_text(reason)
            if self.story is not None:
                note_admission(self.story, self.cluster, now)
                self.story.note("refused", flag, text)
            self.sink.on_failed(Failure(503, flag, f"{self.cluster.name}: {text}", 1.0))
            return
        self.admitted = True
        if self.story is not None:
            note_admission(self.story, self.cluster, now)
        self._try(now, None, False)

    def write_body(self, piece: bytes) -> bool:
        """Some octets of the request body; False asks the caller to wait for `on_request_writable`."""
        if self.over:
            return True
        connection = self.attempt.connection if self.attempt is not None else None
        self.body_bytes += len(piece)
        if self.body_kept and (self.body_bytes <= self.retries.body_bytes_max or connection is None):
            self.body.append(piece)
        elif self.body_kept:
            self.body_kept = False
            self.body = []
        if connection is None or connection.state == CLOSED:
            return self.body_bytes <= self.path.http.buffer_bytes_max
        connection.transport.write(encode_chunk(piece) if self.head.chunked else piece)
        return not connection.writing_paused

    def end_body(self) -> None:
        """The request body is complete. (Trailers of a request are not passed on: RFC 9110 section 6.5.1 lets us.)"""
        self.body_done = True
        if self.over or self.attempt is None:
            return
        connection = self.attempt.connection
        if connection is not None and connection.user is self.attempt:
            if self.head.chunked:
                connection.transport.write(LAST_CHUNK)
            connection.request_sent = True
            limits.arm_response_limit(self, connection, self.path.clock())

    def pause(self) -> None:
        """Stop reading the response: its reader is slower."""
        winner = self.winner
        if winner is not None and winner.connection is not None and not winner.over:
            winner.connection.pause_reading()
            winner.connection.deadline = 0.0

    def resume(self) -> None:
        winner = self.winner
        if winner is not None and winner.connection is not None and not winner.over:
            connection = winner.connection
            connection.resume_reading()
            limits.arm_idle_limit(self, connection, self.path.clock())

    def on_progress(self, connection: UpstreamConnection) -> None:
        limits.arm_idle_limit(self, connection, self.path.clock())

    def touch(self) -> None:
        """Octets went through the tunnel: its idle limit begins anew."""
        winner = self.winner
        if winner is not None and winner.connection is not None and winner.connection.deadline > 0.0:
            winner.connection.deadline = self.path.clock() + self.path.client_timeouts.tunnel_idle

    def cancel(self) -> None:
        """Nobody wants the response any more."""
        if not self.over:
            now = self.path.clock()
            for attempt in (self.attempt, self.hedge):
                if attempt is not None:
                    attempt.abandon(now)
            self._conclude(now, outcome.CANCELLED)

    # -- tries

    def _try(self, now: float, avoid: Endpoint | None, hedge: bool, fresh: bool = False) -> None:
        endpoint = self.cluster.pick(now, self.hash_key, avoid)
        if endpoint is None:
            if not hedge:
                flag, text = self.cluster.explain_none(now)
                if self.story is not None:
                    self.story.note("no endpoint", flag, text, self.cluster.explain(now))
                self._fail(now, outcome.LOCAL, Failure(503, flag, text, 1.0))
            return
        self.tries += 1
        attempt = Attempt(self, endpoint, now, self.tries)
        if hedge:
            self.hedge = attempt
        else:
            self.attempt = attempt
        if self.story is not None:
            note_try(self.story, self.cluster, endpoint, self.tries, now, hedge)
        endpoint.begin(now)
        pool = endpoint.pool
        if pool is None:
            pool = self.path.make_pool(self.cluster, endpoint)
        assert isinstance(pool, Pool)
        if self.tries == 1 and self.policy.hedge_enabled and self.head.method in (b"GET", b"HEAD"):
            delay_s = self.cluster.hedge_delay(now)
            if delay_s > 0.0:
                self.timer = self.path.loop.call_later(delay_s, self._start_hedge)
        pool.acquire(attempt, fresh or self.head.method == b"CONNECT")
        if attempt.connection is None and self.deadline > 0.0 and not self.over and self.limit_timer is None:
            self.limit_timer = self.path.loop.call_at(self.deadline, self._no_connection_in_time)

    def on_connected(self, attempt: Attempt, connection: UpstreamConnection) -> None:
        """A try has its connection: write what there is of the request."""
        head = self.head
        attempt.sent = True
        connection.begin(attempt, head.method)
        connection.may_switch = head.upgrade != b"" and self.body_done
        if head.method == b"CONNECT":
            self._open_tunnel(attempt, connection)
            return
        transport = connection.transport
        wire = self.wire if attempt.number == 1 else with_less_time(self.wire, self.path.now - self.started)
        if not head.has_body:
            transport.write(wire)
        else:
            pieces = [wire]
            for piece in self.body:
                pieces.append(encode_chunk(piece) if head.chunked else piece)
            if self.body_done and head.chunked:
                pieces.append(LAST_CHUNK)
            connection.send(pieces, self.body_bytes)
            connection.request_sent = self.body_done
            if self.body_bytes > self.retries.body_bytes_max:
                self.body_kept = False
                self.body = []
            if not self.body_done:
                if self.deadline > 0.0:
                    connection.limit_reason = limits.REQUEST
                    self.path.wheel.arm(connection, self.deadline)
                self.sink.on_request_writable()
                return
        limits.arm_response_limit(self, connection, self.path.clock())

    def _no_connection_in_time(self) -> None:
        self.limit_timer = None
        if self.over or self.winner is not None:
            return
        for attempt in (self.attempt, self.hedge):
            if attempt is not None and not attempt.over and attempt.connection is not None:
                return
        now = self.path.clock()
        for attempt in (self.attempt, self.hedge):
            if attempt is not None:
                attempt.abandon(now)
        self._fail(now, outcome.LOCAL, Failure(504, limits.late_flag(self), limits.WAIT))

    def _open_tunnel(self, attempt: Attempt, connection: UpstreamConnection) -> None:
        now = self.path.clock()
        attempt.head_latency_s = now - attempt.started
        connection.state = TUNNEL
        self.winner = attempt
        self.upstream = attempt.endpoint.address
        limits.arm_idle_limit(self, connection, now)
        self.sink.on_connected()
        if not self.over:
            connection.begin_tunnel()

    def _start_hedge(self) -> None:
        self.timer = None
        now = self.path.clock()
        if self.over or self.winner is not None or self.attempt is None or not self.body_done:
            return
        if not self.cluster.budget.try_start():
            self._note("hedge refused", "retry budget spent")
            return
        self.retry_slots += 1
        self.policy.counters.hedges += 1
        self._try(now, self.attempt.endpoint, True)

    def on_informational(self, attempt: Attempt, head: ResponseHead) -> None:
        if self.winner is None and self.hedge is None:
            self.sink.on_informational(head)

    def on_head(self, attempt: Attempt, head: ResponseHead) -> None:
        """A try has a response head: pass it on, or try again."""
        now = self.path.clock()
        latency = now - attempt.started
        attempt.head_latency_s = latency
        status = head.status
        if status >= 500:
            attempt.code = outcome.GATEWAY_ERROR if 502 <= status <= 504 else outcome.SERVER_ERROR
            if status == 503:
                attempt.retry_after_s = self.path.retry_after_s(head)
        elif status == 429:
            attempt.code = outcome.OVERLOADED
            attempt.retry_after_s = self.path.retry_after_s(head)
        if self.path.plugins.upstream_hooks:
            self.path.plugins.upstream_result(self.cluster.name, attempt.endpoint.address, attempt.code, latency, attempt.number)
        if status >= 409 and self.policy.retries_status(status) and self._give_up(attempt, now, status):
            return
        self.winner = attempt
        self.upstream = attempt.endpoint.address
        loser = self.hedge if attempt is self.attempt else self.attempt
        if loser is not None:
            loser.abandon(now)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if status == 101 and attempt.connection is not None:
            limits.arm_idle_limit(self, attempt.connection, now)
        story = self.story
        if story is not None:
            story.answered_at = now
            story.answered_by = self.upstream
            story.answered_status = status
            story.answered_try = attempt.number
        self.sink.on_response(head)

    def _give_up(self, attempt: Attempt, now: float, status: int) -> bool:
        """Drop a response that is to be retried. False where it is the best there will be."""
        twin = self.hedge if attempt is self.attempt else self.attempt
        waits = twin is not None and not twin.over
        if not waits:
            if attempt.retry_after_s > 0.0 and not self.cluster.has_other(attempt.endpoint, now):
                return False  # asked to wait, and there is nobody else to ask
            if not self._may_retry(attempt, now, attempt.code):
                return False
        self._note("response discarded", attempt.endpoint.address, status)
        connection = attempt.connection
        attempt.finish(now, attempt.code)
        if connection is not None:
            connection.close()
        if not waits:
            self._retry(attempt, now)
        return True

    def on_try_end(self, attempt: Attempt, trailers: list[Field]) -> None:
        now = self.path.clock()
        attempt.finish(now, attempt.code)
        if self.winner is attempt and not self.over:
            self._conclude(now, attempt.code)
            self.sink.on_end(trailers)

    def on_try_failed(self, attempt: Attempt, code: int, detail: str) -> None:
        """A try ended without a whole response."""
        now = self.path.clock()
        # A kept connection that its upstream had just closed says nothing about the upstream.
        stale = attempt.reused and code == outcome.RESET and attempt.head_latency_s < 0.0
        attempt.finish(now, outcome.CANCELLED if stale else code)
        if self.over:
            return
        self._note("try failed", attempt.endpoint.address, outcome.NAMES[code], detail)
        if self.winner is attempt:
            self._conclude(now, code)
            self.sink.on_abort(Failure(502, limits.flag_of(code), detail))
            return
        if self.winner is not None:
            return
        if self.path.plugins.upstream_hooks:
            self.path.plugins.upstream_result(self.cluster.name, attempt.endpoint.address, code, now - attempt.started, attempt.number)
        other = self.hedge if attempt is self.attempt else self.attempt
        if other is not None and not other.over:
            return  # its twin is still under way
        if stale and self.head.method in IDEMPOTENT and self.body_kept:
            self.tries -= 1
            self._try(now, None, False, True)
            return
        if self.policy.retries_outcome(code) and self._may_retry(attempt, now, code):
            self._retry(attempt, now)
            return
        self._fail(now, code, limits.failure_of(self, code, detail))

    def _may_retry(self, attempt: Attempt, now: float, code: int) -> bool:
        if self.over or self.tries > self.retries.attempts or (self.deadline > 0.0 and now >= self.deadline):
            return False
        if attempt.sent and (self.head.method not in IDEMPOTENT or not self.body_kept):
            return False
        if not attempt.sent and self.body_bytes and not self.body_kept:
            return False
        if not self.cluster.budget.try_start():
            self.policy.counters.retries_over_budget += 1
            self._note("retry refused", "retry budget spent")
            return False
        self.retry_slots += 1
        return True

    def _retry(self, attempt: Attempt, now: float) -> None:
        self.policy.counters.retries += 1
        if self.timer is not None:
            self.timer.cancel()
        delay_s = self.cluster.backoff(self.retries, self.tries)
        if self.deadline > 0.0:
            delay_s = min(delay_s, self.deadline - now)
        self._note("retry", round(delay_s * 1000, 3))
        avoid = attempt.endpoint
        self.timer = self.path.loop.call_later(delay_s, self._retry_now, avoid)

    def _retry_now(self, avoid: Endpoint) -> None:
        self.timer = None
        if not self.over:
            self._try(self.path.clock(), avoid, False)

    # -- the end

    def _fail(self, now: float, code: int, failure: Failure) -> None:
        self._conclude(now, code)
        self.sink.on_failed(failure)

    def _conclude(self, now: float, code: int) -> None:
        self.over = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.limit_timer is not None:
            self.limit_timer.cancel()
            self.limit_timer = None
        while self.retry_slots:
            self.retry_slots -= 1
            self.cluster.budget.finish()
        if self.admitted:
            self.admitted = False
            winner = self.winner
            latency = winner.head_latency_s if winner is not None else now - self.started
            self.cluster.done(now, latency, code)
        self.body = []
        # What holds each other is let go of here, so that counting references frees it all without the collector.
        self.attempt = None
        self.hedge = None
        self.winner = None

    def _note(self, step: str, *details: Any) -> None:
        if self.story is not None:
            self.story.note(step, *details)
