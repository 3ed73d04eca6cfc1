"""What unit tests of plugins share."""

from typing import Any

import msgspec

from agent.app.config import PluginConfig
from agent.core.http.head import parse_request_head
from agent.hooks import Plugin, RequestView
from agent.proxy.plugin_load import build_plugin


def view(
    target: str = "/", *lines: str, method: str = "GET", service: str = "web", client: str = "127.0.0.1", listener: str = "egress"
) -> RequestView:
    """A request as plugins see it."""
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *lines]) + "\r\n\r\n"
    return RequestView(parse_request_head(raw.encode("latin-1")), client, service, "", listener)


def made(name: str, config: dict[str, Any], path: str = "") -> Any:
    """A plugin as the agent builds it. Raises PluginError."""
    plugin: Plugin = build_plugin(msgspec.convert({"name": name, "path": path, "config": config}, PluginConfig), "plugins[0]")
    return plugin


class Recorder:
    """A context that keeps what a plugin does with it."""

    agent_id = "test"

    def __init__(self, taken: bool = True) -> None:
        self.taken = taken
        self.sent: list[tuple[str, str, str, dict[str, str], bytes]] = []
        self.counts: dict[str, int] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def background(self, work: Any, *args: Any) -> bool:
        return self.taken

    def send(self, service: str, method: str, target: str, headers: Any, body: bytes) -> bool:
        if self.taken:
            self.sent.append((service, method, target, dict(headers), body))
        return self.taken

    def count(self, event: str, amount: int = 1) -> None:
        self.counts[event] = self.counts.get(event, 0) + amount

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))
