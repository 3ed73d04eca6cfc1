"""The whole contract with plugins: what they see, what they may answer, and when they are asked.

A plugin is a subclass of `Plugin` that overrides the hooks it wants; the data path pays for no others. Hooks are plain
functions that return at once. What takes longer goes to `Context.background`. See docs/plugins.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from agent.core.http.head import RequestHead, ResponseHead


class Answer(Struct, frozen=True):
    """A response in place of what would have come: returned by `on_request`."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    reason: str = ""
    """For the access log and explanations."""


class RequestChanges(Struct, frozen=True):
    """What `on_request` may change of a request on its way."""

    set_headers: Mapping[str, str] = {}
    """Fields for the upstream, in the place of the client's of the same names."""
    remove_headers: tuple[str, ...] = ()
    service: str = ""
    """Send it to this service instead of the route's."""
    cache_key: str = ""
    """Part of the cache key besides what the policy says: requests with different ones share no stored response."""
    body_bytes_max: int = 0
    """Refuse a body larger than this with 413; 0 leaves the agent's own bound."""


class ResponseChanges(Struct, frozen=True):
    """What `on_response` may change of a response on its way to the client (what is stored stays as it came)."""

    set_headers: Mapping[str, str] = {}
    remove_headers: tuple[str, ...] = ()


class RequestView:
    """A request as plugins see it. Read-only; cheap to make."""

    __slots__ = ("_head", "client", "route", "service")

    def __init__(self, head: RequestHead, client: bytes, service: str, route: str) -> None:
        self._head = head
        self.client = client.decode("latin-1")
        """The client's address."""
        self.service = service
        """The service that the route names; empty where no route matched."""
        self.route = route

    @property
    def method(self) -> str:
        return self._head.method.decode("latin-1")

    @property
    def authority(self) -> str:
        """Host and port, lower-case."""
        return self._head.authority.decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query."""
        return self._head.target.decode("latin-1")

    @property
    def path(self) -> str:
        return self._head.path.decode("latin-1")

    @property
    def content_length(self) -> int:
        """Octets of the body; -1 where the request does not say (chunked), 0 without a body."""
        if self._head.chunked:
            return -1
        return max(self._head.content_length, 0)

    def header(self, name: str) -> str | None:
        """The value of a field, several lines joined by ", "; None where it is absent."""
        value = self._head.get(name.lower().encode("latin-1"))
        return value.decode("latin-1") if value is not None else None

    def headers(self) -> list[tuple[str, str]]:
        """All fields in order."""
        return [(field.name.decode("latin-1"), field.value.decode("latin-1")) for field in self._head.fields]

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""
        for line in self._head.all(b"cookie"):
            for pair in line.decode("latin-1").split(";"):
                key, _, value = pair.strip().partition("=")
                if key == name:
                    return value
        return None


class ResponseView:
    """A response head as plugins see it."""

    __slots__ = ("_head", "cached", "status")

    def __init__(self, status: int, head: ResponseHead | None, cached: bool) -> None:
        self.status = status
        self._head = head
        self.cached = cached
        """It came from the store."""

    def header(self, name: str) -> str | None:
        """The value of a field; None where it is absent."""
        if self._head is None:
            return None
        value = self._head.get(name.lower().encode("latin-1"))
        return value.decode("latin-1") if value is not None else None


class UpstreamResult(Struct, frozen=True):
    """How one try at an endpoint went."""

    service: str
    endpoint: str
    outcome: str
    """``ok``, ``server-error``, ``gateway-error``, ``connect-failure``, ``reset``, ``timeout`` or ``overloaded``."""
    latency_s: float
    """To the response head, or to the failure."""
    attempt: int
    """1 for the first try."""


class CacheStoreView(Struct, frozen=True):
    """A response about to be stored."""

    service: str
    host: str
    target: str
    status: int
    ttl_s: float


class Context(Protocol):
    """What a plugin gets when it starts."""

    agent_id: str

    def background(self, work: Callable[..., Awaitable[None]], *args: Any) -> bool:
        """Run a coroutine function behind the requests. False where the queue is full: it is dropped and counted."""

    def send(self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Send a request to a service and forget it. False where it cannot be taken."""

    def log(self, event: str, **details: Any) -> None:
        """A line in the agent's log, under the plugin's name."""


class NoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """For plugins that have nothing to configure."""


class Plugin:
    """Base class. Override what you need; a hook that is not overridden is never called."""

    Config: ClassVar[type[Struct]] = NoConfig
    """A msgspec struct: the type of the plugin's own configuration."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def start(self, context: Context) -> None:
        """Before the first request. Raise to refuse to start."""

    def stop(self) -> None:
        """After the last request."""

    def on_request(self, request: RequestView) -> Answer | RequestChanges | None:
        """A request has come, and its route is known."""

    def on_route(self, request: RequestView) -> str | None:
        """Name another service for the request."""

    def on_response(self, request: RequestView, response: ResponseView) -> ResponseChanges | None:
        """A response is about to go to the client."""

    def on_upstream_result(self, result: UpstreamResult) -> None:
        """A try at an endpoint has ended."""

    def on_cache_store(self, store: CacheStoreView) -> bool | None:
        """A response is about to be stored; False keeps it out."""

    def on_tick(self, now: float) -> None:
        """About once a second; `now` is monotonic seconds."""


HOOKS = ("on_request", "on_route", "on_response", "on_upstream_result", "on_cache_store", "on_tick")
