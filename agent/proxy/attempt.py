"""One try of a request on one endpoint."""

from typing import Any

from agent.core.http.fields import Field
from agent.core.http.head import ResponseHead
from agent.core.routing import endpoint as outcome
from agent.core.routing.endpoint import Endpoint
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.sink import ResponseSink
from agent.proxy.upstream import Try, UpstreamConnection


class Contest:
    """What tries and their time limits know of the request that they are tries of (`agent.proxy.forward.Forward`)."""

    def __init__(self, path: DataPath, policy: RoutePolicy, sink: ResponseSink) -> None:
        self.path = path
        self.policy = policy
        self.sink = sink
        self.winner: Attempt | None = None
        self.deadline = 0.0
        """Loop time by which the response head must be there: the client's own deadline, or the configured limit if that is
        sooner."""
        self.clients_deadline = False
        self.is_tunnel = False
        """Whether the request is a CONNECT."""

    def on_connected(self, attempt: "Attempt", connection: UpstreamConnection) -> None:
        """A try has its connection."""
        raise NotImplementedError

    def on_informational(self, attempt: "Attempt", head: ResponseHead) -> None:
        """A try has a 1xx response."""
        raise NotImplementedError

    def on_head(self, attempt: "Attempt", head: ResponseHead) -> None:
        """A try has a response head."""
        raise NotImplementedError

    def on_progress(self, connection: UpstreamConnection) -> None:
        """Some of the response has come, and more is to come."""
        raise NotImplementedError

    def on_try_end(self, attempt: "Attempt", trailers: list[Field]) -> None:
        """A try has its whole response."""
        raise NotImplementedError

    def on_try_failed(self, attempt: "Attempt", code: int, detail: str) -> None:
        """A try ended without a whole response."""
        raise NotImplementedError


class Attempt(Try):
    """One try on one endpoint."""

    def __init__(self, forward: Contest, endpoint: Endpoint, started: float, number: int) -> None:
        self.forward = forward
        self.endpoint = endpoint
        self.started = started
        self.number = number
        self.connection: UpstreamConnection | None = None
        self.head_latency_s = -1.0
        self.code = outcome.OK
        self.retry_after_s = 0.0
        self.sent = False
        """Whether any byte of the request has been written."""
        self.reused = False
        self.over = False

    def finish(self, now: float, code: int) -> None:
        """Tell the endpoint how it went, once."""
        if not self.over:
            self.over = True
            latency = self.head_latency_s if self.head_latency_s >= 0.0 else now - self.started
            self.endpoint.finish(now, latency, code, self.retry_after_s)

    def abandon(self, now: float) -> None:
        """The answer is no longer wanted."""
        if self.over:
            return
        connection = self.connection
        if connection is not None:
            if connection.user is self:
                connection.close()
        else:
            pool: Any = self.endpoint.pool
            pool.forget(self)
        self.finish(now, outcome.CANCELLED if self.head_latency_s < 0.0 else self.code)

    # -- Try

    def wants_tunnel(self) -> bool:
        return self.forward.is_tunnel

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self.over:
            if connection.held:
                connection.close()
            else:
                connection.home.on_free(connection)
            return
        self.connection = connection
        self.reused = connection.requests > 0
        self.forward.on_connected(self, connection)

    def on_unreachable(self, code: int, detail: str) -> None:
        if not self.over:
            self.forward.on_try_failed(self, code, detail)

    def on_informational(self, head: ResponseHead) -> None:
        self.forward.on_informational(self, head)

    def on_head(self, head: ResponseHead) -> None:
        self.forward.on_head(self, head)

    def on_body(self, piece: bytes) -> None:
        forward = self.forward
        if forward.winner is self:
            forward.sink.on_body(piece)

    def on_flush(self) -> None:
        forward = self.forward
        if forward.winner is self:
            connection = self.connection
            if connection is not None and not connection.reading_paused:
                forward.on_progress(connection)
            forward.sink.on_flush()

    def on_end(self, trailers: list[Field]) -> None:
        self.forward.on_try_end(self, trailers)

    def on_broken(self, code: int, detail: str) -> None:
        if not self.over:
            self.forward.on_try_failed(self, code, detail)

    def on_writable(self) -> None:
        self.forward.sink.on_request_writable()

    def on_tunnel_data(self, data: bytes) -> None:
        self.forward.sink.on_body(data)

    def on_tunnel_eof(self) -> None:
        self.forward.sink.on_upstream_eof()
