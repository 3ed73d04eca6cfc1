"""Whether a response is stored, and as what (RFC 9111 section 3)."""

from typing import Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.directives import Directives, parse_cache_control, parse_targeted
from agent.core.cache.entry import Entry
from agent.core.cache.freshness import HEURISTIC_STATUSES, Lifetime, age_is_clear, initial_age, lifetime_of, window
from agent.core.cache.tags import tags_of
from agent.core.cache.vary import variant_of, vary_names
from agent.core.http import fields as f
from agent.core.http.dates import format_http_date, parse_http_date
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead, ResponseHead

UNDERSTOOD: Final = frozenset({200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 500, 501, 502, 503, 504})
"""Status codes whose caching this cache knows all about (must-understand, RFC 9111 section 5.2.2.3)."""
_NEVER: Final = frozenset({206, 304})
"""A 206 is judged as the 200 that it is a part of (agent.core.cache.parts)."""

_DROPPED: Final = f.CONNECTION | f.HOP | f.TRANSFER_ENCODING | f.CONTENT_LENGTH | f.AGE | f.VIA | f.CACHE_STATUS | f.TRAILER


class Storage:
    """The verdict on a response, with the rule that decided."""

    __slots__ = ("directives", "lifetime", "rule", "section", "store", "targeted", "vary")

    def __init__(self, store: bool, rule: str, section: str) -> None:
        self.store = store
        self.rule = rule
        self.section = section
        self.lifetime: Lifetime | None = None
        self.directives: Directives | None = None
        self.targeted: Directives | None = None
        self.vary: tuple[bytes, ...] = ()


def directives_of(head: ResponseHead) -> Directives:
    """A response's Cache-Control; Pragma says nothing in a response (RFC 9111 section 5.4)."""
    return parse_cache_control(head.get(b"cache-control") or b"" if head.flags & f.CACHE_CONTROL else b"")


def decide_storage(request: RequestHead, response: ResponseHead, policy: CachePolicy, now: float) -> Storage:
    """Whether a shared cache stores this response to a GET."""
    directives = directives_of(response)
    cdn = response.get(b"cdn-cache-control")
    targeted = parse_targeted(cdn) if cdn is not None else None
    rules = targeted if targeted is not None else directives
    refusal = _refusal(request, response, rules, policy)
    if refusal is not None:
        return refusal
    vary = vary_names(response, policy)
    if vary is None:
        return Storage(False, "vary-star", "RFC 9111 4.1")
    date = parse_http_date(response.get(b"date") or b"")
    lifetime = lifetime_of(response, directives, targeted, policy, float(date) if date is not None else now)
    validator = bool(response.flags & f.VALIDATOR)
    known = response.status in HEURISTIC_STATUSES or rules.public
    if not lifetime.explicit and not known:
        return Storage(False, "status-needs-explicit-freshness", "RFC 9111 3")
    windowed = rules.stale_if_error > 0 or rules.stale_while_revalidate > 0
    if lifetime.seconds <= 0.0 and not validator and not windowed:
        return Storage(False, "no-freshness-and-no-validator", "RFC 9111 3")
    verdict = Storage(True, lifetime.rule, lifetime.section)
    verdict.lifetime = lifetime
    verdict.directives = directives
    verdict.targeted = targeted
    verdict.vary = vary
    return verdict


def _refusal(request: RequestHead, response: ResponseHead, rules: Directives, policy: CachePolicy) -> Storage | None:
    status = response.status
    if status < 200 or status in _NEVER:
        return Storage(False, "status-not-storable", "RFC 9111 3.3" if status == 206 else "RFC 9111 3")
    if rules.must_understand:
        if status not in UNDERSTOOD:
            return Storage(False, "must-understand", "RFC 9111 5.2.2.3")
    elif rules.no_store:
        return Storage(False, "no-store", "RFC 9111 5.2.2.5")
    if request.flags & f.CACHE_CONTROL and parse_cache_control(request.get(b"cache-control") or b"").no_store:
        return Storage(False, "request-no-store", "RFC 9111 5.2.1.5")
    if rules.private:
        return Storage(False, "private", "RFC 9111 5.2.2.7")
    if request.flags & f.AUTHORIZATION and not (rules.public or rules.must_revalidate or rules.s_maxage >= 0):
        return Storage(False, "authorization", "RFC 9111 3.5")
    if response.flags & f.SET_COOKIE and policy.set_cookie == "refuse":
        return Storage(False, "set-cookie", "configuration cache.set_cookie")
    return None


