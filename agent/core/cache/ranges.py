"""Single byte ranges out of a whole stored response (RFC 9110 section 14)."""

import re
from typing import Final

from agent.core.cache.entry import Entry
from agent.core.http.head import RequestHead

_RANGE = re.compile(rb"bytes[ \t]*=[ \t]*(\d{0,18})[ \t]*-[ \t]*(\d{0,18})")
UNSATISFIABLE: Final = (-1, -1)


def range_of(entry: Entry, head: RequestHead) -> tuple[int, int] | None:
    """First and last octet of the range to send; `UNSATISFIABLE`; or None for the whole: no range, several, one that cannot
    be read, one of a response other than 200, or an If-Range that does not hold."""
    if entry.status != 200 or head.method != b"GET":
        return None
    value = head.get(b"range")
    if value is None:
        return None
    match = _RANGE.fullmatch(value.strip().lower())
    if match is None:
        return None
    guard = head.get(b"if-range")
    if guard is not None and not _guard_holds(entry, guard):
        return None
    first, last = match.group(1), match.group(2)
    length = entry.length
    if not first:
        if not last:
            return None
        wanted = int(last)
        return (max(length - wanted, 0), length - 1) if wanted and length else UNSATISFIABLE
    start = int(first)
    end = int(last) if last else length - 1
    if last and end < start:
        return None
    if start >= length:
        return UNSATISFIABLE
    return start, min(end, length - 1)


def _guard_holds(entry: Entry, guard: bytes) -> bool:
    """If-Range: a strong tag or a date, to the letter (RFC 9110 section 13.1.5)."""
    guard = guard.strip()
    if guard.startswith(b'"'):
        return guard == entry.etag
    if guard.startswith(b"W/"):
        return False
    return bool(entry.last_modified) and guard == entry.last_modified
