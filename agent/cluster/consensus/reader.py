"""Reads of the own state machine: how fresh it must be, and whom to ask to know that it is.

`linearizable`: sees all that was committed before the read was asked (ReadIndex). `lease`: the same where clocks run alike, without a
round to the others where the leader is here. `stale`: sees all that was committed up to `max_staleness_s` before it was asked; most of
these ask nobody. How fresh the state machine is, is known from reads: one that was asked at t and is ready proves it fresh as of t.
"""

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Final, Literal

from agent.cluster.consensus.faces import Ready
from agent.cluster.consensus.host import Host

Consistency = Literal["linearizable", "lease", "stale"]
READS_MAX: Final = 50_000
"""Reads that wait at once."""
AGAIN: Final = frozenset(("not_leader", "lost", "transferring"))
LOOK_S: Final = 0.02
ROUND_S: Final = 5.0
"""A read that the core has not answered for so long is asked again, within its own time."""
REFRESH_S: Final = 10.0
"""For so long after the last stale read the state machine is kept fresh for the next."""


class _Wait:
    """A read under way."""

    __slots__ = ("asked", "deadline", "lease", "ready")

    def __init__(self, ready: Ready, lease: bool, asked: float, deadline: float) -> None:
        self.ready: Ready | None = ready
        self.lease = lease
        self.asked = asked
        self.deadline = deadline


class Reader:
    """`host()`: the own replica, or None where there is none (now)."""

    def __init__(self, host: Callable[[], Host | None]) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._waits: set[_Wait] = set()
        self._again: list[_Wait] = []
        self._timer: asyncio.TimerHandle | None = None
        self.fresh_at = -inf
        """The state machine has all that was committed before this moment."""
        self._stale_until = -inf
        self._stale_s = 1.0
        self._refreshing: asyncio.TimerHandle | None = None
        self.counts: dict[str, int] = {}
        self.failed: dict[str, int] = {}

    def read(self, consistency: Consistency, ready: Ready, timeout_s: float, max_staleness_s: float = inf) -> None:
        """Call `ready` when the state machine may be looked at, or with why not (`timeout`, `stale`, `busy`, `stopped`) at the latest
        when the time is over. A stale read may be ready within this call; others never."""
        self.counts[consistency] = self.counts.get(consistency, 0) + 1
        host = self._host()
        now = time.monotonic()
        if consistency == "stale":
            self._keep_fresh(now, max_staleness_s)
            if host is not None and now - max(self.fresh_at, host.applier.fresh_at) <= max_staleness_s:
                ready("", host.applier.index)
                return
        if len(self._waits) >= READS_MAX:
            self.failed["busy"] = self.failed.get("busy", 0) + 1
            self._loop.call_soon(ready, "busy", 0)
            return
        wait = _Wait(ready, consistency == "lease", now, now + timeout_s)
        self._waits.add(wait)
        self._ask(wait)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def age_s(self) -> float:
        """How old the state machine may be; infinity where it was never known to be fresh."""
        host = self._host()
        return time.monotonic() - (self.fresh_at if host is None else max(self.fresh_at, host.applier.fresh_at))

    def _ask(self, wait: _Wait) -> None:
        host = self._host()
        if host is None or host.broken:
            self._again.append(wait)
            return
        host.read(lambda reason, index: self._heard(wait, reason, index), lease=wait.lease)

    def _heard(self, wait: _Wait, reason: str, index: int) -> None:
        if wait.ready is None:
            return
        if reason in AGAIN:
            self._again.append(wait)
            return
        if not reason:
            self.fresh_at = max(self.fresh_at, wait.asked)
        self._end(wait, reason, index)

    def _end(self, wait: _Wait, reason: str, index: int) -> None:
        self._waits.discard(wait)
        ready, wait.ready = wait.ready, None
        if ready is not None:
            if reason:
                self.failed[reason] = self.failed.get(reason, 0) + 1
            ready(reason, index)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        again, self._again = self._again, []
        for wait in again:
            if wait.deadline > now:
                self._ask(wait)
        for wait in [wait for wait in self._waits if wait.deadline <= now]:
            self._end(wait, "timeout", 0)
        if self._waits:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    # -- bounded staleness

    def _keep_fresh(self, now: float, max_staleness_s: float) -> None:
        if max_staleness_s == inf:
            return
        self._stale_until = now + REFRESH_S
        self._stale_s = max_staleness_s
        if self._refreshing is None:
            self._refreshing = self._loop.call_later(0.0, self._refresh)

    def _refresh(self) -> None:
        self._refreshing = None
        now = time.monotonic()
        host = self._host()
        if now > self._stale_until:
            return
        if host is not None and not host.broken:
            host.read(lambda reason, index: self._refreshed(now, reason))
        self._refreshing = self._loop.call_later(min(max(self._stale_s / 3.0, 0.05), 1.0), self._refresh)

    def _refreshed(self, asked: float, reason: str) -> None:
        if not reason:
            self.fresh_at = max(self.fresh_at, asked)

    def stop(self) -> None:
        for timer in (self._timer, self._refreshing):
            if timer is not None:
                timer.cancel()
        for wait in list(self._waits):
            self._end(wait, "stopped", 0)
