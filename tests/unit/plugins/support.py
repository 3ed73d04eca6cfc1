"""What unit tests of plugins share."""

from typing import Any

import msgspec

from agent.app.config import PluginConfig
from agent.core.http.head import parse_request_head
from agent.hooks import Plugin, RequestView
from agent.hooks.testing import Recorder
from agent.proxy.plugin_load import build_plugin

__all__ = ["Recorder", "made", "view"]


def view(target: str = "/", *lines: str, method: str = "GET", service: str = "web", client: str = "127.0.0.1") -> RequestView:
    """A request with field lines as they stand."""
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *lines]) + "\r\n\r\n"
    return RequestView(parse_request_head(raw.encode("latin-1")), client, service, "", "egress")


def made(name: str, config: dict[str, Any], path: str = "") -> Any:
    """A plugin as the agent builds it. Raises PluginError."""
    plugin: Plugin = build_plugin(msgspec.convert({"name": name, "path": path, "config": config}, PluginConfig), "plugins[0]")
    return plugin
