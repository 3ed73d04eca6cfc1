"""Copies a share of the requests to another service, whose answers nobody sees.

The copy is sent behind the request and never waited for; what cannot be sent at once is dropped and counted. The first plugin
in the list sees requests as they came, so put this one behind those whose changes the copy should have.
"""

import zlib

from msgspec import Struct

from agent.hooks import Context, Plugin, RequestChanges, RequestView, Scope, Share, Size

_TAKEN = 4_294_967_296


class Mirror(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests are copied, and to where."""

    match: Scope = Scope()
    to: str
    """The service that gets the copies."""
    share: Share = 1.0
    body_bytes_max: Size = 65_536
    """Requests with a larger body are not copied."""
    remove_headers: tuple[str, ...] = ()
    """Fields that the copy does not have, such as Authorization or Cookie."""


class MirrorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of ``mirror``."""

    mirrors: tuple[Mirror, ...]
    """The first that takes a request copies it."""
    mark: str = "X-Pilotfish-Mirror"
    """Field of the copies, with the id of this agent. A request that has it already is not copied again."""


class Mirroring(Plugin):
    """The plugin."""

    Config = MirrorConfig

    def __init__(self, config: MirrorConfig) -> None:
        super().__init__(config)
        for index, mirror in enumerate(config.mirrors):
            if mirror.to in mirror.match.services:
                raise ValueError(f"mirrors[{index}].to: found {mirror.to!r}, which is one of the services that are copied")
        self._context: Context | None = None
        self._number = 0

    def start(self, context: Context) -> None:
        self._context = context

    def on_request(self, request: RequestView) -> RequestChanges | None:
        mirror = self._mirror_of(request)
        if mirror is None or request.header(self.config.mark) is not None or request.method == "CONNECT":
            return None
        self._number += 1
        if mirror.share < 1.0 and zlib.crc32(b"%d" % self._number) >= mirror.share * _TAKEN:
            return None
        if request.content_length > mirror.body_bytes_max:
            self._count("too_large")
            return None
        return RequestChanges(copy_body_bytes=mirror.body_bytes_max)

    def on_request_body(self, request: RequestView, body: bytes | None) -> None:
        mirror = self._mirror_of(request)
        if mirror is None:
            return
        if body is None:
            self._count("too_large")
            return
        headers: dict[str, str] = {}
        left_out = {name.lower() for name in mirror.remove_headers}
        for name, value in request.headers():
            if name not in left_out:
                joint = "; " if name == "cookie" else ", "
                headers[name] = headers[name] + joint + value if name in headers else value
        headers["host"] = request.authority
        context = self._context
        if context is not None:
            headers[self.config.mark.lower()] = context.agent_id
            sent = context.send(mirror.to, request.method, request.target, headers, body)
            self._count("sent" if sent else "dropped")

    def _mirror_of(self, request: RequestView) -> Mirror | None:
        for mirror in self.config.mirrors:
            if request.service != mirror.to and mirror.match.matches(request):
                return mirror  # type: ignore[no-any-return]
        return None

    def _count(self, event: str) -> None:
        if self._context is not None:
            self._context.count(event)
