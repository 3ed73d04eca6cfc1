"""Circuit breaker: closed, open, half-open (Nygard, Release It!; the rules of resilience4j's time-based window)."""

from typing import Final

from agent.core.routing.config import Breaker

CLOSED: Final = 0
OPEN: Final = 1
HALF_OPEN: Final = 2
STATE_NAMES: Final = ("closed", "open", "half-open")

SLOTS: Final = 10
"""The window is counted in so many parts; the oldest part falls out as a whole."""


class CircuitBreaker:
    """Counts calls in a sliding window and refuses them while too many fail or are slow."""

    def __init__(self, config: Breaker) -> None:
        self.config = config
        self.enabled = config.enabled
        self._slow_call_s: float = config.slow_call
        self.state = CLOSED
        self.opened = 0
        """How often it has opened."""
        self.open_until = 0.0
        self.probes_out = 0
        self.probes_ok = 0
        self._slot_s = config.window / SLOTS if config.window > 0 else 1.0
        self._calls = [0] * SLOTS
        self._failures = [0] * SLOTS
        self._slow = [0] * SLOTS
        self._slot = 0
        self._slot_number = 0

    def inherit(self, old: "CircuitBreaker") -> None:
        """After a reload: stay open or half-open if that is how it was. The window begins anew."""
        if self.enabled and old.enabled:
            self.state = old.state
            self.open_until = old.open_until
            self.opened = old.opened

    def allow(self, now: float) -> bool:
        """Whether a call may go. While half-open each yes is a probe, to be followed by `record` or `release`."""
        if self.state == CLOSED or not self.enabled:
            return True
        if self.state == OPEN:
            if now < self.open_until:
                return False
            self.state = HALF_OPEN
            self.probes_out = 0
            self.probes_ok = 0
        if self.probes_out + self.probes_ok >= self.config.probes:
            return False
        self.probes_out += 1
        return True

    def caution(self, now: float) -> bool:
        """Begin half-open on others' word. False: it is not closed, or calls of our own in the window speak for themselves."""
        if not self.enabled or self.state != CLOSED or self.rates(now)[0] > 0:
            return False
        self.state = HALF_OPEN
        self.probes_out = 0
        self.probes_ok = 0
        return True

    def could_allow(self, now: float) -> bool:
        """`allow` without taking a probe's place."""
        if self.state == CLOSED or not self.enabled:
            return True
        if self.state == OPEN:
            return now >= self.open_until
        return self.probes_out + self.probes_ok < self.config.probes

    def record(self, now: float, ok: bool, latency_s: float) -> bool:
        """A call ended. True when the state changed by it."""
        if not self.enabled:
            return False
        config = self.config
        slow = latency_s > self._slow_call_s > 0.0
        if self.state == HALF_OPEN:
            return self._record_probe(now, ok and not slow)
        if self.state == OPEN:
            return False
        number = int(now / self._slot_s)
        if number != self._slot_number:
            self._advance(number)
        slot = self._slot
        self._calls[slot] += 1
        if ok and not slow:
            return False
        if not ok:
            self._failures[slot] += 1
        if slow:
            self._slow[slot] += 1
        calls = sum(self._calls)
        if calls < config.requests_min:
            return False
        if sum(self._failures) >= config.error_rate * calls or (slow and sum(self._slow) >= config.slow_rate * calls):
            self._open(now)
            return True
        return False

    def release(self) -> None:
        """A probe was given up without a result (the client left): another may take its place."""
        if self.state == HALF_OPEN and self.probes_out > 0:
            self.probes_out -= 1

    def rates(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls in the window."""
        number = int(now / self._slot_s)
        if number != self._slot_number:
            self._advance(number)
        return sum(self._calls), sum(self._failures), sum(self._slow)

    def _record_probe(self, now: float, ok: bool) -> bool:
        if self.probes_out > 0:
            self.probes_out -= 1
        if not ok:
            self._open(now)
            return True
        self.probes_ok += 1
        if self.probes_ok >= self.config.probes:
            self.state = CLOSED
            self._clear()
            return True
        return False

    def _open(self, now: float) -> None:
        self.state = OPEN
        self.opened += 1
        self.open_until = now + self.config.open_for
        self._clear()

    def _clear(self) -> None:
        for index in range(SLOTS):
            self._calls[index] = 0
            self._failures[index] = 0
            self._slow[index] = 0

    def _advance(self, number: int) -> None:
        steps = number - self._slot_number
        if steps >= SLOTS or steps < 0:
            self._clear()
        else:
            for step in range(1, steps + 1):
                index = (self._slot_number + step) % SLOTS
                self._calls[index] = 0
                self._failures[index] = 0
                self._slow[index] = 0
        self._slot_number = number
        self._slot = number % SLOTS
