"""Joins what discovery found: every place that is not a live member's is asked to let us in, again and again, for ever.

So a cluster that fell apart longer ago than its members remember each other grows together as long as any source names members of
both parts.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from agent.core.swim.io import JoinEnded
from agent.core.swim.messages import Place
from agent.runtime.discovery import BACKOFF_MAX_S, backoff_s

TICK_S: Final = 0.25
AT_ONCE_MAX: Final = 8
"""Joins under way. A join is a push/pull, and one that succeeds tells of the rest."""
SETTLE_S: Final = 5.0
"""Time for a member that was joined to show among the members before its place is asked again."""


class _Try:
    def __init__(self) -> None:
        self.failures = 0
        self.due = 0.0
        self.under_way = False


class Joiner:
    """`join` asks one place; its end comes to `on_ended`. `members`: the places of live members, ourselves among them."""

    def __init__(
        self,
        join: Callable[[Place], None],
        members: Callable[[], Iterable[Place]],
        clock: Callable[[], float],
        uniform: Callable[[], float],
    ) -> None:
        self._join = join
        self._members = members
        self._clock = clock
        self._uniform = uniform
        self._found: dict[str, tuple[Place, ...]] = {}
        self._tries: dict[Place, _Try] = {}
        self.attempts = 0
        self.failures = 0

    def on_found(self, source: str, places: tuple[Place, ...]) -> None:
        """A source's answer, in place of its last."""
        self._found[source] = places

    def on_ended(self, ended: JoinEnded) -> None:
        """A join has succeeded or not."""
        attempt = self._tries.get(ended.place)
        if attempt is None:
            return
        attempt.under_way = False
        if ended.reason:
            self.failures += 1
            attempt.failures += 1
            attempt.due = self._clock() + backoff_s(attempt.failures, self._uniform())
        else:
            attempt.failures = 0
            attempt.due = self._clock() + SETTLE_S + BACKOFF_MAX_S * self._uniform() * 0.1

    def tick(self) -> None:
        """Ask whom it is time to ask."""
        now = self._clock()
        wanted = {place for places in self._found.values() for place in places} - set(self._members())
        for place in [place for place in self._tries if place not in wanted and not self._tries[place].under_way]:
            del self._tries[place]
        under_way = sum(attempt.under_way for attempt in self._tries.values())
        due = sorted((self._tries[place].due if place in self._tries else 0.0, place) for place in wanted)
        for when, place in due:
            if when > now or under_way >= AT_ONCE_MAX:
                break
            attempt = self._tries.setdefault(place, _Try())
            if not attempt.under_way:
                attempt.under_way = True
                under_way += 1
                self.attempts += 1
                self._join(place)

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)
