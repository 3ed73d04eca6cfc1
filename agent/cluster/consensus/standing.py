"""What an agent keeps of its place in a group, beside the log: enough that it never founds a second one and never votes twice.

    consensus/main/standing.json    this
    consensus/main/wal/             the log and the snapshots

A log that is gone while this says that there was one is another life: a new id, and the agent joins as a new learner.
"""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

FILE: Final = "standing.json"
WAL: Final = "wal"
BYTES_MAX: Final = 65_536
State = Literal["new", "promised", "founding", "joining", "member"]


class Standing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """new: of no group yet. promised: to found one with `voters`. founding, joining: the log is to be made, for that group. member: it
    has been made."""

    format: Literal[1] = 1
    cluster: str
    group: str
    member: int
    state: State = "new"
    group_id: int = 0
    voters: tuple[tuple[str, int], ...] = ()


class StandingError(Exception):
    """The file cannot be used; the text says what is wrong and the way out."""


def draw_id() -> int:
    """A member's id, for one life of a log."""
    return secrets.randbelow(2**53 - 1) + 1


def read(folder: Path) -> Standing | None:
    """None where there is none. Raises StandingError or OSError."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX)
    except FileNotFoundError:
        if (folder / WAL).is_dir() and any((folder / WAL).iterdir()):
            raise StandingError(
                f"{path}: is gone, and there is a log beside it: put it back, or move the whole folder away; the agent then joins anew"
            ) from None
        return None
    try:
        return msgspec.json.decode(content, type=Standing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StandingError(f"{path}: {error}; put it back, or move the whole folder away: the agent then joins anew") from None


def write(folder: Path, standing: Standing) -> None:
    """Durable when it returns. Raises OSError."""
    handle, fresh = tempfile.mkstemp(dir=folder, prefix=".standing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(standing), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, folder / FILE)
    except BaseException:
        if os.path.exists(fresh):
            os.unlink(fresh)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
