"""Whether a stored response answers a request (RFC 9111 section 4), each answer with the rule and section that gave it."""

from typing import Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.directives import ABSENT, INVALID, Directives, parse_cache_control
from agent.core.cache.entry import Entry
from agent.core.http import fields as f
from agent.core.http.head import RequestHead

HIT: Final = 0
HIT_STALE: Final = 1
"""Served now, validated behind the client's back (RFC 5861 section 3)."""
REVALIDATE: Final = 2


class Verdict:
    """A decision and where it is written."""

    __slots__ = ("kind", "rule", "section")

    def __init__(self, kind: int, rule: str, section: str) -> None:
        self.kind = kind
        self.rule = rule
        self.section = section


FRESH: Final = Verdict(HIT, "fresh", "RFC 9111 4.2")
MAX_STALE: Final = Verdict(HIT, "request-max-stale", "RFC 9111 5.2.1.2")
STALE_WHILE_REVALIDATE: Final = Verdict(HIT_STALE, "stale-while-revalidate", "RFC 5861 3")
EXPIRED: Final = Verdict(REVALIDATE, "expired", "RFC 9111 4.2")
NO_CACHE: Final = Verdict(REVALIDATE, "response-no-cache", "RFC 9111 5.2.2.4")
REQUEST_NO_CACHE: Final = Verdict(REVALIDATE, "request-no-cache", "RFC 9111 5.2.1.4")
REQUEST_MAX_AGE: Final = Verdict(REVALIDATE, "request-max-age", "RFC 9111 5.2.1.1")
REQUEST_MIN_FRESH: Final = Verdict(REVALIDATE, "request-min-fresh", "RFC 9111 5.2.1.3")
PRAGMA: Final = Verdict(REVALIDATE, "request-pragma", "RFC 9111 5.4")
MUST_REVALIDATE: Final = Verdict(REVALIDATE, "must-revalidate", "RFC 9111 5.2.2.2")

VERDICTS: Final = (
    FRESH,
    MAX_STALE,
    STALE_WHILE_REVALIDATE,
    EXPIRED,
    NO_CACHE,
    REQUEST_NO_CACHE,
    REQUEST_MAX_AGE,
    REQUEST_MIN_FRESH,
    PRAGMA,
    MUST_REVALIDATE,
)
"""Every verdict there is, for the documentation."""


def primary_key(service: str, head: RequestHead, policy: CachePolicy) -> bytes:
    """Service, authority and target, the query as the policy says. GET and HEAD share it (RFC 9111 section 2)."""
    return key_of(service, head.authority, head.target, policy)


def key_of(service: str, authority: bytes, target: bytes, policy: CachePolicy) -> bytes:
    """The primary key of a URL."""
    if policy.key_query != "whole":
        path, _, query = target.partition(b"?")
        if policy.key_query == "ignore" or not query:
            target = path
        else:
            target = path + b"?" + b"&".join(sorted(query.split(b"&")))
    return service.encode("utf-8") + b" " + authority + target


def may_lookup(head: RequestHead, policy: CachePolicy) -> bool:
    """Whether the cache has anything to do with the request: GET and HEAD without content."""
    return (head.method == b"GET" or head.method == b"HEAD") and not head.has_body and not head.upgrade


def evaluate(entry: Entry, head: RequestHead, now: float, policy: CachePolicy) -> Verdict:
    """May this stored response answer this request at `now` (wall seconds)?"""
    if head.flags & f.CACHE_CONTROL:
        return _by_request(entry, parse_cache_control(head.get(b"cache-control") or b""), now)
    if head.flags & f.PRAGMA and b"no-cache" in (head.get(b"pragma") or b"").lower():
        return PRAGMA
    if entry.no_cache:
        return NO_CACHE
    if now < entry.fresh_until:
        return FRESH
    return _stale(entry, now)


def _stale(entry: Entry, now: float) -> Verdict:
    if now < entry.stale_while_revalidate_until:
        return STALE_WHILE_REVALIDATE
    return MUST_REVALIDATE if entry.must_revalidate else EXPIRED


def _by_request(entry: Entry, wish: Directives, now: float) -> Verdict:
    if wish.no_cache:
        return REQUEST_NO_CACHE
    if entry.no_cache:
        return NO_CACHE
    if wish.max_age != ABSENT and now - entry.age_base >= max(wish.max_age, 0):
        staleness = now - entry.fresh_until
        if not (wish.max_stale > 0 and staleness <= wish.max_stale and not entry.must_revalidate and wish.max_age > 0):
            return REQUEST_MAX_AGE
    if wish.min_fresh != ABSENT and (wish.min_fresh == INVALID or entry.fresh_until - now < wish.min_fresh):
        return REQUEST_MIN_FRESH
    if now < entry.fresh_until:
        return FRESH
    if wish.max_stale != ABSENT and not entry.must_revalidate and now - entry.fresh_until <= wish.max_stale:
        return MAX_STALE
    return _stale(entry, now)


def only_if_cached(head: RequestHead) -> bool:
    """The client wants a stored response or none (RFC 9111 section 5.2.1.7)."""
    return parse_cache_control(head.get(b"cache-control") or b"").only_if_cached


def no_store(head: RequestHead) -> bool:
    """The client wants its response kept nowhere (RFC 9111 section 5.2.1.5), so nobody can wait for it."""
    return parse_cache_control(head.get(b"cache-control") or b"").no_store


def may_serve_stale_on_error(entry: Entry, head: RequestHead, now: float, answered: bool) -> bool:
    """Whether a stale response stands in for an upstream that failed (RFC 5861 section 4, RFC 9111 section 4.2.4). answered:
    it sent an error; otherwise there was no response at all."""
    if head.flags & f.CACHE_CONTROL:
        wish = parse_cache_control(head.get(b"cache-control") or b"")
        if wish.no_cache:
            return False
        if wish.stale_if_error > 0 and not entry.must_revalidate and now < entry.fresh_until + wish.stale_if_error:
            return True
    return now < entry.stale_if_error_until or (not answered and now < entry.stale_if_unreachable_until)
