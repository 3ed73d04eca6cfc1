"""Fast paths that are broken on purpose, one obligation each; `tests/unit/raft/test_fast.py` has more."""

from collections.abc import Mapping
from typing import Any

from agent.core.raft.core import Raft
from agent.core.raft.desk import Desk
from agent.core.raft.messages import Held
from agent.core.replica.log import Entry


class NoReplay(Raft):
    """A new leader does not ask what its voters hold."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._leader._ordering._to_replay = lambda sets: []  # type: ignore[method-assign]


class BlindLeader(Raft):
    """The leader accepts what conflicts with what is held and with entries that are not committed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        ordering = self._leader._ordering
        begin = ordering.begin

        def begin_blind(sets: Mapping[int, tuple[Held, ...]]) -> list[Entry]:
            made = begin(sets)
            ordering._pending.conflicts = lambda keys, commit: False  # type: ignore[method-assign]
            return made

        ordering.begin = begin_blind  # type: ignore[method-assign]
        self._desk.witness.conflicts = lambda keys: False  # type: ignore[method-assign]


class Committed(Desk):
    fast_index = property(lambda self: 0, lambda self, value: None)  # type: ignore[assignment]


class EarlyReads(Raft):
    """The leader's reads do not wait for what was answered before it was committed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._desk.__class__ = Committed


MUTANTS = (NoReplay, BlindLeader, EarlyReads)
