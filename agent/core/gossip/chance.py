"""The random generator that is handed in; `random.Random` fits."""

from collections.abc import Sequence
from typing import Protocol


class Chance(Protocol):
    """Where choices come from: seeded in the simulator, so that a run can be replayed."""

    def random(self) -> float: ...


def pick(chance: Chance, among: Sequence[str], count: int) -> list[str]:
    """Up to `count` different ones at random."""
    if count >= len(among):
        return list(among)
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        chosen[among[int(chance.random() * len(among))]] = None
    return list(chosen)
