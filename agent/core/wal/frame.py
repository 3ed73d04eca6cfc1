"""One record as it stands in a segment, and the proof that it is the one that was written there.

    record   = magic:16 check:16 word:32 previous:32 synced:32 crc:32 payload padding
    word     = kind:4 whitened:1 length:27

All integers little-endian. A record begins at a multiple of 8, and its padding (2 to 9 octets, none of them zero) ends at one.

- `crc` is the CRC-32 of the first 16 octets and the payload, begun with the segment's salt and the record's offset: a record that was
  copied to another place, or is left over from another log, is no record.
- `previous` is the `crc` of the record before: they are a chain, over the segments' borders too.
- `check` covers the length alone, so that a length can be trusted before what it measures.
- `synced` is how much of the segment was known to be durable when this record was written. A bad record *before* that of a good one
  was durable once, and is damage; one after it may be the remains of a write that the crash cut short (`segment.py`).
- A disk writes sectors whole or not at all, and where it did not there are zeros, as nothing is ever written over. So a sector of zeros
  must mean that it was not written: a payload with that many zeros is stored XOR a fixed pattern (`whitened`).
"""

import zlib
from hashlib import shake_128
from typing import Final

from msgspec import Struct

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all; larger sectors are multiples of it."""
MAGIC: Final = b"\xf1\x5e"
HEADER_BYTES: Final = 20
ALIGNMENT: Final = 8
PAYLOAD_BYTES_MAX: Final = 2**27 - 1
"""128 MiB: what `length` holds. A batch of entries is some MiB at most."""
KINDS_MAX: Final = 15
PADDINGS: Final = tuple(bytes((0xA5,)) * count for count in range(10))
WHITENED: Final = 1 << 27
ZEROS: Final = bytes(SECTOR_BYTES // 2 - 1)
"""A sector with at most one octet that is not zero has so many zeros in a row."""

_kept_pattern = b""


class Frame(Struct, frozen=True, gc=False):
    """A record that was read. `end`: where the next one begins."""

    kind: int
    payload: bytes
    end: int
    previous: int
    synced: int
    crc: int


def frame_bytes(length: int) -> int:
    """Octets of a record with a payload of this length, padding included."""
    least = HEADER_BYTES + length + 2
    return least + -least % ALIGNMENT


def encode(kind: int, payload: bytes, offset: int, previous: int, synced: int, salt: int) -> tuple[bytes, int]:
    """The record for this offset, and its `crc`. Raises ValueError for a payload above `PAYLOAD_BYTES_MAX`."""
    length = len(payload)
    if length > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a record of {length} octets, above {PAYLOAD_BYTES_MAX}")
    word = kind << 28 | length
    if ZEROS in payload:
        word |= WHITENED
        payload = whiten(payload)
    seed = salt ^ offset
    word_bytes = word.to_bytes(4, "little")
    head = b"".join(
        (
            MAGIC,
            (zlib.crc32(word_bytes, seed) & 0xFFFF).to_bytes(2, "little"),
            word_bytes,
            previous.to_bytes(4, "little"),
            synced.to_bytes(4, "little"),
        )
    )
    crc = zlib.crc32(payload, zlib.crc32(head, seed))
    padding = PADDINGS[frame_bytes(length) - HEADER_BYTES - length]
    return b"".join((head, crc.to_bytes(4, "little"), payload, padding)), crc


def whiten(payload: bytes) -> bytes:
    """XOR a pattern that has no runs of zeros; twice is the payload again."""
    length = len(payload)
    return (int.from_bytes(payload, "little") ^ int.from_bytes(_pattern(length), "little")).to_bytes(length, "little")


def _pattern(length: int) -> bytes:
    global _kept_pattern
    if len(_kept_pattern) < length:
        _kept_pattern = shake_128(b"pilotfish wal").digest(max(length, 1 << 16))
    return _kept_pattern[:length]


def length_at(data: bytes, offset: int, salt: int) -> int | None:
    """How long the record is that begins here, header and padding included. None where no record begins."""
    if data[offset : offset + 2] != MAGIC or offset + 8 > len(data):
        return None
    word = data[offset + 4 : offset + 8]
    if zlib.crc32(word, salt ^ offset) & 0xFFFF != int.from_bytes(data[offset + 2 : offset + 4], "little"):
        return None
    return frame_bytes(int.from_bytes(word, "little") & (WHITENED - 1))


def decode(data: bytes, offset: int, salt: int) -> Frame | None:
    """The record that begins here. None where there is none, or it is not whole and right."""
    size = length_at(data, offset, salt)
    if size is None or offset + size > len(data):
        return None
    word = int.from_bytes(data[offset + 4 : offset + 8], "little")
    start = offset + HEADER_BYTES
    length = word & (WHITENED - 1)
    payload = data[start : start + length]
    crc = zlib.crc32(payload, zlib.crc32(data[offset : offset + 16], salt ^ offset))
    padding = data[start + length : offset + size]
    if crc != int.from_bytes(data[offset + 16 : start], "little") or padding != PADDINGS[len(padding)]:
        return None
    return Frame(
        kind=word >> 28,
        payload=whiten(payload) if word & WHITENED else payload,
        end=offset + size,
        previous=int.from_bytes(data[offset + 8 : offset + 12], "little"),
        synced=int.from_bytes(data[offset + 12 : offset + 16], "little"),
        crc=crc,
    )


def is_torn(data: bytes, offset: int, salt: int) -> bool:
    """Can what stands here be a record of which a crash kept only a part? Asked where `decode` found none.

    Each sector of it is there or is zeros; the file may end within; or 8 octets or more at its beginning are there and zeros follow.
    """
    first = data[offset : sector_end(offset)]
    if not first.strip(b"\0"):
        return True
    size = length_at(data, offset, salt)
    if size is None:
        # The first 8 octets are in one sector, so they are all there or all zeros; unless the file ends.
        return len(data) - offset < ALIGNMENT
    end = offset + size
    if end > len(data) or data[end - 2 : end] == b"\0\0":
        return True
    while offset < end:
        border = min(sector_end(offset), end)
        if not data[offset:border].strip(b"\0"):
            return True
        offset = border
    return False


def sector_end(offset: int) -> int:
    """Where the sector ends that this octet is in."""
    return offset - offset % SECTOR_BYTES + SECTOR_BYTES


def find_later(data: bytes, offset: int, salt: int) -> tuple[int, Frame] | None:
    """The first good record at or after `offset` that says that what stands at `offset` was durable; and where it begins."""
    at = data.find(MAGIC, offset)
    while at >= 0:
        if at % ALIGNMENT == 0:
            frame = decode(data, at, salt)
            if frame is not None and offset < frame.synced <= at:
                return at, frame
        at = data.find(MAGIC, at + 1)
    return None
