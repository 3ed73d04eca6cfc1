"""Local health awareness (Lifeguard, LHA-Probe): a member that misses what it should hear doubts itself before it blames others."""

from agent.core.swim.config import SwimConfig


class Awareness:
    __slots__ = ("_hint", "_max", "_score", "level")

    def __init__(self, config: SwimConfig) -> None:
        self._max = config.awareness_max
        self._score = 0
        self._hint = 0
        self.level = 0
        """0 (well) to 7: probe interval and timeout are stretched by 1 + level."""

    def apply(self, delta: int) -> None:
        """What a probe or an accusation showed: below 0 we are well, above 0 we are not."""
        self._score = min(self._max, max(0, self._score + delta))
        self.level = max(self._score, self._hint)

    def hint(self, level: int) -> None:
        """What the host knows of itself (event-loop lag, CPU throttling), 0 to 7; holds until it says otherwise."""
        self._hint = min(self._max, max(0, level))
        self.level = max(self._score, self._hint)
