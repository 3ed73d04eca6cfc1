"""Calls that wait for a lock, a leadership, a barrier: looked at again whenever what they wait for has changed."""

import asyncio
from collections.abc import Callable
from typing import Final

from agent.core.machine.machine import Machine

WAITS_MAX: Final = 10_000

Topic = tuple[str, bytes]
"""A part of the state machine and a name in it."""


class Wait:
    """look: the state may have changed; True when the wait is over. late: it has lasted long enough."""

    __slots__ = ("late", "look", "over", "timer", "topic")

    def __init__(self, topic: Topic, look: Callable[[Machine], bool], late: Callable[[], None]) -> None:
        self.topic = topic
        self.look = look
        self.late = late
        self.timer: asyncio.TimerHandle | None = None
        self.over = False


class Waits:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waits: dict[Topic, dict[Wait, None]] = {}
        self._count = 0
        self._machine: Machine | None = None
        self._life = -1

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        return self._count >= WAITS_MAX

    def add(self, wait: Wait, machine: Machine | None, seconds: float) -> None:
        """Wait so long at most; 0: for as long as it is not dropped. Looks at once."""
        self._see(machine)
        if machine is not None and wait.look(machine):
            wait.over = True
            return
        self._waits.setdefault(wait.topic, {})[wait] = None
        self._count += 1
        if seconds > 0.0:
            wait.timer = self._loop.call_later(seconds, self._late, wait)

    def drop(self, wait: Wait) -> None:
        """No longer wait."""
        wait.over = True
        waiting = self._waits.get(wait.topic)
        if waiting is None or wait not in waiting:
            return
        del waiting[wait]
        self._count -= 1
        if wait.timer is not None:
            wait.timer.cancel()
        if not waiting:
            del self._waits[wait.topic]
            if not self._waits and self._machine is not None:
                self._machine.watch(False)
                self._machine = None

    def on_applied(self, machine: Machine) -> None:
        if not self._waits:
            return
        if machine is not self._machine or machine.life != self._life:
            self._see(machine)
            topics = list(self._waits)
        else:
            touched = machine.take_touched()
            if not touched:
                return
            topics = sorted(touched & self._waits.keys())
        for topic in topics:
            for wait in list(self._waits.get(topic, ())):
                if wait.look(machine):
                    self.drop(wait)

    def _see(self, machine: Machine | None) -> None:
        if machine is not None and (machine is not self._machine or machine.life != self._life):
            machine.watch(True)
            self._machine = machine
            self._life = machine.life

    def _late(self, wait: Wait) -> None:
        self.drop(wait)
        wait.late()
