"""Secondary keys (RFC 9111 section 4.1)."""

from typing import Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.entry import Entry
from agent.core.http.head import RequestHead, ResponseHead

_SORTED: Final = frozenset({b"accept-encoding", b"accept-language", b"accept", b"accept-charset"})
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


def variant_in_language(vary: tuple[bytes, ...], variants: dict[bytes, Entry], variant: bytes, head: RequestHead) -> Entry | None:
    """The stored response in the one language that the request prefers to all others, alike in all else that it varies on.

    This goes beyond what RFC 9111 section 4.1 calls a match, and is done only where configuration asks for it.
    """
    if b"accept-language" not in vary:
        return None
    wanted = preferred_language(head.get(b"accept-language") or b"")
    if not wanted:
        return None
    at = vary.index(b"accept-language")
    parts = variant.split(b"\n")
    for entry in variants.values():
        theirs = entry.variant.split(b"\n")
        theirs[at] = parts[at]
        if theirs != parts:
            continue
        for field in entry.fields:
            if field.name == b"content-language" and field.value.lower() == wanted:
                return entry
    return None


def preferred_language(value: bytes) -> bytes:
    """The lower-case tag with the highest weight in an Accept-Language (RFC 9110 section 12.5.4); empty where two share it, or
    any language will do."""
    best, best_weight, shared = b"", 0.0, False
    for member in value.split(b","):
        tag, _, parameter = member.partition(b";")
        weight = 1.0
        name, _, number = parameter.strip().partition(b"=")
        if name.strip().lower() == b"q":
            try:
                weight = float(number)
            except ValueError:
                continue
        if weight > best_weight:
            best, best_weight, shared = tag.strip().lower(), weight, False
        elif weight == best_weight:
            shared = True
    return b"" if shared or best == b"*" else best
