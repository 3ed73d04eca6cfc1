"""Counters. Additions commute: in 64 bits they wrap, and no order of them gives another sum."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine.commands import CounterAdd, CounterDelete
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Footprint, Part, PartType
from agent.core.machine.seats import complaint_of
from agent.core.machine.shared import Shared

VERSION: Final = 1
COUNTERS: Final = "counters"
_HALF: Final = 1 << 63
_WHOLE: Final = 1 << 64


class Counters(Part):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.table: dict[bytes, int] = {}

    def on_add(self, command: CounterAdd) -> Outcome:
        name = command.name
        shared = self.shared
        before = self.table.get(name)
        if before is None:
            wrong = complaint_of(shared, name)
            if wrong is not None:
                return wrong
            if len(self.table) >= shared.limits.counters:
                return Outcome("full", shared.revision, f"counters: at most {shared.limits.counters}")
            before = 0
        value = (before + command.delta + _HALF) % _WHOLE - _HALF
        self.table[name] = value
        shared.touch(COUNTERS, name)
        return Outcome("", shared.revision, value if command.read else None)

    def on_delete(self, command: CounterDelete) -> Outcome:
        last = self.table.pop(command.name, None)
        if last is not None:
            self.shared.touch(COUNTERS, command.name)
        return Outcome("", self.shared.revision, last)

    # -- Part

    def roomy(self) -> bool:
        return len(self.table) * 8 <= self.shared.limits.counters * 7

    def freeze(self) -> Iterator[Any]:
        return iter(sorted(self.table.items()))

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            name, value = msgspec.convert(row, tuple[bytes, int])
            self.table[name] = value


def _of(command: CounterAdd | CounterDelete) -> Footprint:
    return frozenset((b"counter/" + command.name,))


def _unread(command: CounterAdd) -> bool:
    return not command.read


COUNTERS_PART: Final = PartType(
    COUNTERS,
    VERSION,
    Counters,
    (
        CommandType(CounterAdd, Counters.on_add, keys=_of, commutes=_unread),
        CommandType(CounterDelete, Counters.on_delete, keys=_of),
    ),
)
