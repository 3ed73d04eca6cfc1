"""Single byte ranges out of a stored response (RFC 9110 section 14)."""

import re
from typing import Final

from agent.core.cache.entry import Entry
from agent.core.http.head import RequestHead

_RANGE: Final = re.compile(rb"bytes[ \t]*=[ \t]*(\d{0,18})[ \t]*-[ \t]*(\d{0,18})")
UNSATISFIABLE: Final = (-1, -1)


def parse_range(head: RequestHead) -> tuple[int, int] | None:
    """First and last position that a GET asks for: a last of -1 for all that follows, a first of -1 where the last is the
    number of octets wanted from the end. None: no range, several, or one that cannot be read, which are to be ignored."""
    value = head.get(b"range") if head.method == b"GET" else None
    match = _RANGE.fullmatch(value.strip().lower()) if value is not None else None
    if match is None:
        return None
    first, last = match.group(1), match.group(2)
    if not first:
        return (-1, int(last)) if last else None
    start = int(first)
    if not last:
        return start, -1
    end = int(last)
    return (start, end) if start <= end else None


def range_of(entry: Entry, head: RequestHead) -> tuple[int, int] | None:
    """First and last octet of the range of a whole stored response to send; `UNSATISFIABLE`; or None for all of it: no range
    to honour, one of a response other than 200, or an If-Range that does not hold."""
    if entry.status != 200:
        return None
    wanted = parse_range(head)
    if wanted is None:
        return None
    guard = head.get(b"if-range")
    if guard is not None and not guard_holds(entry, guard):
        return None
    start, end = wanted
    length = entry.length
    if start < 0:
        return (max(length - end, 0), length - 1) if end and length else UNSATISFIABLE
    if start >= length:
        return UNSATISFIABLE
    return start, min(end, length - 1) if end >= 0 else length - 1


def guard_holds(entry: Entry, guard: bytes) -> bool:
    """If-Range: a strong tag or a date, to the letter (RFC 9110 section 13.1.5)."""
    guard = guard.strip()
    if guard.startswith(b'"'):
        return guard == entry.etag
    if guard.startswith(b"W/"):
        return False
    return bool(entry.last_modified) and guard == entry.last_modified


def cut(body: list[bytes], start: int, end: int) -> list[bytes]:
    """The octets from `start` up to `end` (not with it); whole pieces are not copied."""
    found: list[bytes] = []
    at = 0
    for piece in body:
        if at >= end:
            break
        after = at + len(piece)
        if after > start:
            found.append(piece if start <= at and after <= end else piece[max(start - at, 0) : end - at])
        at = after
    return found
