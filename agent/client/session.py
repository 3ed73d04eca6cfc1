"""Exactly once: each command goes out under a session and a number, and keeps them through every repetition."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

WINDOW_SHARE: Final = 2
"""Of the session's window half is used: what the group still remembers is always more than what may be asked again."""


class SessionNumbers:
    """The numbers of one session's commands. `window`: how far apart those under way may be."""

    def __init__(self, session: int, window: int, ttl_s: float) -> None:
        self.session = session
        self.ttl_s = ttl_s
        self._span = max(window // WINDOW_SHARE, 1)
        self._next = 1
        self._under_way: set[int] = set()

    @property
    def acked(self) -> int:
        """The outcomes of everything up to here are known."""
        return min(self._under_way, default=self._next) - 1

    def can_begin(self) -> bool:
        return self._next - self.acked <= self._span

    def begin(self) -> int:
        number = self._next
        self._next += 1
        self._under_way.add(number)
        return number

    def end(self, number: int) -> None:
        self._under_way.discard(number)


class Sessions:
    """Opens one when the first command needs it, and another when the group has forgotten it. `make`: asks for one; returns (session,
    window, ttl_s). `keep`: keeps it; False where it is gone."""

    def __init__(
        self,
        make: Callable[[], Awaitable[tuple[int, int, float]]],
        keep: Callable[[int], Awaitable[bool]],
        end: Callable[[int], Awaitable[None]],
    ) -> None:
        self._make = make
        self._keep = keep
        self._end = end
        self._now: SessionNumbers | None = None
        self._lock = asyncio.Lock()
        self._freed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def command(self) -> AsyncIterator[dict[str, str]]:
        """The headers for one command, the same for all of its repetitions."""
        numbers = await self._current()
        while not numbers.can_begin():
            self._freed.clear()
            await self._freed.wait()
        number = numbers.begin()
        try:
            yield {
                "Pilotfish-Session": str(numbers.session),
                "Pilotfish-Request": str(number),
                "Pilotfish-Acked": str(numbers.acked),
            }
        finally:
            numbers.end(number)
            self._freed.set()

    async def _current(self) -> SessionNumbers:
        async with self._lock:
            if self._now is None:
                session, window, ttl_s = await self._make()
                self._now = SessionNumbers(session, window, ttl_s)
                if self._keeper is not None:
                    self._keeper.cancel()
                self._keeper = asyncio.create_task(self._keep_alive(self._now))
            return self._now

    def forget(self, session: str) -> None:
        """The group does not know it any more: the next command opens another."""
        if self._now is not None and str(self._now.session) == session:
            self._now = None

    async def _keep_alive(self, numbers: SessionNumbers) -> None:
        while self._now is numbers:
            await asyncio.sleep(numbers.ttl_s / 3)
            if not await self._keep(numbers.session):
                self.forget(str(numbers.session))

    async def close(self) -> None:
        """End the session, as far as the agent can be reached."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        numbers, self._now = self._now, None
        if numbers is not None:
            await self._end(numbers.session)
