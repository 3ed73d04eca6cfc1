"""Whether a series of samples grows: a trend that is both certain and large enough to matter.

A leak shows in every part of a run, noise in a few samples. So the slope is the median of the slopes between all pairs (Theil and
Sen), which a few wild samples do not move, and its certainty Mann and Kendall's test on the order of the samples, which asks nothing
of their distribution. Samples near in time are alike, which makes that test too sure of itself: hence also a tolerance on what
the trend comes to over the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import erfc, sqrt
from statistics import median

CERTAIN = 0.001
"""One-sided probability, under no trend, of an order as rising as this."""


@dataclass(frozen=True)
class Trend:
    """Of one series after its warm-up. `growth`: what the slope comes to from the first sample to the last."""

    name: str
    level: float
    per_minute: float
    growth: float
    chance: float
    tolerance: float

    @property
    def grows(self) -> bool:
        return self.chance < CERTAIN and self.growth > self.tolerance


def trend(name: str, times_s: Sequence[float], values: Sequence[float], tolerance: float) -> Trend:
    """The trend of `values` over `times_s`, which rise. ValueError for fewer than four samples: they show nothing."""
    if len(values) < 4:
        raise ValueError(f"{len(values)} samples of {name}; at least 4 are needed")
    pairs = list(combinations(range(len(values)), 2))
    slope = median((values[j] - values[i]) / (times_s[j] - times_s[i]) for i, j in pairs)
    return Trend(name, median(values), slope * 60.0, slope * (times_s[-1] - times_s[0]), _chance(values), tolerance)


def _chance(values: Sequence[float]) -> float:
    """Mann and Kendall's p for a rising order, with the correction for ties."""
    n = len(values)
    score = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18.0
    if variance <= 0.0 or score <= 0:
        return 1.0
    return 0.5 * erfc((score - 1) / sqrt(variance) / sqrt(2.0))
