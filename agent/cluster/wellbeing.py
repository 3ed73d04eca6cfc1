"""How unwell this agent finds itself, for Lifeguard's local health: who lost time blames others later."""

from typing import Final

from agent.runtime.throttle import Throttle

LEVEL_MAX: Final = 7
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
