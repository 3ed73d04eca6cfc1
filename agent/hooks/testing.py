"""What a plugin's own tests need: requests and responses as the agent would show them, and a context that remembers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from agent.core.http.head import parse_request_head, parse_response_head
from agent.core.units import with_numbers
from agent.hooks import Plugin, RequestView, ResponseView

P = TypeVar("P", bound=Plugin)


def configured(plugin: type[P], config: Mapping[str, Any] | None = None) -> P:
    """The plugin with a configuration as the YAML file has it (``64KiB``, ``10s``, ``20%``). Raises msgspec.ValidationError, or
    what the plugin itself raises."""
    return plugin(msgspec.convert(with_numbers(dict(config or {}), plugin.Config), plugin.Config))


def request(
    target: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    host: str = "test",
    client: str = "127.0.0.1",
    service: str = "web",
    route: str = "",
    listener: str = "egress",
) -> RequestView:
    """A request. Raises agent.core.http.errors.BadMessage where it is none."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    head = parse_request_head("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    return RequestView(head, client, service, route, listener)


def response(status: int = 200, headers: Mapping[str, str] | None = None, *, cached: bool = False) -> ResponseView:
    """A response to a GET."""
    lines = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    head = parse_response_head("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", b"GET")
    return ResponseView(head.fields, status, cached)


class Recorder:
    """`agent.hooks.Context` that keeps what a plugin does with it. taken: what `send` and `background` answer."""

    def __init__(self, agent_id: str = "test", taken: bool = True) -> None:
        self.agent_id = agent_id
        self.taken = taken
        self.sent: list[tuple[str, str, str, dict[str, str], bytes]] = []
        self.work: list[Awaitable[None]] = []
        """Coroutines handed to `background`, to be awaited by the test."""
        self.counts: dict[str, int] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def background(self, work: Callable[..., Awaitable[None]], *args: Any) -> bool:
        if self.taken:
            self.work.append(work(*args))
        return self.taken

    def send(self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        if self.taken:
            self.sent.append((service, method, target, dict(headers), body))
        return self.taken

    def count(self, event: str, amount: int = 1) -> None:
        self.counts[event] = self.counts.get(event, 0) + amount

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))
