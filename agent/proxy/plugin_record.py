"""What the host keeps of each plugin: its record, and its background work."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from agent.hooks import Plugin

BACKGROUND_MAX: Final = 1000
"""Pieces of work that one plugin may have waiting."""
WORKERS: Final = 2
"""Pieces of work of one plugin that run at once."""
BACKGROUND_S: Final = 30.0
"""A piece of background work that takes longer is cancelled, and a fault."""
FORGIVEN_AFTER: Final = 100
"""So many calls without a fault make up for one."""
EVENTS_MAX: Final = 32
"""Counters of a plugin's own."""


class Loaded:
    """One plugin and its record."""

    def __init__(self, name: str, plugin: Plugin, required: bool, budget_s: float, faults_max: int) -> None:
        self.name = name
        self.plugin = plugin
        self.required = required
        self.budget_s = budget_s
        self.faults_max = faults_max
        self.calls = 0
        self.faults = 0
        self.slow = 0
        self.strikes = 0
        """Faults that have not been made up for."""
        self.good = 0
        self.time_s = 0.0
        self.enabled = True
        self.last_fault = ""
        self.events: dict[str, int] = {}
        self.backlog: Backlog | None = None
        self.background_done = 0
        self.background_dropped = 0

    def overrides(self, hook: str) -> bool:
        return getattr(type(self.plugin), hook) is not getattr(Plugin, hook)

    def was_good(self) -> None:
        """A call while there are strikes went well."""
        self.good += 1
        if self.good >= FORGIVEN_AFTER:
            self.good = 0
            self.strikes -= 1

    def count(self, event: str, amount: int) -> None:
        """Add to a counter of the plugin's own; those past the bound go into one named ``other``."""
        if event not in self.events and len(self.events) >= EVENTS_MAX:
            event = "other"
        self.events[event] = self.events.get(event, 0) + amount


class Backlog:
    """The background work of one plugin: at most `BACKGROUND_MAX` waiting, `WORKERS` under way. Made at the first use."""

    def __init__(self, entry: Loaded, fault: Callable[[Loaded, str], None]) -> None:
        self._entry = entry
        self._fault = fault
        self._waiting: deque[tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> bool:
        """False where the queue is full."""
        if len(self._waiting) >= BACKGROUND_MAX:
            return False
        self._waiting.append((work, args))
        if len(self._workers) < WORKERS:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return True

    async def _work(self) -> None:
        """Work until nothing waits."""
        while self._waiting:
            work, args = self._waiting.popleft()
            try:
                async with asyncio.timeout(BACKGROUND_S):
                    await work(*args)
                self._entry.background_done += 1
            except BaseException as error:  # a plugin's SystemExit or CancelledError is its fault, not ours
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self._fault(self._entry, f"background work failed: {error!r}")

    async def finish(self, seconds: float) -> None:
        """Give what waits so long, then drop it."""
        if self._workers:
            await asyncio.wait(self._workers, timeout=seconds)
        self._entry.background_dropped += len(self._waiting)
        self._waiting.clear()
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
