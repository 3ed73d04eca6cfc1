"""Recent latencies in logarithmic buckets: cheap to record, good enough for a percentile."""

from math import log2
from typing import Final

BUCKETS: Final = 160
_PER_OCTAVE: Final = 8
_LOWEST_S: Final = 0.00005


class LatencyWindow:
    """Two half-windows: recording goes to the younger, percentiles look at both, the older is dropped by `turn`."""

    def __init__(self) -> None:
        self._young = [0] * BUCKETS
        self._old = [0] * BUCKETS
        self.count = 0
        self._old_count = 0

    def record(self, latency_s: float) -> None:
        index = 0 if latency_s <= _LOWEST_S else int(log2(latency_s / _LOWEST_S) * _PER_OCTAVE)
        if index >= BUCKETS:
            index = BUCKETS - 1
        self._young[index] += 1
        self.count += 1

    def turn(self) -> None:
        """Half a window has passed."""
        self._old = self._young
        self._old_count = self.count
        self._young = [0] * BUCKETS
        self.count = 0

    def percentile(self, share: float) -> float:
        """Seconds that this share of recent calls stayed under; 0.0 with fewer than 20 of them."""
        total = self.count + self._old_count
        if total < 20:
            return 0.0
        wanted = share * total
        seen = 0
        for index in range(BUCKETS):
            seen += self._young[index] + self._old[index]
            if seen >= wanted:
                return float(_LOWEST_S * 2.0 ** ((index + 1) / _PER_OCTAVE))
        return float(_LOWEST_S * 2.0 ** (BUCKETS / _PER_OCTAVE))
