"""The whole contract with plugins: what they see, what they may answer, and when they are asked.

A plugin is a subclass of `Plugin` that overrides the hooks it wants; the data path pays for no others. Hooks are plain
functions that return at once. What takes longer goes to `Context.background`. See docs/plugins.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qsl

from msgspec import Struct

from agent.core.http import fields as _f
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead
from agent.core.units import Count, Duration, Positive, Share, Size

__all__ = [
    "HOOKS",
    "REQUEST_RESERVED",
    "RESPONSE_RESERVED",
    "Answer",
    "CacheStoreView",
    "Context",
    "Count",
    "Duration",
    "NoConfig",
    "Plugin",
    "Positive",
    "RequestChanges",
    "RequestView",
    "ResponseChanges",
    "ResponseView",
    "Scope",
    "Share",
    "Size",
    "UpstreamResult",
    "any_path",
]

_FRAMING = _f.CONTENT_LENGTH | _f.TRANSFER_ENCODING | _f.CONNECTION | _f.HOP | _f.TRAILER
_REQUEST = _FRAMING | _f.HOST | _f.EXPECT | _f.RANGE | _f.CONDITIONAL | _f.FORWARDED | _f.VIA | _f.DEADLINE | _f.WHY
_RESPONSE = _FRAMING | _f.VIA | _f.CACHE_STATUS | _f.AGE | _f.DATE

REQUEST_RESERVED: Final = frozenset(name.decode("ascii") for name, flag in _f.FLAGS.items() if flag & _REQUEST)
"""Request fields (lower-case) that no plugin may set, because the agent writes them itself: framing, routing, conditions and
forwarding depend on them."""
RESPONSE_RESERVED: Final = frozenset(name.decode("ascii") for name, flag in _f.FLAGS.items() if flag & _RESPONSE)
"""The same for responses."""


class Answer(Struct, frozen=True):
    """A response in place of what would have come: returned by `on_request`."""

    status: int
    """200 to 599."""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    reason: str = ""
    """For the access log and explanations."""


class RequestChanges(Struct, frozen=True):
    """What `on_request` may change of a request on its way. Later plugins, the cache (Vary, Authorization) and the upstream all
    see the request as changed; the route was matched before."""

    set_headers: Mapping[str, str] = {}
    """Fields in the place of the client's of the same names."""
    remove_headers: tuple[str, ...] = ()
    service: str = ""
    """Send it to this service instead of the route's."""
    cache_key: str = ""
    """Part of the cache key besides what the policy says: requests with different ones share no stored response."""
    body_bytes_max: int = 0
    """Refuse a body larger than this with 413; 0 leaves the agent's own bound. The smallest that any plugin asks for holds."""
    copy_body_bytes: int = -1
    """From 0 on: call `on_request_body` once the request's body has come whole, if it has at most so many octets."""


class ResponseChanges(Struct, frozen=True):
    """What `on_response` may change of a response on its way to the client (what is stored stays as it came)."""

    set_headers: Mapping[str, str] = {}
    remove_headers: tuple[str, ...] = ()


class RequestView(Struct, frozen=True, eq=False):
    """A request as plugins see it, with the changes of the plugins before. Read-only; cheap to make."""

    _head: RequestHead
    client: str
    """The client's address; empty on a Unix socket."""
    service: str
    """The service that claims the request; empty where none does."""
    route: str
    listener: str = "egress"
    """``egress``, ``ingress`` or ``transparent``."""

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
        """As it came: not decoded, dot segments not removed."""
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
        """All fields in order; names are lower-case."""
        return [(field.name.decode("latin-1"), field.value.decode("latin-1")) for field in self._head.fields]

    def cookie(self, name: str) -> str | None:
        """The value of a cookie; the first where there are several."""
        for line in self._head.all(b"cookie"):
            for pair in line.decode("latin-1").split(";"):
                key, _, value = pair.strip().partition("=")
                if key == name:
                    return value
        return None

    def query(self, name: str) -> str | None:
        """The value of a query parameter, decoded; the first where there are several, None where there is none."""
        _, _, text = self.target.partition("?")
        if name not in text and "%" not in text:
            return None
        return next((value for key, value in parse_qsl(text, keep_blank_values=True) if key == name), None)


