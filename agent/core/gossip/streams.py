"""What has been seen of each origin's numbered invalidations, and the ring that others are repaired from.

Of a stream (one life of an origin) we know the highest number that exists and which below it are missing; all others were applied, or
made up for by `MarkStale`.
"""

from collections.abc import Iterable

from agent.core.gossip.messages import PACKET_BYTES, Invalidation, Stream

MISSING_MAX = 1_024
"""Missing numbers of one stream; beyond them all are given up at once: validating is cheaper than chasing."""

SHED_HOSTS_MAX = 256
LOST_HOSTS_MAX = 4
"""Hosts that an answer names: they fit its packet whatever their length."""

StreamKey = tuple[str, int]
"""Origin and generation."""


class StreamState:
    """One stream. missing: number → when we learnt that it exists, in the host's seconds."""

    __slots__ = ("advanced_at", "asks", "generation", "highest", "hint", "missing", "next_ask_at", "origin")

    def __init__(self, origin: str, generation: int, now: float) -> None:
        self.origin = origin
        self.generation = generation
        self.highest = 0
        self.missing: dict[int, float] = {}
        self.advanced_at = now
        self.hint = ""
        """Who told us last of numbers that we lack."""
        self.asks = 0
        self.next_ask_at = 0.0

    @property
    def floor(self) -> int:
        """Up to here nothing is missing."""
        return min(self.missing) - 1 if self.missing else self.highest

    def position(self, sequence: int | None = None) -> Stream:
        return Stream(self.origin, self.generation, self.highest if sequence is None else sequence)

    def seen(self, sequence: int) -> bool:
        return sequence <= self.highest and sequence not in self.missing

    def take(self, sequence: int, now: float) -> None:
        """That number has arrived (or is given up)."""
        self.learn(sequence, now)
        if self.missing.pop(sequence, None) is not None:
            self.asks = 0  # progress
        self.advanced_at = now

    def learn(self, sequence: int, now: float) -> float:
        """That number exists. Returns 0, or, where too many are missing, until when entries are stale: all are given up then."""
        if sequence <= self.highest:
            return 0.0
        if sequence - self.highest + len(self.missing) > MISSING_MAX:
            self.missing.clear()
            self.highest = sequence
            self.advanced_at = now
            self.asks = 0
            return now
        for number in range(self.highest + 1, sequence + 1):
            self.missing[number] = now
        self.highest = sequence
        self.advanced_at = now
        return 0.0

    def adopt(self, sequence: int, now: float) -> None:
        """All up to there concerns nothing that we hold."""
        self.highest = max(self.highest, sequence)
        self.missing = {number: at for number, at in self.missing.items() if number > sequence}
        self.advanced_at = now

    def want(self, sequences: Iterable[int], now: float) -> None:
        """Those numbers are missing after all."""
        for number in sequences:
            if number <= self.highest and len(self.missing) < MISSING_MAX:
                self.missing.setdefault(number, now)

    def give_up(self, sequences: list[int]) -> float:
        """Those numbers are lost; until when entries are stale: when we learnt of the last of them, which was after it was issued."""
        return max((self.missing.pop(number) for number in sequences if number in self.missing), default=0.0)


class Ring:
    """The newest invalidations of whatever origin, within a number and a size."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self.entries_max = entries_max
        self.bytes_max = bytes_max
        self.bytes = 0
        self._items: dict[tuple[str, int, int], Invalidation] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Invalidation) -> list[Invalidation]:
        """Those that had to go for it."""
        key = (item.origin, item.generation, item.sequence)
        gone: list[Invalidation] = []
        if key in self._items:
            return gone
        self._items[key] = item
        self.bytes += invalidation_bytes(item)
        while len(self._items) > self.entries_max or self.bytes > self.bytes_max:
            oldest = self._items.pop(next(iter(self._items)))
            self.bytes -= invalidation_bytes(oldest)
            gone.append(oldest)
        return gone

    def of(self, origin: str, generation: int) -> list[Invalidation]:
        """What there is of one stream, oldest first."""
        return [item for item in self._items.values() if item.origin == origin and item.generation == generation]

    def get(self, origin: str, generation: int, sequence: int) -> Invalidation | None:
        return self._items.get((origin, generation, sequence))


class Shed:
    """What an origin remembers of its own invalidations that its ring has no more: between which numbers each host was named.

    So that those who missed them need not doubt everything that they hold.
    """

    def __init__(self) -> None:
        self._hosts: dict[bytes, tuple[int, int]] = {}
        """The first and the last that named it; without a name: what concerns more than a host, or hosts beyond the bound."""
        self._last = 0
        """All up to there have been noted: they go in the order in which they came."""

    def note(self, item: Invalidation) -> None:
        """It has gone from the ring."""
        host = item.host.lower() if item.kind in ("url", "prefix", "host") and item.sequence == self._last + 1 else b""
        if host not in self._hosts and len(self._hosts) >= SHED_HOSTS_MAX:
            host = b""
        first = self._hosts.get(host, (item.sequence, 0))[0]
        self._hosts[host] = (first, item.sequence)
        self._last = max(self._last, item.sequence)

    def hosts(self, sequences: Iterable[int]) -> tuple[bytes, ...]:
        """The hosts that those may have named, and perhaps some more; none: they may have named anything."""
        wanted = sorted(sequences)
        if not wanted or wanted[-1] > self._last:
            return ()
        found = sorted(host for host, (first, last) in self._hosts.items() if first <= wanted[-1] and wanted[0] <= last)
        return tuple(found) if b"" not in found and len(found) <= LOST_HOSTS_MAX else ()


def invalidation_bytes(item: Invalidation) -> int:
    """An upper bound of what one takes on the wire."""
    return (
        36 + len(item.origin.encode()) + len(item.host) + len(item.value) + sum(20 + len(stream.origin.encode()) for stream in item.after)
    )


def batches(items: list[Invalidation], budget: int = PACKET_BYTES) -> list[tuple[Invalidation, ...]]:
    """In messages' worth."""
    found: list[list[Invalidation]] = []
    room = 0
    for item in items:
        size = invalidation_bytes(item)
        if not found or size > room:
            found.append([])
            room = budget - 16
        found[-1].append(item)
        room -= size
    return [tuple(batch) for batch in found]
