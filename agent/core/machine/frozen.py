"""The key-value store as it was at one moment, told in order while it goes on changing.

Nothing is copied beforehand: as long as keys have not been told, the first change of each puts aside what it was.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from agent.core.machine.ordered import Ordered
from agent.core.machine.records import Event, Record

BATCH: Final = 256
"""Keys looked up in one go."""


class Frozen:
    """count: of keys at that moment. saved: what keys not told yet were before they changed; None: not there."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.saved: dict[bytes, Record | None] = {}
        self.cursor: bytes | None = None
        """Every key up to this one has been told."""
        self._order = Ordered()

    def keep(self, key: bytes, old: Record | None) -> None:
        """The key is about to change."""
        if (self.cursor is None or key > self.cursor) and key not in self.saved:
            self.saved[key] = old
            self._order.add(key)

    def take(self, order: Ordered, records: dict[bytes, Record]) -> tuple[list[tuple[bytes, Record]], bool]:
        """The next keys as they were, and whether there may be more."""
        start = b"" if self.cursor is None else self.cursor + b"\0"
        live = list(islice(order.between(start, b""), BATCH))
        last = live[-1] if len(live) == BATCH else None
        changed = list(self._order.between(b"", b"" if last is None else last + b"\0"))
        found: list[tuple[bytes, Record]] = []
        for key in sorted({*live, *changed}) if changed else live:
            record = self.saved.pop(key) if key in self.saved else records[key]
            if record is not None:
                found.append((key, record))
        for key in changed:
            self._order.remove(key)
        if last is not None:
            self.cursor = last
        return found, last is not None


def rows_of(
    frozen: Frozen,
    order: Ordered,
    records: dict[bytes, Record],
    compacted: int,
    events: list[Event],
    done: Callable[[Frozen], None],
) -> Iterator[Any]:
    """Rows of a snapshot. The first thing yielded is no row: whoever makes this takes it at once, so that `done` is called however
    it ends."""
    try:
        yield None
        yield compacted, frozen.count
        more = True
        while more:
            found, more = frozen.take(order, records)
            if not more:
                done(frozen)
            yield from found
    finally:
        done(frozen)
    yield from events
