"""Values of Cache-Status (RFC 9211)."""

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
