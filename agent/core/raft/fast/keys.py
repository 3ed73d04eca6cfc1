"""What commands touch, as numbers: two commands conflict if they share a key, unless both commute there with all of one kind.

A key is its CRC-32 and, in the last 8 bits, the kind of commuting command (0: none). That two keys have one CRC costs a conflict, no more.
"""

from collections.abc import Iterable
from typing import Final
from zlib import crc32

Keys = tuple[int, ...]
KIND_BITS: Final = 8
KIND_MASK: Final = (1 << KIND_BITS) - 1
KEYS_MAX: Final = 64
"""Keys of one command; who touches more goes the ordered way."""
KEY_MAX: Final = 1 << (32 + KIND_BITS)


def keys_of(footprint: Iterable[bytes], kind: int = 0) -> Keys:
    """`kind`, 1 to 255: the command may change places with others of this kind on the same keys."""
    return tuple(sorted({crc32(key) << KIND_BITS | kind for key in footprint}))


def needed(voters: int) -> int:
    """How many acceptances, the leader's among them, decide: so many that of any majority more than half has the command. With n = 2f + 1
    this is the paper's f + ceil(f/2) + 1: 3 of 3, 4 of 5, 6 of 7."""
    majority = voters // 2 + 1
    return voters - (majority - 1) // 2


def witnessed(voters: int, heard: int) -> int:
    """A command that was decided is with at least so many of any `heard` voters: the paper's ceil(f/2) + 1 of f + 1."""
    return max(needed(voters) + heard - voters, 1)


class Pending:
    """Keys of entries that are not committed. `barrier`: up to this index are entries that conflict with everything."""

    def __init__(self, barrier: int) -> None:
        self.barrier = barrier
        self._last: dict[int, tuple[int, int]] = {}
        self._bound = 1024

    def add(self, keys: Keys | None, index: int, commit: int) -> None:
        if keys is None:
            self.barrier = index
            return
        last = self._last
        for key in keys:
            kind = key & KIND_MASK
            before = last.get(key >> KIND_BITS)
            # Of several kinds at once: as if none of them commuted, until all are committed.
            mixed = before is not None and before[1] > commit and before[0] != kind
            last[key >> KIND_BITS] = (0 if mixed else kind, index)
        if len(last) > self._bound:
            self._last = {key: one for key, one in last.items() if one[1] > commit}
            self._bound = max(1024, 2 * len(self._last))

    def conflicts(self, keys: Keys, commit: int) -> bool:
        if self.barrier > commit:
            return True
        for key in keys:
            before = self._last.get(key >> KIND_BITS)
            if before is not None and before[1] > commit and not before[0] == key & KIND_MASK != 0:
                return True
        return False
