"""Watches: whoever wants to hear of changed keys, from a revision on.

A watch is a place in the history and nothing more, so none costs memory for being slow. While its reader takes what is written it is
*live*: new events are told as they are applied. When the reader stops, the watch stays where it is; when the reader goes on it catches up
from the history, and if that has forgotten what comes next, it hears so (`compacted`) and ends.
"""

import asyncio
from typing import Final, Protocol

from agent.core.machine.history import Compacted
from agent.core.machine.machine import Machine
from agent.core.machine.records import Event
from agent.runtime.wheel import TimerWheel
from agent.state.config import ApiConfig
from agent.state.figures import ApiFigures
from agent.state.service import Service

BATCH_MAX: Final = 1_024
"""Events looked at in one go, so that a watch that catches up holds nobody else up for long."""


class Sink(Protocol):
    """Where a watch tells its events."""

    @property
    def ready(self) -> bool:
        """Whether more can be written now; when that becomes so again, the sink calls `Hub.resume`."""

    def tell(self, watch: "Watch", events: list[Event]) -> None: ...
    def compacted(self, watch: "Watch", oldest: int, revision: int) -> None:
        """The watch has ended."""


class Watch:
    """Keys from `start` to before `end` (empty: no end), events beyond `cursor`. id: its sink's."""

    __slots__ = ("cursor", "end", "id", "live", "sink", "start", "values")

    def __init__(self, sink: Sink, id: int, start: bytes, end: bytes, cursor: int, values: bool) -> None:
        self.sink = sink
        self.id = id
        self.start = start
        self.end = end
        self.cursor = cursor
        self.values = values
        self.live = False

    @property
    def one_key(self) -> bool:
        return self.end == self.start + b"\0"

    def covers(self, key: bytes) -> bool:
        return key >= self.start and (not self.end or key < self.end)


class Hub:
    def __init__(self, service: Service, config: ApiConfig, figures: ApiFigures, wheel: TimerWheel) -> None:
        self.config = config
        self.figures = figures
        self.wheel = wheel
        self.loop = asyncio.get_running_loop()
        self._service = service
        self._watches: dict[Watch, None] = {}
        self._keys: dict[bytes, dict[Watch, None]] = {}
        """Live watches of one key."""
        self._ranges: dict[Watch, None] = {}
        """Live watches of ranges."""
        self._behind: dict[Watch, None] = {}
        """Those that could be live once the others have heard of everything."""
        self._position = 0
        """Live watches have heard of everything up to this revision."""
        self._life = -1

    @property
    def full(self) -> bool:
        return self.figures.watches >= self.config.watches_max

    @property
    def position(self) -> int:
        machine = self._service.machine
        return machine.revision if machine is not None else self._position

    def add(self, watch: Watch) -> None:
        """Begin to tell it, now."""
        self._watches[watch] = None
        self.resume(watch)

    def drop(self, watch: Watch) -> None:
        self._watches.pop(watch, None)
        self._behind.pop(watch, None)
        self._calm(watch)

    def resume(self, watch: Watch) -> None:
        """Let it catch up, and be live from then on."""
        machine = self._service.machine
        if watch.live or watch not in self._watches or machine is None:
            return
        if machine.life != self._life:
            self.on_applied(machine)
            return
        if not (self._keys or self._ranges):
            self._position = machine.revision
        while watch.sink.ready and watch in self._watches:
            try:
                events = machine.kv.history.after(watch.cursor, BATCH_MAX)
            except Compacted as gone:
                self._compacted(watch, gone.oldest, machine.revision)
                return
            if not events:
                break
            mine = [event for event in events if watch.covers(event.key)]
            watch.cursor = events[-1].revision
            if mine:
                self.figures.events += len(mine)
                watch.sink.tell(watch, mine)
            if len(events) >= BATCH_MAX:
                self.loop.call_soon(self.resume, watch)
                return
        if watch in self._watches and watch.sink.ready:
            if machine.revision == self._position:
                self._enliven(watch)
            else:
                self._behind[watch] = None

    def _enliven(self, watch: Watch) -> None:
        watch.live = True
        if watch.one_key:
            self._keys.setdefault(watch.start, {})[watch] = None
        else:
            self._ranges[watch] = None

    def _calm(self, watch: Watch) -> None:
        if not watch.live:
            return
        watch.live = False
        watch.cursor = max(watch.cursor, self._position)
        if watch.one_key:
            same = self._keys.get(watch.start)
            if same is not None:
                same.pop(watch, None)
                if not same:
                    del self._keys[watch.start]
        else:
            self._ranges.pop(watch, None)

    def _compacted(self, watch: Watch, oldest: int, revision: int) -> None:
        self.drop(watch)
        self.figures.compacted += 1
        watch.sink.compacted(watch, oldest, revision)

    def _all_behind(self, machine: Machine) -> None:
        """Nobody is live any more; from here on they can be again."""
        for watch in [watch for watch in self._watches if watch.live]:
            self._calm(watch)
        self._life = machine.life
        self._position = machine.revision

    def on_applied(self, machine: Machine) -> None:
        """Entries have been applied, or a snapshot has taken the state's place."""
        if not self._watches or (machine.revision == self._position and machine.life == self._life):
            return
        if machine.life == self._life and (self._keys or self._ranges):
            try:
                events = machine.kv.history.after(self._position, BATCH_MAX)
            except Compacted:
                events = []
            if events and events[-1].revision == machine.revision:
                self._tell_live(events)
                self._position = machine.revision
                behind, self._behind = self._behind, {}
                for watch in behind:
                    self.resume(watch)
                return
        # So much at once, or another state: everybody catches up for itself.
        self._all_behind(machine)
        for watch in list(self._watches):
            self.resume(watch)

    def _tell_live(self, events: list[Event]) -> None:
        heard: dict[Watch, list[Event]] = {}
        for event in events:
            key = event.key
            one = self._keys.get(key)
            for watch in one or ():
                heard.setdefault(watch, []).append(event)
            for watch in self._ranges:
                if watch.covers(key):
                    heard.setdefault(watch, []).append(event)
        for watch, mine in heard.items():
            if not watch.live:
                continue
            if not watch.sink.ready:
                self._calm(watch)  # before the position moves: it has not heard of these
                continue
            if mine[0].revision <= watch.cursor:
                mine = [event for event in mine if event.revision > watch.cursor]
                if not mine:
                    continue
            self.figures.events += len(mine)
            watch.cursor = max(watch.cursor, events[-1].revision)
            watch.sink.tell(watch, mine)
