"""A set of octet strings in order: a list of short sorted lists."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

CHUNK_MAX: Final = 1_024
"""An insertion moves at most so many pointers (8 KiB), and 1,000,000 keys make about 1,400 lists."""


class Ordered:
    """Members ascending by octets. Adding, removing and finding take a search in two short lists."""

    def __init__(self) -> None:
        self._chunks: list[list[bytes]] = []
        self._lasts: list[bytes] = []
        """The greatest of each chunk."""

    def add(self, key: bytes) -> None:
        """Add what is not there yet."""
        lasts = self._lasts
        if not lasts:
            self._chunks.append([key])
            lasts.append(key)
            return
        at = bisect_left(lasts, key)
        if at == len(lasts):
            at -= 1
            self._chunks[at].append(key)
            lasts[at] = key
        else:
            insort(self._chunks[at], key)
        chunk = self._chunks[at]
        if len(chunk) > CHUNK_MAX:
            half = len(chunk) // 2
            self._chunks[at : at + 1] = [chunk[:half], chunk[half:]]
            lasts[at : at + 1] = [chunk[half - 1], chunk[-1]]

    def remove(self, key: bytes) -> None:
        """Remove what is there."""
        at = bisect_left(self._lasts, key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if not chunk:
            del self._chunks[at], self._lasts[at]
        elif self._lasts[at] == key:
            self._lasts[at] = chunk[-1]

    def fill(self, keys: list[bytes]) -> None:
        """Take over keys that are sorted already."""
        step = CHUNK_MAX * 3 // 4
        self._chunks = [keys[at : at + step] for at in range(0, len(keys), step)]
        self._lasts = [chunk[-1] for chunk in self._chunks]

    def between(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """From `start` to before `end`, empty: to the last. Nothing may be added or removed meanwhile."""
        at = bisect_left(self._lasts, start)
        for index in range(at, len(self._chunks)):
            chunk = self._chunks[index]
            begin = bisect_left(chunk, start) if index == at else 0
            if not end or chunk[-1] < end:
                yield from chunk[begin:] if begin else chunk
            else:
                yield from chunk[begin : bisect_left(chunk, end)]
                return

    def count(self, start: bytes, end: bytes) -> int:
        """How many are in between."""
        total = 0
        at = bisect_left(self._lasts, start)
        for index in range(at, len(self._chunks)):
            chunk = self._chunks[index]
            begin = bisect_left(chunk, start) if index == at else 0
            if end and chunk[-1] >= end:
                return total + bisect_left(chunk, end, begin) - begin
            total += len(chunk) - begin
        return total


def end_of_prefix(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`; empty where there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] != 255:
            return prefix[:at] + bytes((prefix[at] + 1,))
    return b""
