"""Simulated time: calls in the order of their times, and of their asking where the times are equal. One seed, one history."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any
from zlib import crc32

MASK = (1 << 64) - 1
STILL_MAX = 1_000_000
"""So many calls without time passing are a loop, not a busy moment."""


class Engine:
    """`random` is the run's only source of chance. `trace` sums up all that happened: equal seeds give equal sums."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.trace = 0
        self.events = 0
        self._order = 0
        self._calls: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        """Call then; what is due in the past comes next."""
        self._order += 1
        heappush(self._calls, (when, self._order, call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, call, *args)

    def run(self, until: float) -> None:
        """Let time pass to `until`. What is raised on the way carries a note of the seed and of the time."""
        calls = self._calls
        still = 0
        try:
            while calls and calls[0][0] <= until:
                when, _, call, args = heappop(calls)
                if when > self.now:
                    self.now = when
                    still = 0
                else:
                    still += 1
                    assert still < STILL_MAX, "time stands still"
                self.events += 1
                call(*args)
        except Exception as error:
            error.add_note(f"simulated: seed {self.seed}, at {self.now:.6f} s, event {self.events}")
            raise
        self.now = max(self.now, until)

    def mark(self, number: int) -> None:
        """Let the trace depend on this number and on the time."""
        self.trace = (self.trace * 0x100000001B3 + int(self.now * 1e6) * 8191 + number) & MASK

    def mark_text(self, text: str) -> None:
        # Not hash(), which differs from process to process.
        self.mark(crc32(text.encode()))
