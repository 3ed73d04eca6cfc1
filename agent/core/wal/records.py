"""What the records of a segment say, in msgpack."""

from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.msgpack import Decoder, Encoder

from agent.core.replica.log import Entry, HardState, SnapshotMeta

HEAD: Final = 1
BATCH: Final = 2
MARK: Final = 3
SNAPSHOT: Final = 4
"""Ends a snapshot's file (`snapshot.py`)."""
FORMAT: Final = 1
"""The version of this format. A log of another one is refused."""


class Place(Struct, frozen=True, gc=False, array_like=True):
    """An entry's place, without the entry."""

    index: int = 0
    term: int = 0


class Head(Struct, frozen=True, gc=False, array_like=True):
    """A segment's first record: everything that is needed of the segments before it, so that these can be deleted.

    `previous`: the `crc` of the last record before. `hard`: the hard state then. `last`: the log's last entry then."""

    format: int
    group: str
    me: int
    sequence: int
    previous: int
    hard: HardState
    last: Place


class Batch(Struct, frozen=True, gc=False, array_like=True):
    """A `Persist`: `hard` None is as before, `entries` replace whatever stands at their indices and after."""

    hard: HardState | None
    entries: tuple[Entry, ...]


class SnapshotEnd(Struct, frozen=True, gc=False, array_like=True):
    """Ends a snapshot's file: whose it is, and what."""

    format: int
    group: str
    meta: SnapshotMeta


_encode = Encoder().encode
_head = Decoder(Head)
_batch = Decoder(Batch)
_place = Decoder(Place)
_snapshot = Decoder(SnapshotEnd)

Record = Head | Batch | Place | SnapshotEnd
DECODERS: Final[dict[int, Decoder[Head] | Decoder[Batch] | Decoder[Place] | Decoder[SnapshotEnd]]] = {
    HEAD: _head,
    BATCH: _batch,
    MARK: _place,
    SNAPSHOT: _snapshot,
}


def encode(record: Record) -> bytes:
    """A record's payload."""
    return _encode(record)


def decode(kind: int, payload: bytes) -> Record:
    """Raises ValueError where that is no record of this kind."""
    decoder = DECODERS.get(kind)
    if decoder is None:
        raise ValueError(f"kind {kind}")
    try:
        return decoder.decode(payload)
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