def make_entry(
    key: bytes,
    service: str,
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy,
    requested_at: float,
    received_at: float,
    storage: Storage,
) -> Entry:
    """The entry of a response that `decide_storage` lets in; its body comes later. Times are wall seconds."""
    entry = Entry(key, service, request.authority, request.target, response.status, response.reason)
    rules = storage.targeted or storage.directives
    lifetime = storage.lifetime
    assert rules is not None and lifetime is not None
    entry.fields = stored_fields(response, rules, policy)
    if not response.flags & f.DATE:
        # RFC 9110 section 6.6.1: who receives a response without Date adds the time at which it came.
        entry.fields.append(f.make_field(b"Date", format_http_date(int(received_at))))
    entry.vary = storage.vary
    entry.variant = variant_of(storage.vary, request) if storage.vary else b""
    _set_times(entry, response, policy, requested_at, received_at, rules, lifetime)
    entry.etag = response.get(b"etag") or b""
    entry.last_modified = response.get(b"last-modified") or b""
    tags: list[bytes] = []
    for name in policy.tag_headers:
        value = response.get(name.lower().encode("latin-1"))
        if value:
            tags.extend(tags_of(name, value))
    entry.tags = tuple(sorted(set(tags)))
    return entry


def _set_times(
    entry: Entry,
    response: ResponseHead,
    policy: CachePolicy,
    requested_at: float,
    received_at: float,
    rules: Directives,
    lifetime: Lifetime,
) -> None:
    entry.stored_at = received_at
    entry.age_base = received_at - initial_age(response, requested_at, received_at)
    fresh_until = entry.age_base + lifetime.seconds
    if lifetime.rule in ("ttl-override", "ttl-default", "negative-ttl"):
        fresh_until = received_at + lifetime.seconds  # the operator's time runs from when it came to us
    elif not age_is_clear(response):
        fresh_until = min(fresh_until, received_at)
    entry.fresh_until = fresh_until
    entry.no_cache = rules.no_cache
    # s-maxage means proxy-revalidate to a shared cache (RFC 9111 section 5.2.2.10).
    entry.must_revalidate = rules.must_revalidate or rules.proxy_revalidate or rules.s_maxage >= 0 or rules.no_cache
    if rules.must_revalidate or rules.proxy_revalidate or rules.no_cache:
        entry.stale_while_revalidate_until = 0.0
        entry.stale_if_error_until = 0.0
        entry.stale_if_unreachable_until = 0.0
        return
    # s-maxage forbids what is stale as well, but not where its own response says that it may be (s-maxage=10,
    # stale-while-revalidate=60 is how origins ask for it); what is only configured gives way to it.
    shared = rules.s_maxage >= 0
    entry.stale_while_revalidate_until = fresh_until + window(
        rules.stale_while_revalidate, 0.0 if shared else policy.stale_while_revalidate
    )
    entry.stale_if_error_until = fresh_until + window(rules.stale_if_error, 0.0 if shared else policy.stale_if_error)
    entry.stale_if_unreachable_until = 0.0 if shared else fresh_until + policy.stale_if_unreachable


def stored_fields(response: ResponseHead, rules: Directives, policy: CachePolicy) -> list[Field]:
    """The fields that are kept: end-to-end ones, without those that no-cache="..." or private="..." name (RFC 9111 sections
    3.1, 5.2.2.4 and 5.2.2.7)."""
    named = response.connection_options() if response.flags & f.CONNECTION else frozenset()
    unkept = frozenset(rules.private_fields + rules.no_cache_fields)
    fields = []
    for field in response.fields:
        if field.flags & _DROPPED or field.name in named or field.name in unkept:
            continue
        if field.flags & f.SET_COOKIE and policy.set_cookie == "strip":
            continue
        fields.append(field)
    return fields


def unshared_fields(response: ResponseHead, storage: Storage, policy: CachePolicy) -> list[Field]:
    """The fields that only the client gets whose request brought the response: what `stored_fields` leaves out although it is
    meant for the client."""
    rules = storage.targeted or storage.directives
    assert rules is not None
    unkept = rules.private_fields + rules.no_cache_fields
    strip = policy.set_cookie == "strip" and bool(response.flags & f.SET_COOKIE)
    if not unkept and not strip:
        return []
    fields = []
    for field in response.fields:
        if not field.flags & _DROPPED and (field.name in unkept or (strip and field.flags & f.SET_COOKIE)):
            fields.append(field)
    return fields
