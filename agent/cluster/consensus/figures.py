"""What a replica's host counts and measures."""

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """Counts by upper bound, the last of all that is more."""

    __slots__ = ("_bounds", "buckets", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        self.buckets[bisect_left(self._bounds, value)] += count
        self.total += value * count

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def quantile(self, share: float) -> float:
        """An upper bound of it; 0 where nothing was measured, infinity above the last bound."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*self._bounds, float("inf")), self.buckets, strict=True):
            seen += count
            if seen >= wanted and seen:
                return bound
        return 0.0


class HostFigures:
    """Of one host since its start."""

    def __init__(self) -> None:
        self.commit_s = Histogram(BOUNDS_S)
        """From the proposal to the outcome, of commands proposed here."""
        self.batch = Histogram(tuple(float(size) for size in SIZES))
        """Commands of one turn."""
        self.fsync_s = Histogram(BOUNDS_S)
        self.elections = 0
        """Times that this member stood for election."""
        self.proposed = 0
        self.fast_s = Histogram(BOUNDS_S)
        """From the proposal to the answer, of commands that were answered before they were committed."""
        self.refused: dict[str, int] = {}
        self.applied = 0
        self.reads = 0
        """Reads that were made ready."""
        self.faults = 0
        """Times that who was told an outcome raised: each is a bug."""
        self.snapshots = 0
        self.snapshots_installed = 0
        self.undecodable = 0
        """Messages of members that no core can read."""
        self.strangers = 0
        """Messages of whom the group does not know, or for a member that is not here any more."""

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
