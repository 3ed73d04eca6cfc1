"""Settings of the L1 cache: the store that all services share, and each service's or route's policy."""

from typing import Literal

from msgspec import Struct

from agent.core.units import Count, Duration, Positive, Size


class CacheStore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one store behind every service's cache."""

    size: Size = 64 * 1024 * 1024
    """Bytes that entries may take, counted with Python's overhead."""
    policy: Literal["s3fifo", "wtinylfu", "lru", "sieve"] = "s3fifo"
    """Which entry goes when room is needed."""
    object_bytes_max: Size = 8 * 1024 * 1024
    """A response larger than this is passed on and not stored."""


class TtlOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lifetime given by the operator in place of the origin's."""

    status: tuple[Positive, ...] = ()
    """Status codes it holds for; empty means every cacheable one."""
    ttl: Duration = 0.0
    """Seconds a response counts as fresh; 0 makes it stale at once (it can still be validated)."""


class CachePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a service or a route is cached (RFC 9111)."""

    enabled: bool = False
    """Whether the cache is used at all."""
    ttl: tuple[TtlOverride, ...] = ()
    """The first override that names the status wins over what the response says. ``no-store`` and ``private`` still hold."""
    ttl_default: Duration = 0.0
    """Freshness of a response that neither states nor implies one (no Last-Modified). 0 leaves it unfresh."""
    negative_ttl: Duration = 0.0
    """Freshness of 404, 405, 410, 414 and 501 that say nothing of their own. 0 leaves it to the heuristic rules."""
    stale_while_revalidate: Duration = 0.0
    """RFC 5861 window where the response states none."""
    stale_if_error: Duration = 0.0
    """RFC 5861 window where the response states none."""
    stale_if_unreachable: Duration = 60.0
    """How long past its freshness a response may be served while no answer at all can be had from the upstream, as RFC 9111
    section 4.2.4 lets a disconnected cache do where the response does not forbid it. An error that the upstream itself sends
    is `stale_if_error`'s."""
    heuristic: bool = True
    """Whether RFC 9111 section 4.2.2 may give freshness to a response that states none (10 % of its age)."""
    set_cookie: Literal["pass", "strip", "refuse"] = "refuse"
    """A response with Set-Cookie: stored whole when explicitly public or fresh (``pass``), stored without it (``strip``),
    or not stored (``refuse``)."""
    key_query: Literal["whole", "sorted", "ignore"] = "whole"
    """How the query is part of the key."""
    key_headers: tuple[str, ...] = ()
    """Request fields that are part of the key in addition to what Vary names."""
    vary_language: Literal["exact", "select"] = "exact"
    """Of responses that vary on Accept-Language: only those to requests that said the same (``exact``), or also one whose
    Content-Language is the language that the request prefers to all others (``select``)."""
    waiters_max: Count = 1024
    """Requests that may wait on one fill; one more goes to the upstream on its own."""
    wait_timeout: Duration = 30.0
    """How long a request waits on another's fill before it goes to the upstream on its own."""
    tag_headers: tuple[str, ...] = ("Surrogate-Key", "Cache-Tag")
    """Response fields whose words tag an entry for purging; ``Cache-Tag`` splits at commas, the rest at spaces."""
