"""What a voter holds for the leader's successor: commands that it accepted and that it does not know to be committed.

No two of them conflict. They are written with the term and the vote (`HardState.extra`), and a voter says that it accepted one only
when that is durable: what a decision rests on survives a crash. Who votes shows them to the candidate.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.core.raft.fast.keys import KIND_BITS, KIND_MASK, Keys
from agent.core.raft.messages import Held
from agent.core.replica.log import Entry

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[Held, ...])


class Witness:
    """`extra`: what was written down by an earlier life."""

    def __init__(self, count_max: int, bytes_max: int, extra: bytes, now: float) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._cells: dict[int, tuple[int, int]] = {}
        """By key: of which kind the commands are that have it, and how many they are."""
        self.commands: dict[bytes, tuple[Keys, float]] = {}
        """Each with its keys, and since when it is held; the oldest first."""
        self._bytes = 0
        self.changed = False
        """Since it was written down last."""
        for held in _decoder.decode(extra) if extra else ():
            self._put(held.command, held.keys, now)

    def accept(self, command: bytes, keys: Keys, now: float) -> bool:
        """Hold it. False: it conflicts with another, or there is no room. One that is held already is accepted again."""
        if command in self.commands:
            return True
        if len(self.commands) >= self._count_max or self._bytes + len(command) > self._bytes_max or self.conflicts(keys):
            return False
        self._put(command, keys, now)
        return True

    def conflicts(self, keys: Keys) -> bool:
        for key in keys:
            cell = self._cells.get(key >> KIND_BITS)
            if cell is not None and not cell[0] == key & KIND_MASK != 0:
                return True
        return False

    def _put(self, command: bytes, keys: Keys, now: float) -> None:
        self.commands[command] = (keys, now)
        self._bytes += len(command)
        self.changed = True
        for key in keys:
            _, count = self._cells.get(key >> KIND_BITS, (0, 0))
            self._cells[key >> KIND_BITS] = (key & KIND_MASK, count + 1)

    def forget(self, command: bytes) -> None:
        """It is committed."""
        held = self.commands.pop(command, None)
        if held is None:
            return
        self._bytes -= len(command)
        self.changed = True
        for key in held[0]:
            kind, count = self._cells[key >> KIND_BITS]
            if count > 1:
                self._cells[key >> KIND_BITS] = (kind, count - 1)
            else:
                del self._cells[key >> KIND_BITS]

    def forget_entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.data in self.commands:
                self.forget(entry.data)

    def all(self) -> tuple[Held, ...]:
        return tuple([Held(keys, command) for command, (keys, _) in self.commands.items()])

    def encoded(self) -> bytes:
        """As it is written down."""
        self.changed = False
        return _encoder.encode(self.all()) if self.commands else b""

    def older_than(self, since: float, count: int) -> list[bytes]:
        """Up to so many commands that are held since then or earlier."""
        found: list[bytes] = []
        for command, (_, when) in self.commands.items():
            if when > since or len(found) == count:
                break
            found.append(command)
        return found
