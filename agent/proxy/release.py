"""Letting many waiting requests go without making a spike of them, and remembering for which keys it is no use to wait."""

from collections import deque
from typing import Final

from agent.proxy.exchange import Exchange, Source

RELEASED_AT_ONCE: Final = 16
"""Waiters of a response that cannot be shared go to the upstream this many at a time."""
HIT_FOR_PASS_S: Final = 10.0
"""How long a key whose response could not be stored is not collapsed."""
HIT_FOR_PASS_MAX: Final = 10_000


def note_pass(passes: dict[bytes, float], flight: bytes, now: float) -> None:
    """The response for this key was not to be shared."""
    if len(passes) >= HIT_FOR_PASS_MAX:
        passes.clear()
    passes[flight] = now + HIT_FOR_PASS_S


def passes_now(passes: dict[bytes, float], flight: bytes, now: float) -> bool:
    """Whether the key's responses were not to be shared lately."""
    until = passes.get(flight)
    if until is None:
        return False
    if until > now:
        return True
    del passes[flight]
    return False


class Leaver:
    """What a fill needs of the lookup, which it does not know."""

    def go_alone(self, exchange: Exchange) -> None:
        """Send an exchange to the upstream on its own."""
        raise NotImplementedError

    def refetch(self, fill: Source) -> None:
        """Repeat a fill's request without the stored validators."""
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
