"""Time limits for tens of thousands of connections at the price of an attribute.

Moving a limit that lies further off is one assignment (`timed.deadline = now + 30`). A `Timed` stands in at most a few
buckets; when a bucket comes up and its limit has moved on, it is put where the limit now is. So a connection that serves a
thousand requests a second costs one visit each time its earliest limit would have run out, and no timer is made or
cancelled for a request.
"""

import asyncio
from typing import Final

TICK_S: Final = 0.05
"""Limits are kept to within this."""


class Timed:
    """Something with a time limit. Subclasses implement `on_deadline`."""

    __slots__ = ("armed_tick", "deadline")

    def __init__(self) -> None:
        self.deadline = 0.0
        """Loop time at which `on_deadline` is due; 0 is never."""
        self.armed_tick = 0

    def on_deadline(self, now: float) -> None:
        """The limit has passed. Runs at most once for each limit set: `deadline` is 0 when it is called."""
        raise NotImplementedError


class TimerWheel:
    """Calls `Timed.on_deadline` of everything armed, within `TICK_S` of its limit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Timed]] = {}
        self._scheduled = False
        self._done_tick = int(loop.time() / TICK_S)

    def arm(self, timed: Timed, deadline: float) -> None:
        """Set or move the limit of `timed` to loop time `deadline`."""
        timed.deadline = deadline
        tick = int(deadline / TICK_S) + 1
        if timed.armed_tick == 0 or tick < timed.armed_tick:
            self._put(timed, tick)

    def _put(self, timed: Timed, tick: int) -> None:
        if tick <= self._done_tick:
            tick = self._done_tick + 1
        timed.armed_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [timed]
        else:
            bucket.append(timed)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(TICK_S, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        current = int(now / TICK_S)
        first = self._done_tick + 1
        if current - first > len(self._buckets):
            due = sorted(tick for tick in self._buckets if tick <= current)
        else:
            due = [tick for tick in range(first, current + 1) if tick in self._buckets]
        self._done_tick = max(current, self._done_tick)
        for tick in due:
            for timed in self._buckets.pop(tick):
                if timed.armed_tick == tick:
                    self._visit(timed, now)
        if self._buckets:
            self._loop.call_later(TICK_S, self._turn)
        else:
            self._scheduled = False

    def _visit(self, timed: Timed, now: float) -> None:
        timed.armed_tick = 0
        deadline = timed.deadline
        if deadline == 0.0:
            return
        if deadline <= now:
            timed.deadline = 0.0
            timed.on_deadline(now)
        else:
            self._put(timed, int(deadline / TICK_S) + 1)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())
