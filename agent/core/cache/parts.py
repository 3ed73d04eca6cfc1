"""Parts of a representation: 206 responses stored, joined, cut and completed (RFC 9111 sections 3.3 and 3.4, RFC 9110
section 15.3.7.3).

A part is an `Entry` under a key of its own beside that of the whole (`part_key`), so that nothing that looks for a whole
response ever finds one. There is at most one for each variant: what cannot be joined to it takes its place.
"""

import re
from typing import Final

from agent.core.cache.entry import Entry
from agent.core.cache.ranges import UNSATISFIABLE, cut, guard_holds, parse_range, range_of
from agent.core.http import fields as f
from agent.core.http.fields import Field, make_field
from agent.core.http.head import LENGTH, RequestHead, ResponseHead

_CONTENT_RANGE: Final = re.compile(rb"bytes[ \t]+(\d{1,18})-(\d{1,18})/(\d{1,18})")


def part_key(key: bytes) -> bytes:
    """The primary key of a URL's parts."""
    return key + b"\x00part"


def content_range(head: ResponseHead) -> tuple[int, int, int] | None:
    """First and last position and complete length of a 206 with one part; None where it has several, does not know the
    complete length, or is not valid (RFC 9110 section 14.4)."""
    value = head.get(b"content-range")
    match = _CONTENT_RANGE.fullmatch(value.strip().lower()) if value is not None else None
    if match is None:
        return None
    first, last, complete = int(match.group(1)), int(match.group(2)), int(match.group(3))
    return (first, last, complete) if first <= last < complete else None


def as_whole(head: ResponseHead, length: int) -> ResponseHead:
    """The head of the 200 that a 206 is a part of."""
    fields = [field for field in head.fields if not field.flags & f.CONTENT_RANGE]
    whole = ResponseHead(head.minor, fields, head.flags & ~f.CONTENT_RANGE, 200, b"OK")
    whole.content_length = length
    whole.body = LENGTH
    return whole


def is_exact(part: Entry) -> bool:
    """Whether its octets are as many as its Content-Range said. What is not is served as it came and joined to nothing."""
    return part.length == part.last + 1 - part.first


def piece_of_part(part: Entry, head: RequestHead) -> tuple[int, int, list[bytes]] | None:
    """First and last position and the octets to send, where the part holds all of what one range asks for; else None."""
    wanted = parse_range(head)
    if wanted is None:
        return None
    guard = head.get(b"if-range")
    if guard is not None and not guard_holds(part, guard):
        return None
    first, last = wanted
    from_end = first < 0
    if from_end:
        if last <= 0:
            return None
        first, last = max(part.complete - last, 0), part.complete - 1
    elif last < 0 or last >= part.complete:
        last = part.complete - 1
    if first > last or first < part.first or last > part.last:
        return None
    # From its end or from its beginning: that is the same unless the part is not exact.
    start = max(part.length - (last + 1 - first), 0) if from_end else first - part.first
    octets = cut(part.body, start, start + last + 1 - first)
    return (first, last, octets) if octets else None


def selected(entry: Entry, head: RequestHead) -> tuple[int, list[bytes], Field | None]:
    """What a stored response, whole or a part that holds it (`piece_of_part`), answers to a request with Range: status,
    octets, and Content-Range unless they are all there is."""
    if entry.first >= 0:
        piece = piece_of_part(entry, head)
        if piece is None:
            raise ValueError("the part does not hold what is asked for")
        first, last, octets = piece
        return 206, octets, make_field(b"Content-Range", b"bytes %d-%d/%d" % (first, last, entry.complete))
    span = range_of(entry, head)
    if span is None:
        return entry.status, entry.body, None
    if span == UNSATISFIABLE:
        return 416, [], make_field(b"Content-Range", b"bytes */%d" % entry.length)
    first, last = span
    return 206, cut(entry.body, first, last + 1), make_field(b"Content-Range", b"bytes %d-%d/%d" % (first, last, entry.length))


def joinable(one: Entry, other: Entry) -> bool:
    """Whether two parts are of the same representation (the same strong validator) and leave no gap between them."""
    return (
        is_strong(one.etag)
        and one.etag == other.etag
        and one.complete == other.complete
        and is_exact(one)
        and is_exact(other)
        and one.first <= other.last + 1
        and other.first <= one.last + 1
    )


def is_strong(etag: bytes) -> bool:
    """A strong validator (RFC 9110 section 8.8.1)."""
    return etag.startswith(b'"')


def join(stored: Entry, fresh: Entry) -> None:
    """Give `fresh` the octets and the fields of a joinable `stored` that it lacks (RFC 9111 section 3.4)."""
    if stored.first < fresh.first:
        before = cut(stored.body, 0, fresh.first - stored.first)
        fresh.body = before + fresh.body
        fresh.first = stored.first
    if stored.last > fresh.last:
        fresh.body = fresh.body + cut(stored.body, fresh.last + 1 - stored.first, stored.length)
        fresh.last = stored.last
    fresh.length = fresh.last + 1 - fresh.first
    fresh.fields = joined_fields(stored.fields, fresh.fields)


def joined_fields(stored: list[Field], fresh: list[Field]) -> list[Field]:
    """The new fields take the place of the stored ones of the same name."""
    names = {field.name for field in fresh}
    return [field for field in stored if field.name not in names] + fresh


def become_whole(part: Entry, key: bytes) -> bool:
    """Turn a part that covers everything into the whole response under `key`. False where it does not."""
    if part.first != 0 or part.length != part.complete:
        return False
    part.key = key
    part.ident = hash(key)
    part.status = 200
    part.reason = b"OK"
    part.first = -1
    return True


def completing_fields(part: Entry) -> list[Field]:
    """The fields of a request for what a part lacks; empty where that is not one range, or nothing could be joined to it."""
    if not is_strong(part.etag) or not is_exact(part):
        return []
    if part.first == 0:
        wanted = b"bytes=%d-" % part.length
    elif part.last == part.complete - 1:
        wanted = b"bytes=0-%d" % (part.first - 1)
    else:
        return []
    return [make_field(b"Range", wanted), make_field(b"If-Range", part.etag)]


def completes(part: Entry, head: ResponseHead) -> bool:
    """Whether a 206 brings all that a part lacks."""
    span = content_range(head)
    if span is None or head.get(b"etag") != part.etag or span[2] != part.complete:
        return False
    first, last, complete = span
    if head.body != LENGTH or head.content_length != last + 1 - first:
        return False
    return (first, last) == ((part.last + 1, complete - 1) if part.first == 0 else (0, part.first - 1))


def completed(part: Entry, head: ResponseHead) -> ResponseHead:
    """The head of the whole response that a part and the 206 that completes it are (RFC 9111 section 3.4)."""
    whole = as_whole(head, part.complete)
    whole.fields = joined_fields(part.fields, whole.fields)
    for field in part.fields:
        whole.flags |= field.flags
    return whole
