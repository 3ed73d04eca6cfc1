"""The machine's own part: its bounds, which the log sets, and the tick that only carries time."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine.commands import SetLimits, Tick
from agent.core.machine.config import Limits
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType

VERSION: Final = 1


class Bounds(Part):
    def on_tick(self, command: Tick) -> Outcome:
        return Outcome("", self.shared.revision)

    def on_limits(self, command: SetLimits) -> Outcome:
        """What is there already stays, even beyond a new bound."""
        limits = self.shared.limits
        for name in sorted(command.bounds):
            if name not in Limits.__struct_fields__:
                return Outcome("invalid", self.shared.revision, f"limit {name!r}: expected one of {', '.join(Limits.__struct_fields__)}")
        self.shared.limits = msgspec.structs.replace(limits, **command.bounds)
        return Outcome("", self.shared.revision)

    def freeze(self) -> Iterator[Any]:
        return iter([msgspec.structs.asdict(self.shared.limits)])

    def load(self, version: int, rows: Iterator[Any]) -> None:
        self.shared.limits = Limits(**msgspec.convert(next(rows), dict[str, int]))


BOUNDS: Final = PartType("bounds", VERSION, Bounds, (CommandType(Tick, Bounds.on_tick), CommandType(SetLimits, Bounds.on_limits)))
