"""Plain counters of the data path. Others read them at a scrape; nothing here allocates or locks for a request."""

from bisect import bisect_left
from typing import Final

PASS: Final = 0
HIT: Final = 1
STALE: Final = 2
REVALIDATED: Final = 3
MISS: Final = 4
BYPASS: Final = 5
LOCAL: Final = 6
OUTCOMES: Final = ("pass", "hit", "stale", "revalidated", "miss", "bypass", "local")
"""What the cache had to do with a response: not asked, fresh, stale, confirmed by the upstream, not there, not allowed to,
or a response of the agent's own making."""

CLASSES: Final = 6
LATENCY_BOUNDS_S: Final = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


_FINE_US: Final = 10_000
_FINE: Final[bytes] = bytes(bisect_left(LATENCY_BOUNDS_S, (micros + 1) / 1_000_000.0) for micros in range(_FINE_US))
"""The bucket of each whole number of µs up to 10 ms (every bound is one): an index instead of a search."""


class Series:
    """Requests of one service, code class and outcome: how many, how long, how many in each latency bucket."""

    __slots__ = ("buckets", "count", "sum_s")

    def __init__(self) -> None:
        self.count = 0
        self.sum_s = 0.0
        self.buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)

    def record(self, latency_s: float) -> None:
        self.count += 1
        self.sum_s += latency_s
        micros = int(latency_s * 1_000_000.0)
        self.buckets[_FINE[micros] if 0 <= micros < _FINE_US else bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1


class ServiceCounters:
    """Everything counted about one service."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.table: list[Series | None] = [None] * (len(OUTCOMES) * CLASSES)
        self.hit_ok = self.series(HIT, 200)
        self.in_flight = 0
        self.retries = 0
        self.retries_over_budget = 0
        self.hedges = 0
        self.collapsed = 0
        """Requests that waited on another's fill."""
        self.stale_served = 0
        self.fills = 0
        self.fills_failed = 0
        self.stored = 0
        self.aborted = 0
        """Responses that broke off after their head."""
        self.flags: dict[str, int] = {}
        """Agent-made responses by reason flag (a bounded set: agent.proxy.flags)."""

    def series(self, outcome: int, status: int) -> Series:
        index = outcome * CLASSES + status // 100
        series = self.table[index]
        if series is None:
            series = Series()
            self.table[index] = series
        return series

    def record(self, outcome: int, status: int, latency_s: float) -> None:
        self.series(outcome, status).record(latency_s)

    def flag(self, flag: str) -> None:
        self.flags[flag] = self.flags.get(flag, 0) + 1


class ListenerCounters:
    """Connections of one listener."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted = 0
        self.open = 0
        self.refused = 0
        self.protocol_errors = 0
