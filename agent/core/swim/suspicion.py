"""How long a suspect has to refute (Lifeguard, LHA-Suspicion): long while one member alone suspects it, shorter with each that agrees."""

from math import log, log10

from agent.core.swim.config import SwimConfig


def suspicion_min_s(config: SwimConfig, count: int) -> float:
    """The least time a suspect has among `count` live members."""
    return config.suspicion_mult * max(1.0, log10(max(1, count))) * config.probe_interval_s


def suspicion_timeout_s(confirmations: int, needed: int, least_s: float, most_s: float) -> float:
    """max - (max - min) · log(C + 1) / log(K + 1), not below min; min when no confirmations can be expected (K = 0)."""
    if needed < 1:
        return least_s
    share = log(confirmations + 1.0) / log(needed + 1.0)
    return max(least_s, most_s - share * (most_s - least_s))


class Suspicion:
    """One suspect's time, as this member counts it."""

    __slots__ = ("_least_s", "_most_s", "_needed", "_sources", "deadline", "started_at")

    def __init__(self, config: SwimConfig, now: float, count: int, source: str) -> None:
        # Of all members, neither the suspect nor the first accuser can confirm.
        needed = max(0, int(config.suspicion_mult) - 2)
        self._needed = needed if count - 2 >= needed else 0
        self._least_s = suspicion_min_s(config, count)
        self._most_s = self._least_s * config.suspicion_max_mult
        self._sources = [source]
        self.started_at = now
        self.deadline = now + suspicion_timeout_s(0, self._needed, self._least_s, self._most_s)

    @property
    def confirmations(self) -> int:
        return len(self._sources) - 1

    def confirm(self, source: str) -> bool:
        """Another member suspects it too. True if that was news (and should travel on)."""
        if self.confirmations >= self._needed or source in self._sources:
            return False
        self._sources.append(source)
        self.deadline = self.started_at + suspicion_timeout_s(self.confirmations, self._needed, self._least_s, self._most_s)
        return True
