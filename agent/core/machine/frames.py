"""How a snapshot begins."""

from typing import Final

from msgspec import Struct

from agent.core.machine.commands import Count

FORMAT: Final = 1


class Header(Struct, frozen=True, array_like=True):
    """parts: (name, version) in the order in which their rows follow."""

    format: int
    index: Count
    time_ms: Count
    revision: Count
    fence: Count
    parts: list[tuple[str, int]]
