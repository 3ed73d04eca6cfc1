"""Secondary keys (RFC 9111 section 4.1)."""

from agent.core.cache.config import CachePolicy
from agent.core.http.head import RequestHead, ResponseHead

_SORTED = frozenset({b"accept-encoding", b"accept-language", b"accept", b"accept-charset"})
"""Lists whose members mean the same in any order when they carry weights; letter case does not count in them."""


def vary_names(head: ResponseHead, policy: CachePolicy) -> tuple[bytes, ...] | None:
    """The lower-case names that a response varies on, sorted, with the configured ones; None for ``*``."""
    names = {name.lower().encode("latin-1") for name in policy.key_headers}
    for value in head.all(b"vary"):
        for name in value.split(b","):
            name = name.strip().lower()
            if name == b"*":
                return None
            if name:
                names.add(name)
    return tuple(sorted(names))


def variant_of(vary: tuple[bytes, ...], head: RequestHead) -> bytes:
    """The request's values of those fields in a form in which equal requests are equal.

    White space around commas goes; several lines are one list; in Accept, Accept-Encoding, Accept-Language and
    Accept-Charset order and letter case go too. Absent and empty differ.
    """
    parts = []
    for name in vary:
        value = head.get(name)
        if value is None:
            parts.append(b"-")
            continue
        members = [member.strip() for member in value.split(b",")]
        if name in _SORTED:
            members = sorted(member.replace(b" ", b"").lower() for member in members)
        parts.append(b"=" + b",".join(members))
    return b"\n".join(parts)
