"""How busy this agent and its application are, for the other members."""

from collections import deque
from time import perf_counter
from typing import Final

from agent.core.gossip.facts import Latency, Load
from agent.core.routing.cluster import Cluster
from agent.core.routing.endpoint import Endpoint
from agent.proxy.counters import LATENCY_BOUNDS_S, ServiceCounters
from agent.proxy.datapath import DataPath
from agent.proxy.pool import Pool
from agent.runtime.vitals import Vitals

WINDOW: Final = 10
"""Latencies are those of so many of the latest readings, one a second."""
SERVICES_MAX: Final = 32
SAMPLES_MIN: Final = 20
REPORT_S: Final = 30.0
"""An application's report counts for so long."""


class AppReport:
    """What the application says of itself (`POST /load`): each None where it does not say."""

    def __init__(self, ai: float | None, in_flight: int | None, queue: int | None, ttl_s: float = REPORT_S) -> None:
        self.ai = ai
        self.in_flight = in_flight
        self.queue = queue
        self.until = perf_counter() + ttl_s


class Recent:
    """Latencies of one service within the window, from the counters of all time."""

    def __init__(self) -> None:
        self._readings: deque[list[int]] = deque(maxlen=WINDOW + 1)

    def read(self, books: ServiceCounters) -> None:
        buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
        for series in books.table:
            if series is not None:
                for place, count in enumerate(series.buckets):
                    buckets[place] += count
        self._readings.append(buckets)

    def latency(self) -> tuple[Latency | None, int]:
        """None with too few requests; and how many there were."""
        newest, oldest = self._readings[-1], self._readings[0]
        window = [new - old for new, old in zip(newest, oldest, strict=True)]
        total = sum(window)
        if total < SAMPLES_MIN:
            return None, total
        return Latency(_quantile(window, 0.5 * total), _quantile(window, 0.99 * total)), total


def _quantile(window: list[int], wanted: float) -> float:
    seen = 0
    for place, count in enumerate(window):
        seen += count
        if seen >= wanted:
            return LATENCY_BOUNDS_S[min(place, len(LATENCY_BOUNDS_S) - 1)]
    return LATENCY_BOUNDS_S[-1]


class LoadMeter:
    """Takes a reading when it is asked, which is to be about each second."""

    def __init__(self) -> None:
        self.vitals = Vitals()
        self.app: AppReport | None = None
        self._recent: dict[str, Recent] = {}

    def read(self, path: DataPath, application: Cluster | None, loop_lag_s: float) -> Load:
        """As measured; membership's damper decides what of it is worth telling."""
        cpu, memory = self.vitals.read()
        app = self.app if self.app is not None and self.app.until > perf_counter() else None
        in_flight = queue = 0
        if application is not None:
            in_flight = application.in_flight
            queue = sum(_waiting(endpoint) for endpoint in application.endpoints)
        if app is not None:
            in_flight = app.in_flight if app.in_flight is not None else in_flight
            queue = app.queue if app.queue is not None else queue
        ai = app.ai if app is not None and app.ai is not None else 0.0
        return Load(cpu, memory, loop_lag_s, in_flight, queue, ai, self._latencies(path))

    def _latencies(self, path: DataPath) -> dict[str, Latency]:
        for name in self._recent.keys() - path.counters.keys():
            del self._recent[name]
        found: list[tuple[int, str, Latency]] = []
        for name, books in path.counters.items():
            recent = self._recent.setdefault(name, Recent())
            recent.read(books)
            latency, count = recent.latency()
            if latency is not None and len(name) <= 128:
                found.append((count, name, latency))
        found.sort(key=lambda row: (-row[0], row[1]))
        return {name: latency for _, name, latency in found[:SERVICES_MAX]}


def _waiting(endpoint: Endpoint) -> int:
    pool = endpoint.pool
    return len(pool.waiting) if isinstance(pool, Pool) else 0
