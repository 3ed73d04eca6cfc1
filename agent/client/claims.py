"""What is held under a lease of its own: the way to it, and what is known of it afterwards."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from agent.client.errors import AgentUnreachable, LeaseLost, Locked, LockLost, NotFound, OutcomeUnknown, SidecarError, Unavailable, WaitOver
from agent.client.leases import Lease, Leases, let_go
from agent.client.transport import BACKOFF_S, BACKOFF_S_MAX, Api

WAIT_S_MAX: Final = 3600.0
"""So long an agent lets one wait. Who waits longer asks again then, and stands at the queue's end."""
T = TypeVar("T")

_AGAIN: Final = (OutcomeUnknown, Unavailable, AgentUnreachable, LeaseLost, NotFound)
_WAITED: Final = (Locked, WaitOver)


class Held:
    """A lock that is held, or a leadership. Give `token` to whatever you change under it, and let that refuse a smaller one than it has
    seen: no lock alone keeps out a holder that was stopped for longer than its time to live.

    `lost` is set as soon as it is not held any more, or nobody can say that it is."""

    def __init__(self, lease: Lease, name: str, token: int, what: str) -> None:
        self.lease = lease
        self.name = name
        self.token = token
        self._what = what

    @property
    def lost(self) -> asyncio.Event:
        return self.lease.lost

    def on_lost(self, call: Callable[[], None]) -> None:
        """Called once, on the loop, as soon as it is lost; at once where it is."""
        self.lease.on_lost(call)

    def check(self) -> None:
        """Raises LockLost where it is lost. Ask before each step that relies on it."""
        try:
            self.lease.check()
        except LeaseLost:
            raise LockLost(f"{self._what} {self.name!r} is not held any more: stop what it guards", "lock_lost") from None

    async def release(self) -> None:
        """The next one's turn. Where the agent cannot be reached it ends by itself."""
        try:
            await self.lease.revoke()
        except SidecarError:
            self.lease.abandon()

    async def __aenter__(self) -> "Held":
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        lost = self.lost.is_set()
        await self.release()
        if lost and kind is None:
            raise LockLost(f"{self._what} {self.name!r} was lost while it was relied on", "lock_lost")


async def claim(api: Api, ttl_s: float, wait_s: float | None, attempt: Callable[[Lease, float], Awaitable[T]]) -> tuple[Lease, T]:
    """Try with a lease of its own, which is kept alive, and wait at most `wait_s` (None: without an end; 0: not at all).

    Where it is not known what became of a try, its lease is ended before the next one: a claim that was left behind would stand in
    the way of ours, and be kept alive by us."""
    began = time.monotonic()
    wait_end = None if wait_s is None else began + wait_s
    end = None if wait_s is None else began + max(wait_s, api.timeout_s)
    pause = BACKOFF_S
    while True:
        lease = await Leases(api).grant(ttl_s)
        lease.keep_alive()
        try:
            left_s = WAIT_S_MAX if wait_end is None else max(wait_end - time.monotonic(), 0.0)
            left_s = min(left_s, WAIT_S_MAX)
            return lease, await attempt(lease, left_s)
        except _WAITED:
            await let_go(lease)
            if left_s < WAIT_S_MAX:
                raise
        except _AGAIN:
            await let_go(lease)
            if end is not None and time.monotonic() + pause >= end:
                raise
        except BaseException:
            await asyncio.shield(let_go(lease))
            raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, BACKOFF_S_MAX)
