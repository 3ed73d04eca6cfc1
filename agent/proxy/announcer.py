"""What the local application offers to other members, and whether it is well enough to be announced."""

import asyncio
from collections.abc import Callable

from agent.core.routing.endpoint import EndpointSpec
from agent.proxy.config import Announcement
from agent.proxy.health import JITTER, Streak, probe

EAGER_S = 0.5
"""How soon an application that has not answered yet is asked again: it is starting beside this agent."""


class _Watch:
    """One announcement under check."""

    def __init__(self, announcement: Announcement, spec: EndpointSpec) -> None:
        self.announcement = announcement
        self.spec = spec
        self.streak = Streak(False)
        self.task: asyncio.Task[None] | None = None


class Announcer:
    """Checks each announcement. changed: called when what is to be announced changed; share: a random number from 0 to 1."""

    def __init__(self, changed: Callable[[], None], share: Callable[[], float]) -> None:
        self._changed = changed
        self._share = share
        self._watches: list[_Watch] = []
        self._withdrawn = False

    def install(self, wanted: list[tuple[Announcement, EndpointSpec]]) -> None:
        """Take these; those that stay as they are keep what is known of their health."""
        kept: list[_Watch] = []
        for announcement, spec in wanted:
            watch = next((one for one in self._watches if one.announcement == announcement), None)
            if watch is None:
                watch = _Watch(announcement, spec)
                watch.task = asyncio.get_running_loop().create_task(self._check(watch))
            kept.append(watch)
        for watch in self._watches:
            if watch not in kept and watch.task is not None:
                watch.task.cancel()
        self._watches = kept
        self._changed()

    def healthy(self) -> list[tuple[Announcement, EndpointSpec]]:
        """What is to be announced now."""
        return [] if self._withdrawn else [(one.announcement, one.spec) for one in self._watches if one.streak.good]

    def rows(self) -> list[tuple[Announcement, bool]]:
        """Every announcement, and whether it is out."""
        return [(one.announcement, one.streak.good and not self._withdrawn) for one in self._watches]

    def withdraw(self) -> bool:
        """Announce nothing any more. True where something had been."""
        had = bool(self.healthy())
        self._withdrawn = True
        self._changed()
        return had

    def stop(self) -> None:
        for watch in self._watches:
            if watch.task is not None:
                watch.task.cancel()

    async def _check(self, watch: _Watch) -> None:
        check = watch.announcement.health
        streak = watch.streak
        eager = True
        while True:
            good = await probe(watch.spec, check)
            if eager and good:
                eager = False
                streak.good = True
                self._changed()
            elif streak.add(good, check):
                self._changed()
            wait_s = min(check.interval, EAGER_S) if eager else check.interval
            await asyncio.sleep(wait_s * (1.0 + JITTER * (2.0 * self._share() - 1.0)))
