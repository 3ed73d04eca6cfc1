"""The latest events of the key-value store, bounded, so that a watch can go on from a revision."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from agent.core.machine.records import Event

EVENT_BYTES: Final = 96
"""What an event costs beside its key and value, about."""


class Compacted(Exception):
    """The events asked for are no longer kept: read anew, then watch from there. `oldest`: the first revision after which one can watch."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"events up to revision {oldest} are no longer kept")
        self.oldest = oldest


class History:
    """Events by revision, ascending; several of one revision in the order in which they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.begin = 0
        """Where in `events` the kept ones begin."""
        self.bytes = 0
        self.compacted = 0
        """Events of revisions up to this one are gone (some of them or all)."""

    def __len__(self) -> int:
        return len(self.events) - self.begin

    def add(self, event: Event, events_max: int, bytes_max: int) -> None:
        events = self.events
        events.append(event)
        self.bytes += _size(event)
        if self.bytes > bytes_max or len(events) - self.begin > events_max:
            self._trim(events_max, bytes_max)

    def _trim(self, events_max: int, bytes_max: int) -> None:
        events = self.events
        begin = self.begin
        while begin < len(events) and (len(events) - begin > events_max or self.bytes > bytes_max):
            event = events[begin]
            self.bytes -= _size(event)
            self.compacted = event.revision
            events[begin] = _GONE  # what it held may be large
            begin += 1
        self.begin = begin
        if begin > 1_024 and begin > len(events) // 2:
            del events[:begin]
            self.begin = 0

    def after(self, revision: int, limit: int) -> list[Event]:
        """Up to about `limit` events of revisions beyond `revision`, whole revisions. Raises Compacted."""
        if revision < self.compacted:
            raise Compacted(self.compacted)
        events = self.events
        if not events or events[-1].revision <= revision:
            return []
        start = bisect_right(events, revision, self.begin, key=_revision)
        end = min(start + limit, len(events))
        while end < len(events) and events[end].revision == events[end - 1].revision:
            end += 1
        return events[start:end]

    def kept(self) -> list[Event]:
        return self.events[self.begin :]

    def load(self, compacted: int, events: Iterable[Event]) -> None:
        self.events = list(events)
        self.begin = 0
        self.bytes = sum(map(_size, self.events))
        self.compacted = compacted


def _revision(event: Event) -> int:
    return event.revision


def _size(event: Event) -> int:
    record = event.record
    return EVENT_BYTES + len(event.key) + (len(record.value) if record is not None else 0)


_GONE: Final = Event(0, b"")
