"""Refuses requests whose body is too large, by route: at once where Content-Length says so, else as soon as it has come.

The agent's own bound (`http.body_bytes_max`) holds for all requests; this one is for those that should stay far below it.
"""

from msgspec import Struct

from agent.hooks import Plugin, RequestChanges, RequestView, Scope, Size


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit for the requests that match."""

    match: Scope = Scope()
    bytes: Size
    """Largest body; at least 1."""


class BodyLimitConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of ``body_limit``."""

    limits: tuple[Limit, ...]
    """The first that matches holds."""


class BodyLimit(Plugin):
    """The plugin."""

    Config = BodyLimitConfig

    def __init__(self, config: BodyLimitConfig) -> None:
        super().__init__(config)
        for index, limit in enumerate(config.limits):
            if limit.bytes < 1:
                raise ValueError(f"limits[{index}].bytes: found {limit.bytes}, expected at least 1")

    def on_request(self, request: RequestView) -> RequestChanges | None:
        if request.content_length == 0:
            return None
        for limit in self.config.limits:
            if limit.match.matches(request):
                return RequestChanges(body_bytes_max=limit.bytes)
        return None
