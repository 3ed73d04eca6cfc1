"""A snapshot's file: the state machine's octets as they are, so that an offset in the snapshot is one in the file, then what they are.

    file    = octets trailer size:64 mark:64
    trailer = a record (`frame.py`) of kind SNAPSHOT, at the next multiple of 8

It is written aside, made durable, renamed, and its name made durable: a file under its own name is whole, or damaged.
"""

import hashlib
from typing import Final

from msgspec import Struct

from agent.core.replica.log import SnapshotMeta
from agent.core.wal import frame, records
from agent.core.wal.disk import Disk, snapshot_place
from agent.core.wal.records import FORMAT, SNAPSHOT, SnapshotEnd

MARK: Final = b"PFSNAP\x01\n"
FOOT_BYTES: Final = 16
PIECE_BYTES: Final = 1 << 20
TRAILER_BYTES_MAX: Final = 16 << 20


class Verdict(Struct, frozen=True):
    """What a snapshot's file is. `meta` None: not to be used, and `why`."""

    name: str
    meta: SnapshotMeta | None
    group: str = ""
    why: str = ""


def trailer(group: str, meta: SnapshotMeta) -> bytes:
    """What stands in the file after the snapshot's octets."""
    start = meta.size + -meta.size % frame.ALIGNMENT
    record, _ = frame.encode(SNAPSHOT, records.encode(SnapshotEnd(FORMAT, group, meta)), start, 0, 0, 0)
    return bytes(start - meta.size) + record + meta.size.to_bytes(8, "little") + MARK


def read_trailer(disk: Disk, name: str) -> Verdict:
    """What the file says it is, without looking at the snapshot's octets."""
    size = disk.size(name)
    foot = disk.read(name, max(size - FOOT_BYTES, 0), FOOT_BYTES)
    if len(foot) < FOOT_BYTES or foot[8:] != MARK:
        return Verdict(name, None, why="the end of the file is not that of a snapshot")
    length = int.from_bytes(foot[:8], "little")
    start = length + -length % frame.ALIGNMENT
    if not 0 < size - FOOT_BYTES - start <= TRAILER_BYTES_MAX:
        return Verdict(name, None, why=f"{size} octets do not fit a snapshot of {length}")
    read = _decode_at(disk.read(name, start, size - FOOT_BYTES - start), start)
    if read is None:
        return Verdict(name, None, why="the trailer's checksum is wrong")
    try:
        end = records.decode(SNAPSHOT, read)
    except ValueError as error:
        return Verdict(name, None, why=f"the trailer cannot be read: {error}")
    assert isinstance(end, SnapshotEnd)
    meta = end.meta
    if end.format != FORMAT or meta.size != length or snapshot_place(name) != (meta.index, meta.term):
        return Verdict(name, None, end.group, f"the trailer is of format {end.format}, index {meta.index}, term {meta.term}")
    return Verdict(name, meta, end.group)


def verify(disk: Disk, name: str) -> Verdict:
    """As `read_trailer`, and the digest is checked: reads the whole file."""
    verdict = read_trailer(disk, name)
    if verdict.meta is None:
        return verdict
    if not verdict.meta.size:
        return verdict
    digest = hashlib.sha256()
    for offset in range(0, verdict.meta.size, PIECE_BYTES):
        digest.update(disk.read(name, offset, min(PIECE_BYTES, verdict.meta.size - offset)))
    if digest.digest() != verdict.meta.digest:
        return Verdict(name, None, verdict.group, f"the digest is {digest.hexdigest()[:16]}…, not {verdict.meta.digest.hex()[:16]}…")
    return verdict


def _decode_at(data: bytes, offset: int) -> bytes | None:
    """A record that stands at this offset, given without what is before it."""
    # `decode` derives the seed from salt XOR offset: here the offset is 0, and the salt the true one.
    read = frame.decode(data, 0, offset)
    return None if read is None or read.end != len(data) else read.payload
