"""Letting many waiting requests go without making a spike of them."""

from collections import deque
from typing import Final

from agent.proxy.exchange import Exchange

RELEASED_AT_ONCE: Final = 16
"""Waiters of a response that cannot be shared go to the upstream this many at a time."""


class Leaver:
    """Sends an exchange to the upstream on its own (implemented by the lookup)."""

    def go_alone(self, exchange: Exchange) -> None:
        raise NotImplementedError


class ReleaseGate:
    """Lets waiters go a few at a time: the next when one before it is done."""

    def __init__(self, leaver: Leaver, waiters: list[Exchange]) -> None:
        self._leaver = leaver
        self._waiting = deque(waiters)

    def open(self) -> None:
        for _ in range(min(RELEASED_AT_ONCE, len(self._waiting))):
            self.released()

    def released(self) -> None:
        """One is done, or there is room: the next may go."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.over:
                exchange.source = None
                exchange.next_waiter = self
                self._leaver.go_alone(exchange)
                return
