"""What the log asks of a disk: a folder of files. A real one is `agent/runtime/wal/folder.py`, a simulated one in `agent/sim`.

Names:
    0000000000000001.wal            a segment, by sequence, in hexadecimal
    0000000000000040-0000000000000007.snap  a snapshot, by index and term
    *.tmp                           one that is being made; left by a crash, it is thrown away
    creating                        while a log is being made: with it there, nothing was ever promised
    lock                            held while the log is open (real disks only)
"""

from typing import Final, Protocol

from msgspec import Struct

SEGMENT: Final = ".wal"
SNAP: Final = ".snap"
ASIDE: Final = ".tmp"
CREATING: Final = "creating"
LOCK: Final = "lock"


class Write(Struct, frozen=True, gc=False):
    """Write at the offset; then everything written to the file so far is made durable (`sync`). The file is made if it is not there."""

    name: str
    offset: int
    data: bytes
    sync: bool = True


class Truncate(Struct, frozen=True, gc=False):
    """Cut off the end, durably."""

    name: str
    size: int


class Sync(Struct, frozen=True, gc=False):
    """Make durable what the file holds, its length included."""

    name: str


class SyncFolder(Struct, frozen=True, gc=False):
    """Make durable which names there are."""


class Rename(Struct, frozen=True, gc=False):
    old: str
    new: str


class Remove(Struct, frozen=True, gc=False):
    name: str


Op = Write | Truncate | Sync | SyncFolder | Rename | Remove


class Disk(Protocol):
    """A folder. Raises OSError, as the operations of a file system do."""

    def names(self) -> list[str]:
        """Of all files, sorted."""

    def size(self, name: str) -> int:
        """In octets."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Less where the file ends."""

    def run(self, op: Op) -> None:
        """Carry it out; it is done when this returns. Operations are carried out in the order in which the log gives them."""


def segment_name(sequence: int) -> str:
    return f"{sequence:016x}{SEGMENT}"


def segment_sequence(name: str) -> int | None:
    """None for the name of anything else."""
    return _number(name.removesuffix(SEGMENT), 16) if name.endswith(SEGMENT) else None


def snapshot_name(index: int, term: int) -> str:
    return f"{index:016x}-{term:016x}{SNAP}"


def snapshot_place(name: str) -> tuple[int, int] | None:
    """(index, term); None for the name of anything else."""
    if not name.endswith(SNAP):
        return None
    first, _, second = name.removesuffix(SNAP).partition("-")
    index, term = _number(first, 16), _number(second, 16)
    return (index, term) if index is not None and term is not None else None


def _number(text: str, digits: int) -> int | None:
    return int(text, 16) if len(text) == digits and not text.strip("0123456789abcdef") else None
