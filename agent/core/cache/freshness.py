"""How long a response is fresh and how old it is (RFC 9111 section 4.2)."""

from typing import Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.directives import ABSENT, DELTA_MAX, INVALID, Directives
from agent.core.cache.entry import Entry
from agent.core.http.dates import parse_http_date
from agent.core.http.head import ResponseHead

HEURISTIC_SHARE: Final = 0.1
HEURISTIC_MAX_S: Final = 86_400.0
"""RFC 9111 section 4.2.2 suggests a tenth of the time since Last-Modified; a day at most."""

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 section 15.1."""
NEGATIVE_STATUSES: Final = frozenset({404, 405, 410, 414, 501})


class Lifetime:
    """Seconds of freshness and the rule that gave them; explicit: the response (or the operator) said so itself."""

    __slots__ = ("explicit", "rule", "seconds", "section")

    def __init__(self, seconds: float, explicit: bool, rule: str, section: str) -> None:
        self.seconds = seconds
        self.explicit = explicit
        self.rule = rule
        self.section = section


def lifetime_of(head: ResponseHead, directives: Directives, targeted: Directives | None, policy: CachePolicy, date: float) -> Lifetime:
    """The freshness lifetime of a response that a shared cache received. date: the origin's Date, or when it came."""
    for override in policy.ttl:
        if not override.status or head.status in override.status:
            return Lifetime(override.ttl, True, "ttl-override", "configuration cache.ttl")
    if targeted is not None:
        seconds = targeted.s_maxage if targeted.s_maxage != ABSENT else targeted.max_age
        if seconds != ABSENT:
            return Lifetime(float(max(seconds, 0)), True, "cdn-cache-control", "RFC 9213 2.2")
    else:
        if directives.s_maxage != ABSENT:
            return Lifetime(float(max(directives.s_maxage, 0)), True, "s-maxage", "RFC 9111 5.2.2.10")
        if directives.max_age != ABSENT:
            return Lifetime(float(max(directives.max_age, 0)), True, "max-age", "RFC 9111 5.2.2.1")
        expires = head.all(b"expires")
        if expires:
            when = parse_http_date(expires[0]) if len(expires) == 1 else None
            if when is None:
                return Lifetime(0.0, True, "expires-invalid", "RFC 9111 5.3")
            return Lifetime(min(max(when - date, 0.0), float(DELTA_MAX)), True, "expires", "RFC 9111 5.3")
    return _implied(head, directives, policy, date)


def _implied(head: ResponseHead, directives: Directives, policy: CachePolicy, date: float) -> Lifetime:
    if policy.negative_ttl > 0.0 and head.status in NEGATIVE_STATUSES:
        return Lifetime(policy.negative_ttl, True, "negative-ttl", "configuration cache.negative_ttl")
    if policy.heuristic and (head.status in HEURISTIC_STATUSES or directives.public):
        modified = parse_http_date(head.get(b"last-modified") or b"")
        if modified is not None and modified <= date:
            seconds = min((date - modified) * HEURISTIC_SHARE, HEURISTIC_MAX_S)
            return Lifetime(seconds, False, "heuristic", "RFC 9111 4.2.2")
    if policy.ttl_default > 0.0 and head.status in HEURISTIC_STATUSES:
        return Lifetime(policy.ttl_default, True, "ttl-default", "configuration cache.ttl_default")
    return Lifetime(0.0, False, "none", "RFC 9111 4.2.1")


def initial_age(head: ResponseHead, requested_at: float, received_at: float) -> float:
    """The corrected initial age in seconds (RFC 9111 section 4.2.3). Of a list in Age the first member counts, and what is no
    number counts as 0 (section 5.1): but see `age_is_clear`."""
    date = parse_http_date(head.get(b"date") or b"")
    apparent = max(0.0, received_at - date) if date is not None else 0.0
    age_value = 0.0
    value = head.get(b"age")
    if value is not None:
        first = value.partition(b",")[0].strip()
        if first.isdigit():
            age_value = float(min(int(first[:12]), DELTA_MAX))
    return max(apparent, age_value + max(received_at - requested_at, 0.0))


def age_is_clear(head: ResponseHead) -> bool:
    """Whether Age is absent, one number, or one line with a list of different numbers, whose first counts.

    RFC 9111 section 5.1 has caches pass over what is no number. A response whose age nobody can tell is taken for stale here
    instead, as the public cache tests require: that costs one validation. Several lines, or a number said twice, are what two
    careless hops in a row leave behind, and tell as little.
    """
    lines = head.all(b"age")
    if not lines:
        return True
    if len(lines) > 1:
        return False
    members = [member.strip() for member in lines[0].split(b",")]
    for member in members:
        if not member.isdigit():
            return False
    return len(set(members)) == len(members)


def age_seconds(entry: Entry, now: float) -> int:
    """The value of Age at `now` (RFC 9111 section 5.1)."""
    age = int(now - entry.age_base)
    return age if age > 0 else 0


def window(stated: int, configured: float) -> float:
    """Seconds of a stale window: what the response states, else what is configured."""
    if stated == INVALID:
        return 0.0
    return float(stated) if stated != ABSENT else configured
