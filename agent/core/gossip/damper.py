"""Load wobbles all the time; what travels is only what matters. Levels with hysteresis, and a budget for the whole cluster."""

from math import floor, log2
from typing import Final

from msgspec.structs import replace

from agent.core.gossip.facts import Latency, Load

CLUSTER_REPORTS_A_SECOND: Final = 20.0
"""Reports of load that all members together make: each makes one in members / 20 seconds at most, and at least one second apart."""
JUMP_LEVELS: Final = 4
"""A change by so many levels (2 times the cpu, 2 times the latency) does not wait for its turn."""
HYSTERESIS: Final = 0.75
"""A level is left only when the value is this share of a level beyond its border."""
STEPS_OF_TWO: Final = 4
"""Levels from a value to its double: 19 % each, finer than load balancing can use."""
LEAST: Final = {"cpu": 0.05, "memory": 0.05, "loop_lag": 0.002, "in_flight": 1.0, "queue": 1.0, "ai": 0.05, "latency": 0.001}
"""Below these a value is zero."""


def position_of(value: float, least: float) -> float:
    """A value on a scale where levels are whole numbers; 0 is below the least."""
    return 1.0 + STEPS_OF_TWO * log2(value / least) if value >= least else value / least


def value_of(level: int, least: float) -> float:
    """The middle of a level, as a value to publish."""
    return float(least * 2.0 ** ((level - 0.5) / STEPS_OF_TWO)) if level > 0 else 0.0


class Level:
    """One quantity: its present level, left only when the value is clearly out of it."""

    __slots__ = ("least", "level")

    def __init__(self, least: float) -> None:
        self.least = least
        self.level = 0

    def move(self, value: float) -> int:
        """By how many levels a new value moves it."""
        position = position_of(value, self.least)
        if self.level - HYSTERESIS < position < self.level + 1.0 + HYSTERESIS:
            return 0
        before = self.level
        self.level = max(floor(position), 0)
        return abs(self.level - before)


class Damper:
    """Decides when our load is worth a report. `report` gives it, quantised, or None."""

    def __init__(self) -> None:
        self._levels: dict[str, Level] = {}
        self._moved = 0
        self._reported_at = float("-inf")

    def report(self, now: float, load: Load, members: int) -> Load | None:
        """load: as measured, at any rate. members: how many the cluster has."""
        moved = 0
        seen = set()
        for name, least, value in _quantities(load):
            seen.add(name)
            level = self._levels.get(name)
            if level is None:
                level = self._levels[name] = Level(least)
            moved = max(moved, level.move(value))
        for name in self._levels.keys() - seen:
            del self._levels[name]
            moved = max(moved, 1)
        self._moved = max(self._moved, moved)
        waited = now - self._reported_at
        if not self._moved or waited < 1.0:
            return None
        if self._moved < JUMP_LEVELS and waited < members / CLUSTER_REPORTS_A_SECOND:
            return None
        self._moved = 0
        self._reported_at = now
        return self._quantised(load)

    def _quantised(self, load: Load) -> Load:
        def at(name: str) -> float:
            level = self._levels[name]
            return round(value_of(level.level, level.least), 4)

        return replace(
            load,
            cpu=at("cpu"),
            memory=at("memory"),
            loop_lag=at("loop_lag"),
            in_flight=round(at("in_flight")),
            queue=round(at("queue")),
            ai=at("ai"),
            latency={service: Latency(at(f"p50:{service}"), at(f"p99:{service}")) for service in load.latency},
        )


def _quantities(load: Load) -> list[tuple[str, float, float]]:
    found = [
        ("cpu", LEAST["cpu"], load.cpu),
        ("memory", LEAST["memory"], load.memory),
        ("loop_lag", LEAST["loop_lag"], load.loop_lag),
        ("in_flight", LEAST["in_flight"], float(load.in_flight)),
        ("queue", LEAST["queue"], float(load.queue)),
        ("ai", LEAST["ai"], load.ai),
    ]
    for service, latency in sorted(load.latency.items()):
        found.append((f"p50:{service}", LEAST["latency"], latency.p50))
        found.append((f"p99:{service}", LEAST["latency"], latency.p99))
    return found
