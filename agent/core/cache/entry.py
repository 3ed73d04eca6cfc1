"""A stored response."""

from agent.core.cache.eviction.base import Node
from agent.core.http.fields import Field


class Entry(Node):
    """One stored response (RFC 9111 section 3), with everything about its use worked out once, when it was stored.

    Times are seconds of the wall clock (`time.time`); `size` is what it costs the process in bytes, set by the store. An
    entry is never changed while it is being sent, except for the
    slots of the eviction policy, `hits` and the memoised wire form; validation makes a new one that takes its place.
    """

    __slots__ = (
        "age_base",
        "asked_at",
        "body",
        "complete",
        "etag",
        "fields",
        "first",
        "fresh_until",
        "hits",
        "host",
        "key",
        "last",
        "last_modified",
        "length",
        "must_revalidate",
        "no_cache",
        "reason",
        "service",
        "stale_if_error_until",
        "stale_if_unreachable_until",
        "stale_while_revalidate_until",
        "status",
        "stored_at",
        "tags",
        "target",
        "variant",
        "vary",
        "wire",
        "wire_second",
    )

    def __init__(self, key: bytes, service: str, host: bytes, target: bytes, status: int, reason: bytes) -> None:
        super().__init__(hash(key), 0)
        self.key = key
        """Primary key: service, method class, host, target as the policy shapes them."""
        self.service = service
        self.host = host
        self.target = target
        self.status = status
        self.reason = reason
        self.fields: list[Field] = []
        """End-to-end fields as stored: no hop-by-hop ones, no Age, no Content-Length (`length` is the truth)."""
        self.body: list[bytes] = []
        self.length = 0
        """Octets of the body."""
        self.first = -1
        """Of a part (agent.core.cache.parts): the position of its first octet; -1 for a whole response."""
        self.last = -1
        self.complete = -1
        self.vary: tuple[bytes, ...] = ()
        """Lower-case names that Vary gave, sorted; with the configured key fields."""
        self.variant = b""
        """The request's normalised values of `vary`."""
        self.stored_at = 0.0
        self.asked_at = 0.0
        """When the upstream was asked for it, by the monotonic clock (`time.perf_counter`): purges that were missed are dated so
        (`CacheStore.mark_stale`)."""
        self.age_base = 0.0
        """Wall time at which the response's age was 0: age now is now - age_base (RFC 9111 section 4.2.3)."""
        self.fresh_until = 0.0
        self.stale_while_revalidate_until = 0.0
        self.stale_if_error_until = 0.0
        self.stale_if_unreachable_until = 0.0
        self.must_revalidate = False
        """must-revalidate, proxy-revalidate or s-maxage: never served stale."""
        self.no_cache = False
        """no-cache without field names: validated before each use."""
        self.etag = b""
        self.last_modified = b""
        self.tags: tuple[bytes, ...] = ()
        self.hits = 0
        self.wire = b""
        """The whole response as last written, and the second of wall time it was written in (its Age)."""
        self.wire_second = 0
