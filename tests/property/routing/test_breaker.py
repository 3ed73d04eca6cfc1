"""The circuit breaker against a model that keeps every call and counts them all each time."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.core.routing.breaker import CLOSED, HALF_OPEN, OPEN, SLOTS, CircuitBreaker
from agent.core.routing.config import Breaker

CONFIG = Breaker(window=10.0, requests_min=4, error_rate=0.5, slow_call=1.0, slow_rate=0.75, open_for=5.0, probes=2)


@dataclass
class Model:
    """The rules of `Breaker` in the words of its settings."""

    state: int = CLOSED
    reopen_at: float = 0.0
    out: int = 0
    good: int = 0
    calls: list[tuple[int, bool, bool]] = field(default_factory=list)

    def allow(self, now: float) -> bool:
        if self.state == OPEN and now >= self.reopen_at:
            self.state, self.out, self.good = HALF_OPEN, 0, 0
        if self.state == HALF_OPEN and self.out + self.good < CONFIG.probes:
            self.out += 1
            return True
        return self.state == CLOSED

    def record(self, now: float, ok: bool, latency_s: float) -> None:
        slow = latency_s > CONFIG.slow_call
        if self.state == HALF_OPEN:
            self.out = max(self.out - 1, 0)
            if not ok or slow:
                self._open(now)
            else:
                self.good += 1
                if self.good == CONFIG.probes:
                    self.state, self.calls = CLOSED, []
        elif self.state == CLOSED:
            slot = int(now / (CONFIG.window / SLOTS))
            self.calls = [call for call in self.calls if call[0] > slot - SLOTS] + [(slot, ok, slow)]
            count = len(self.calls)
            failed = sum(1 for call in self.calls if not call[1])
            slowed = sum(1 for call in self.calls if call[2])
            if count >= CONFIG.requests_min and (
                ((not ok or slow) and failed >= CONFIG.error_rate * count) or (slow and slowed >= CONFIG.slow_rate * count)
            ):
                self._open(now)

    def _open(self, now: float) -> None:
        self.state, self.reopen_at, self.calls = OPEN, now + CONFIG.open_for, []


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.breaker = CircuitBreaker(CONFIG)
        self.model = Model()
        self.under_way = 0

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.9, 1.0, 4.9, 5.0, 9.5, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        could = self.breaker.could_allow(self.now)
        allowed = self.breaker.allow(self.now)
        assert could == allowed
        assert allowed == self.model.allow(self.now)
        self.under_way += allowed

    @rule(ok=st.booleans(), slow=st.booleans())
    def answer(self, ok: bool, slow: bool) -> None:
        if self.under_way:
            self.under_way -= 1
            before = self.breaker.state
            changed = self.breaker.record(self.now, ok, 2.0 if slow else 0.1)
            self.model.record(self.now, ok, 2.0 if slow else 0.1)
            assert changed == (before != self.breaker.state)

    @rule()
    def leave(self) -> None:
        if self.under_way:
            self.under_way -= 1
            self.breaker.release()
            if self.model.state == HALF_OPEN:
                self.model.out = max(self.model.out - 1, 0)

    @invariant()
    def same_state(self) -> None:
        assert self.breaker.state == self.model.state
        if self.breaker.state == CLOSED:
            slot = int(self.now / (CONFIG.window / SLOTS))
            assert self.breaker.rates(self.now)[0] == sum(1 for call in self.model.calls if call[0] > slot - SLOTS)


BreakerMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
TestBreaker = BreakerMachine.TestCase
