"""Sends some requests to another service: by a header, by a cookie, or a sticky share of callers.

Routes can split requests by weight too (`services.*.routes[].split`); here the same caller always gets the same side, and who
wants to can ask for one.
"""

import zlib

from msgspec import Struct

from agent.hooks import Context, Plugin, RequestView, Scope, Share

_BUCKETS = 1_000_000


class Canary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service and who is sent to it. A header or cookie that decides comes before the share."""

    match: Scope = Scope()
    """Requests that it is about, by the service that claims them."""
    to: str
    """The service to send them to."""
    header: str = ""
    """Field that decides: its value is one of `values` (to the canary) or of `never`."""
    cookie: str = ""
    """Cookie that decides in the same way."""
    values: tuple[str, ...] = ("always", "1", "true")
    never: tuple[str, ...] = ("never", "0", "false")
    share: Share = 0.0
    """Share of the rest, as ``5%`` or ``0.05``. Who is in at 5% stays in at 10%."""
    sticky: str = "client"
    """What a caller is known by: ``client`` (address), ``header:NAME`` or ``cookie:NAME``; a caller without that header or cookie
    is known by its address."""
    salt: str = ""
    """Makes another choice of callers; the name of the service where empty."""


class CanaryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of ``canary``."""

    canaries: tuple[Canary, ...]
    """The first that takes a request decides."""


class CanaryRelease(Plugin):
    """The plugin."""

    Config = CanaryConfig

    def __init__(self, config: CanaryConfig) -> None:
        super().__init__(config)
        for index, canary in enumerate(config.canaries):
            kind, colon, name = canary.sticky.partition(":")
            if not ((kind == "client" and not colon) or (kind in ("header", "cookie") and name)):
                raise ValueError(f"canaries[{index}].sticky: found {canary.sticky!r}, expected client, header:NAME or cookie:NAME")
        self._context: Context | None = None

    def start(self, context: Context) -> None:
        self._context = context

    def on_route(self, request: RequestView) -> str | None:
        for canary in self.config.canaries:
            if canary.match.matches(request) and _chosen(canary, request):
                if self._context is not None:
                    self._context.count("to_" + canary.to)
                return str(canary.to)
        return None


def _chosen(canary: Canary, request: RequestView) -> bool:
    asked = request.header(canary.header) if canary.header else None
    if asked is None and canary.cookie:
        asked = request.cookie(canary.cookie)
    if asked in canary.values:
        return True
    if asked in canary.never or canary.share <= 0.0:
        return False
    return bucket(canary, request) < canary.share * _BUCKETS


def bucket(canary: Canary, request: RequestView) -> int:
    """The caller's place, 0 up to a million: the same for the same caller, evenly spread."""
    kind, _, name = canary.sticky.partition(":")
    known = request.header(name) if kind == "header" else request.cookie(name) if kind == "cookie" else None
    text = f"{canary.salt or canary.to}\x00{known if known is not None else request.client}"
    return zlib.crc32(text.encode("utf-8", "surrogateescape")) % _BUCKETS
