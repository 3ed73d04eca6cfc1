"""The phi-accrual failure detector (Hayashibara, Defago, Yared, Katayama 2004), on the history of acks.

SWIM's members hear from one peer in n intervals, far too seldom for a heartbeat history of each pair; what every member has plenty
of is round trips. So the history is of how long acks took, over all peers, and phi(t) = -log10 P(an ack takes longer than t), with
the delays taken to be normally distributed: phi 1 is wrong once in ten, phi 8 once in a hundred million, if they are.
"""

from math import erfc, log10, sqrt
from typing import Final

WINDOW: Final = 128
DEVIATION_MIN_S: Final = 0.005
"""Acks that all took the same time do not make the next one's lateness by a millisecond a failure."""
SAMPLES_MIN: Final = 16
PHI_MAX: Final = 300.0


class PhiDetector:
    __slots__ = ("_at", "_delays", "_squares", "_sum", "_threshold")

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._delays: list[float] = []
        self._at = 0
        self._sum = 0.0
        self._squares = 0.0

    def note(self, delay_s: float) -> None:
        """An ack came so long after its ping."""
        delays = self._delays
        if len(delays) < WINDOW:
            delays.append(delay_s)
        else:
            old = delays[self._at]
            delays[self._at] = delay_s
            self._at = (self._at + 1) % WINDOW
            self._sum -= old
            self._squares -= old * old
        self._sum += delay_s
        self._squares += delay_s * delay_s

    def mean_and_deviation(self) -> tuple[float, float]:
        """Of the window, in seconds."""
        count = len(self._delays)
        mean = self._sum / count
        return mean, max(DEVIATION_MIN_S, sqrt(max(0.0, self._squares / count - mean * mean)))

    def phi(self, elapsed_s: float) -> float:
        """How unlikely it is that an ack is still to come after so long; 0 before there is a history."""
        if len(self._delays) < SAMPLES_MIN:
            return 0.0
        mean, deviation = self.mean_and_deviation()
        later = 0.5 * erfc((elapsed_s - mean) / (deviation * sqrt(2.0)))
        return min(PHI_MAX, -log10(later)) if later > 0 else PHI_MAX

    def timeout_s(self, default_s: float) -> float:
        """When phi reaches the threshold; `default_s` before there is a history, and never beyond it."""
        if len(self._delays) < SAMPLES_MIN:
            return default_s
        mean, deviation = self.mean_and_deviation()
        low, high = 0.0, 40.0
        for _ in range(24):
            middle = (low + high) / 2
            tail = 0.5 * erfc(middle / sqrt(2.0))
            if tail > 0 and -log10(tail) < self._threshold:
                low = middle
            else:
                high = middle
        return min(default_s, mean + high * deviation)
