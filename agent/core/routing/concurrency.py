"""Adaptive concurrency limit: a gradient of the shortest latency over the present one.

After Netflix's concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter: limit = limit × gradient + √limit, with
gradient = clamp((tolerance × shortest + slack) / present, 0.5, 1). It grows while latency stays near its shortest and shrinks when
requests queue, wherever they queue.

Where the limit has held requests back for a while, half of it is tried for a second each `rtt_window`, as BBR drains its queue to
measure: an agent that starts into an overloaded service would otherwise never see what it takes without the queue.
"""

from math import sqrt
from typing import Final

from agent.core.routing.config import Concurrency

PROBE_AFTER_WINDOWS: Final = 20
"""Ten seconds at the limit: one that is merely on its way up to what the service can take has grown by half by then."""
PROBE_WINDOWS: Final = 2
"""One for what was under way to leave, one to measure."""


class AdaptiveLimit:
    """How many requests may be under way, set anew each window."""

    def __init__(self, config: Concurrency) -> None:
        self.config = config
        self.limit = float(config.limit_max if not config.enabled else max(config.limit_min, min(config.limit_max, 1024)))
        self.shortest_s = 0.0
        self._window_sum_s = 0.0
        self._window_count = 0
        self._window_most = 0
        self._window_least_s = 0.0
        self._next_at = 0.0
        self._forget_at = 0.0
        self._probe_at = 0.0
        self._full_windows = 0
        """Windows in a row in which the limit was what held requests back."""
        self._probe_windows = 0
        self._probed_from = 0.0

    def bound(self, priority: int) -> float:
        """Requests under way from which on this priority is shed: 0 to 5 have the whole limit, 9 has six tenths of it."""
        return self.limit if priority <= 5 else self.limit * (1.0 - 0.1 * (priority - 5))

    def record(self, latency_s: float, in_flight: int) -> None:
        """A successful request took so long, with so many under way."""
        self._window_sum_s += latency_s
        self._window_count += 1
        if in_flight > self._window_most:
            self._window_most = in_flight
        if self._window_least_s == 0.0 or latency_s < self._window_least_s:
            self._window_least_s = latency_s

    def tick(self, now: float) -> None:
        """Set the limit anew when a window has passed."""
        if now < self._next_at or not self.config.enabled:
            return
        config = self.config
        self._next_at = now + config.window
        if self._window_count < 10:
            return
        present = self._window_sum_s / self._window_count
        self._measure(now, present)
        self._full_windows = self._full_windows + 1 if self._window_most >= 0.9 * self.limit else 0
        if self._probe_windows:
            self._probe_windows -= 1
            if not self._probe_windows:
                self.limit = self._probed_from
        elif self._full_windows >= PROBE_AFTER_WINDOWS and now >= self._probe_at and self.limit > config.limit_min:
            self._probe_at = now + config.rtt_window
            self._probe_windows = PROBE_WINDOWS
            self._probed_from = self.limit
            self.limit = max(self.limit / 2.0, float(config.limit_min))
        else:
            self._adjust(present)
        self._window_sum_s = 0.0
        self._window_count = 0
        self._window_most = 0
        self._window_least_s = 0.0

    def _adjust(self, present_s: float) -> None:
        config = self.config
        # Without slack a service that answers in 0.1 ms would be shed at 0.2 ms, which 256 connections on one busy core take.
        gradient = (config.tolerance * self.shortest_s + config.slack) / max(present_s, 0.000001)
        gradient = min(max(gradient, 0.5), 1.0)
        # A limit that is not being used says nothing about whether it could be higher.
        if gradient < 1.0 or self._window_most * 2 >= self.limit:
            limit = self.limit * gradient + sqrt(self.limit)
            self.limit = min(max(limit, float(config.limit_min)), float(config.limit_max))

    def _measure(self, now: float, present_s: float) -> None:
        """Keep the shortest latency; believe a longer one when `rtt_window` has passed.

        Not while requests queue, though: each measurement would take the queue for the service, and the limit would drift up
        with it for ever. At the lower bound there is as little queue as there can be, and what is measured is believed
        (Envoy goes down to its minimum to measure).
        """
        if self.shortest_s == 0.0 or self._window_least_s < self.shortest_s:
            self.shortest_s = self._window_least_s
            self._forget_at = now + self.config.rtt_window
        elif now >= self._forget_at:
            queued = present_s > self.config.tolerance * self.shortest_s + self.config.slack
            if not queued or self.limit <= self.config.limit_min + sqrt(self.limit):
                self.shortest_s = self._window_least_s
                self._forget_at = now + self.config.rtt_window
