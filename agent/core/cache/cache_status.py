"""Values of Cache-Status (RFC 9211)."""

from typing import Final

from agent.core.cache.entry import Entry

NAME = b"pilotfish"


def hit(entry: Entry, now: float) -> bytes:
    """Answered from the store; a negative ttl says how stale."""
    return b"%b; hit; ttl=%d" % (NAME, int(entry.fresh_until - now))


def stale(entry: Entry, now: float, status: int) -> bytes:
    """A stale response in place of an upstream's failure."""
    return b"%b; hit; ttl=%d; fwd=stale; fwd-status=%d" % (NAME, int(entry.fresh_until - now), status)


def forwarded(why: bytes, status: int, stored: bool, joined: bool) -> bytes:
    """The request went to the upstream. status: what came back, 0 while unknown."""
    key = status << 2 | stored << 1 | joined
    values = _forwarded.setdefault(why, {})
    value = values.get(key)
    if value is None:
        value = _make_forwarded(why, status, stored, joined)
        if len(values) < VALUES_MAX:
            values[key] = value
    return value


VALUES_MAX: Final = 256
_forwarded: Final[dict[bytes, dict[int, bytes]]] = {}
"""By reason (a few constants), then by the rest."""


def _make_forwarded(why: bytes, status: int, stored: bool, joined: bool) -> bytes:
    value = NAME + b"; fwd=" + why
    if status:
        value += b"; fwd-status=%d" % status
    if stored:
        value += b"; stored"
    if joined:
        value += b"; collapsed"
    return value


def collapsed(value: bytes) -> bytes:
    """The same for a request that waited on another's."""
    return value + b"; collapsed"


def not_forwarded(detail: bytes) -> bytes:
    """Neither answered from the store nor sent on."""
    return NAME + b"; detail=" + detail