class ResponseView(Struct, frozen=True, eq=False):
    """A response head as plugins see it."""

    _fields: list[Field]
    status: int
    cached: bool
    """It came from the store."""

    def header(self, name: str) -> str | None:
        """The value of a field, several lines joined by ", "; None where it is absent."""
        wanted = name.lower().encode("latin-1")
        found = [field.value.decode("latin-1") for field in self._fields if field.name == wanted]
        return ", ".join(found) if found else None

    def headers(self) -> list[tuple[str, str]]:
        """All fields in order; names are lower-case."""
        return [(field.name.decode("latin-1"), field.value.decode("latin-1")) for field in self._fields]


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


class Scope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests something applies to, for plugins' configurations: all that is named must match."""

    services: tuple[str, ...] = ()
    """Services that claim the request; empty: any."""
    paths: tuple[str, ...] = ()
    """Paths, ``/exact`` or ``/prefix*``; empty: any."""
    methods: tuple[str, ...] = ()
    """Methods, upper-case; empty: any."""

    def matches(self, request: RequestView) -> bool:
        return (
            (not self.services or request.service in self.services)
            and (not self.methods or request.method in self.methods)
            and (not self.paths or any_path(self.paths, request.path))
        )


def any_path(patterns: tuple[str, ...], path: str) -> bool:
    """Whether a path is one of ``/exact`` or ``/prefix*``."""
    return any(path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern for pattern in patterns)


class Context(Protocol):
    """What a plugin gets when it starts."""

    agent_id: str

    def background(self, work: Callable[..., Awaitable[None]], *args: Any) -> bool:
        """Run a coroutine function behind the requests. False where the plugin's queue is full: it is dropped and counted."""

    def send(self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Send a request to a service and forget it. False where it cannot be taken (counted): too many are under way, the
        service is not known, or it is no legal request."""

    def count(self, event: str, amount: int = 1) -> None:
        """Add to the counter ``pilotfish_plugin_events_total{plugin, event}``; a plugin has at most 32 of them."""

    def log(self, event: str, **details: Any) -> None:
        """A line in the agent's log, under the plugin's name."""


class NoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """For plugins that have nothing to configure."""


class Plugin:
    """Base class. Override what you need; a hook that is not overridden is never called."""

    Config: ClassVar[type[Struct]] = NoConfig
    """A msgspec struct: the type of the plugin's own configuration. Make it frozen and ``forbid_unknown_fields``."""

    def __init__(self, config: Any) -> None:
        """Raise ValueError to refuse a configuration that the types let through; begin the message with the field's path."""
        self.config = config

    def start(self, context: Context) -> None:
        """Before the first request. Raise to refuse to start."""

    def stop(self) -> None:
        """After the last request. Background work that waits is still done, for a moment."""

    def on_request(self, request: RequestView) -> Answer | RequestChanges | None:
        """A request has come, and its route is known; neither the cache nor an upstream has been asked."""

    def on_request_body(self, request: RequestView, body: bytes | None) -> None:
        """The body of a request for which `on_request` set `copy_body_bytes` has come whole; None where it was larger."""

    def on_route(self, request: RequestView) -> str | None:
        """Name another service for the request. Asked after `on_request`, if nothing has answered or named one; the first name
        holds."""

    def on_response(self, request: RequestView, response: ResponseView) -> ResponseChanges | None:
        """A response is about to go to the client. Not asked about those that the agent itself made."""

    def on_upstream_result(self, result: UpstreamResult) -> None:
        """A try at an endpoint has ended."""

    def on_cache_store(self, store: CacheStoreView) -> bool | None:
        """A response is about to be stored; False keeps it out."""

    def on_tick(self, now: float) -> None:
        """About once a second; `now` is monotonic seconds."""


HOOKS = ("on_request", "on_request_body", "on_route", "on_response", "on_upstream_result", "on_cache_store", "on_tick")
