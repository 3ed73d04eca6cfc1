"""Time limits for tens of thousands of connections at the price of an attribute.

Moving a limit that lies further off is one assignment (`timed.deadline = now + 30`). A `Timed` stands in one bucket at most; when
the bucket comes up and its limit has moved on, it is put where the limit now is. So a connection that serves a thousand
requests a second costs one visit each time its earliest limit would have run out, and no timer is made or cancelled for a
request. A connection that closes is taken out at once (`drop`): else the wheel would hold all that closed in the last minute.
"""

import asyncio
from collections.abc import Callable
from typing import Final

TICK_S: Final = 0.05
"""Limits are kept to within this."""


class Timed:
    """Something with a time limit. Subclasses implement `on_deadline`."""

    __slots__ = ("armed_at", "armed_tick", "deadline")

    def __init__(self) -> None:
        self.deadline = 0.0
        """Loop time at which `on_deadline` is due; 0 is never."""
        self.armed_tick = 0
        """The bucket that it stands in; 0 is none."""
        self.armed_at = 0
        """Its place there."""

    def on_deadline(self, now: float) -> None:
        """The limit has passed. Runs at most once for each limit set: `deadline` is 0 when it is called."""
        raise NotImplementedError


class Alarm(Timed):
    """Calls what it is given, for those who cannot be a `Timed` themselves: interpreted classes cannot inherit from compiled ones."""

    def __init__(self, call: Callable[[float], None]) -> None:
        super().__init__()
        self.call: Callable[[float], None] | None = call

    def on_deadline(self, now: float) -> None:
        if self.call is not None:
            self.call(now)


class TimerWheel:
    """Calls `Timed.on_deadline` of everything armed, within `TICK_S` of its limit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Timed | None]] = {}
        self._scheduled = False
        self._done_tick = int(loop.time() / TICK_S)

    def arm(self, timed: Timed, deadline: float) -> None:
        """Set or move the limit of `timed` to loop time `deadline`."""
        timed.deadline = deadline
        tick = int(deadline / TICK_S) + 1
        if timed.armed_tick == 0 or tick < timed.armed_tick:
            self._put(timed, tick)

    def drop(self, timed: Timed) -> None:
        """`timed` has no limit any more, and is held no longer."""
        timed.deadline = 0.0
        if timed.armed_tick:
            self._take_out(timed)

    def release(self, alarm: Alarm) -> None:
        """Drop it for good: it no longer holds whom it would call."""
        self.drop(alarm)
        alarm.call = None

    def _take_out(self, timed: Timed) -> None:
        # The bucket whose turn it is stands in the table no longer; `_turn` passes over what is not armed for it.
        bucket = self._buckets.get(timed.armed_tick)
        if bucket is not None:
            bucket[timed.armed_at] = None
        timed.armed_tick = 0

    def _put(self, timed: Timed, tick: int) -> None:
        if timed.armed_tick:
            self._take_out(timed)
        if tick <= self._done_tick:
            tick = self._done_tick + 1
        timed.armed_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            timed.armed_at = 0
            self._buckets[tick] = [timed]
        else:
            timed.armed_at = len(bucket)
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
                if timed is not None and timed.armed_tick == tick:
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
        return sum(len(bucket) - bucket.count(None) for bucket in self._buckets.values())
