"""How unwell this agent finds itself, for Lifeguard's local health: who lost time blames others later. And how large the crowd left it."""

from collections.abc import Callable
from typing import Final

from agent.runtime.throttle import Throttle

LEVEL_MAX: Final = 7
CROWD: Final = 100
"""So many members that came make news worth a megabyte of memory, which is free again when all have been told."""
LEVELS_A_SECOND: Final = 8.0
"""Levels for a second lost a second: an eighth of the time lost is level 1, seven eighths are level 7."""


class Wellbeing:
    """`level` each second. Up at once, down by one a second, so that a burst of throttling each few seconds counts as what it is."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.level = 0
        self.throttled_share = 0.0
        self.lag_share = 0.0
        self._lag_s = 0.0
        self._at = float("-inf")

    def look(self, now: float, lag_s: float) -> int:
        """lag_s: all the time that the event loop has lost so far."""
        elapsed = now - self._at
        lost = max(lag_s - self._lag_s, 0.0)
        self.lag_share = lost / elapsed if 0.0 < elapsed < float("inf") else 0.0
        self._lag_s, self._at = lag_s, now
        self.throttled_share = self.throttle.read(now)
        level = min(LEVEL_MAX, int(LEVELS_A_SECOND * max(self.lag_share, self.throttled_share)))
        self.level = max(level, self.level - 1)
        return self.level


class Crowd:
    """Has memory given back once a crowd has come (a joining, mostly) and its news have been told."""

    def __init__(self, give_back: Callable[[], bool]) -> None:
        self._give_back = give_back
        self._members = 0

    def look(self, members: int, queued: int) -> None:
        """Each second. queued: news that are still to be told."""
        if members < self._members:
            self._members = members
        if queued == 0 and members - self._members >= CROWD:
            self._members = members
            self._give_back()
