"""Drives the gossip core on the event loop: inputs in order, effects carried out in order, one timer."""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final

from agent.core.gossip.core import GossipCore
from agent.core.gossip.io import Effect, Input, Invalidate, Publish, Wake
from agent.runtime.driver import TIMER_SLACK_S
from agent.runtime.log import Logger

WAITING_MAX: Final = 10_000
"""Inputs that came while effects were carried out."""


class Gossiper:
    """`carry_out` takes each effect; it may `feed` again, which waits until the effects of this step are done."""

    def __init__(self, core: GossipCore, carry_out: Callable[[Effect], None], log: Logger) -> None:
        self.core = core
        self.faults = 0
        self._carry_out = carry_out
        self._log = log
        self._inputs: deque[Input] = deque()
        self._carrying = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._running = False

    def start(self) -> None:
        self._running = True
        self._set_timer()

    def stop(self) -> None:
        """Fall silent."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()

    def order(self, order: Invalidate | Publish) -> tuple[Effect, ...]:
        """An order of the host's own: its effects, which are carried out besides. Raises ValueError where it cannot be said."""
        effects = self.core.step(time.monotonic(), order)
        if self._carrying:
            asyncio.get_running_loop().call_soon(self._do, effects)
        else:
            self._do(effects)
            self._go_on()
        return effects

    def feed(self, item: Input) -> None:
        """Something from outside: whatever it does to the core, the agent goes on."""
        if not self._running or len(self._inputs) >= WAITING_MAX:
            return
        self._inputs.append(item)
        if not self._carrying:
            self._go_on()

    def _go_on(self) -> None:
        while self._inputs:
            item = self._inputs.popleft()
            try:
                effects = self.core.step(time.monotonic(), item)
            except Exception:
                self._fault(type(item).__name__)
                continue
            self._do(effects)
        self._set_timer()

    def _do(self, effects: tuple[Effect, ...]) -> None:
        nested = self._carrying
        self._carrying = True
        try:
            for effect in effects:
                try:
                    self._carry_out(effect)
                except Exception:
                    self._fault(type(effect).__name__)
        finally:
            self._carrying = nested

    def _fault(self, where: str) -> None:
        self.faults += 1
        self._log.error("gossip_fault", where=where, text=traceback.format_exc(limit=-4))

    def _set_timer(self) -> None:
        if not self._running:
            return
        due = self.core.next_wake()
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = asyncio.get_running_loop().call_later(max(due - time.monotonic(), 0.0) + TIMER_SLACK_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        if time.monotonic() >= self.core.next_wake():
            self.feed(Wake())
        else:
            self._set_timer()
