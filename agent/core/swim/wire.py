"""What a datagram holds: hashicorp/memberlist 0.5's frames, which Serf speaks, to messages and back.

    packet     = [ CRC crc32 ] frame                  (label and encryption are around it: envelope.py)
    frame      = message / COMPRESSED map / COMPOUND count 1*length 1*message
    message    = type map / USER octets

All integers of frames are big-endian. What we send of `frame` is never nested deeper than a compound in a compressed one, and
nothing deeper is read. A packet is taken whole or not at all. Everything here is a function of its arguments.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from agent.core.swim import lzw
from agent.core.swim.errors import WireError
from agent.core.swim.messages import Alive, Dead, Foreign, Message, PushPull, Suspect, User
from agent.core.swim.schema import (
    ACK,
    ALIVE,
    COMPOUND,
    COMPRESSED,
    CRC,
    DEAD,
    INDIRECT_PING,
    NACK,
    PING,
    READERS,
    SUSPECT,
    USER,
    WRITERS,
    natural,
    octets,
    pack_body,
    unpack_body,
)

MARK: Final = b"\xf5\x01"
"""Begins our user data. Serf's begins with its message type (0 to 9); others' seldom with an octet that UTF-8 does not know."""
PACKET_BYTES_MAX: Final = 65_535
"""Of a datagram as it comes, and of what it expands to."""
PARTS_MAX: Final = 255
COMPOUND_BYTES: Final = 2
"""What a compound costs,"""
PART_BYTES: Final = 2
"""and what each message in it costs besides its own size."""
CRC_BYTES: Final = 5

REMEMBERED: Final = 1024
"""News comes, and is sent, again and again by design: so many encoded and decoded messages are kept (about 1 MB at most each way)."""

NEWS: Final = frozenset({SUSPECT, ALIVE, DEAD})
IN_PACKETS: Final = NEWS | {PING, INDIRECT_PING, ACK, NACK}


def encode(message: Message) -> bytes:
    """One message as it stands in a packet. Raises ValueError for one that only streams carry."""
    if isinstance(message, User):
        return b"\x08" + MARK + message.payload
    if isinstance(message, Foreign):
        return b"\x08" + message.payload
    if isinstance(message, PushPull):
        raise ValueError("PushPull goes over a stream")
    if isinstance(message, Alive | Suspect | Dead):
        return encode_news(message)
    kind, write = WRITERS[type(message)]
    if kind not in IN_PACKETS:
        raise ValueError(f"{type(message).__name__} goes over a stream")
    return bytes((kind,)) + write(message)


@lru_cache(REMEMBERED)
def encode_news(message: Alive | Suspect | Dead) -> bytes:
    kind, write = WRITERS[type(message)]
    return bytes((kind,)) + write(message)


def encoded_size(message: Message) -> int:
    """Bytes of `encode(message)`."""
    if isinstance(message, User):
        return 1 + len(MARK) + len(message.payload)
    return len(encode(message))


def packed_size(sizes: Sequence[int]) -> int:
    """Bytes of a packet's frame that holds messages of these sizes."""
    if len(sizes) == 1:
        return sizes[0]
    return COMPOUND_BYTES + PART_BYTES * len(sizes) + sum(sizes)


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """One frame of encoded messages: at most 255, each of at most 65,535 bytes. Raises ValueError beyond."""
    if len(parts) == 1:
        return parts[0]
    if not 0 < len(parts) <= PARTS_MAX or max(map(len, parts)) > 0xFFFF:
        raise ValueError(f"{len(parts)} parts do not make a compound")
    return struct.pack(f">BB{len(parts)}H", COMPOUND, len(parts), *map(len, parts)) + b"".join(parts)


def pack(messages: Sequence[Message]) -> bytes:
    """One frame of messages; more than one make a compound."""
    return pack_parts([encode(message) for message in messages])


def pack_within(parts: Iterable[bytes], budget: int) -> list[bytes]:
    """Frames of at most `budget` bytes that hold all parts in their order. A part above the budget stands alone."""
    frames: list[bytes] = []
    batch: list[bytes] = []
    size = COMPOUND_BYTES
    for part in parts:
        cost = PART_BYTES + len(part)
        if batch and (size + cost > budget or len(batch) == PARTS_MAX):
            frames.append(pack_parts(batch))
            batch, size = [], COMPOUND_BYTES
        batch.append(part)
        size += cost
    if batch:
        frames.append(pack_parts(batch))
    return frames


def with_crc(frame: bytes) -> bytes:
    """The frame behind its CRC-32; a reader of protocol version 5 or later checks it."""
    return struct.pack(">BI", CRC, zlib.crc32(frame)) + frame


def compressed(frame: bytes) -> bytes:
    """The frame compressed, where that makes it smaller."""
    shorter = bytes((COMPRESSED,)) + pack_body({"Algo": 0, "Buf": lzw.compress(frame)})
    return shorter if len(shorter) < len(frame) else frame


def expanded(body: dict[bytes, object], bytes_max: int) -> bytes:
    """What a compressed frame's map holds."""
    natural(body, b"Algo", 0)
    frame = lzw.decompress(octets(body, b"Buf", bytes_max), bytes_max)
    if not frame:
        raise WireError("truncated", "nothing in a compressed frame")
    return frame


def decode_packet(data: bytes) -> list[Message]:
    """The messages of a packet, label and encryption taken off. Raises `WireError`."""
    if len(data) > PACKET_BYTES_MAX:
        raise WireError("too_large", f"a packet of {len(data)} bytes")
    if data[:1] == b"\x0c":
        if len(data) < CRC_BYTES:
            raise WireError("truncated", "a checksum without an end")
        if zlib.crc32(memoryview(data)[CRC_BYTES:]) != int.from_bytes(data[1:CRC_BYTES], "big"):
            raise WireError("checksum", "the checksum is another")
        data = data[CRC_BYTES:]
    if data[:1] == b"\x09":
        data = expanded(unpack_body(data[1:]), PACKET_BYTES_MAX)
    if data[:1] == b"\x07":
        return [decode_message(part) for part in split_compound(data)]
    return [decode_message(data)]


def split_compound(data: bytes) -> list[bytes]:
    """The parts of a compound, which fill it to the end."""
    if len(data) < COMPOUND_BYTES or not data[1]:
        raise WireError("truncated", "a compound of nothing")
    at = COMPOUND_BYTES + PART_BYTES * data[1]
    if len(data) < at:
        raise WireError("truncated", "a compound without its lengths")
    parts = []
    for length in struct.unpack_from(f">{data[1]}H", data, COMPOUND_BYTES):
        parts.append(data[at : at + length])
        at += length
    if at != len(data):
        raise WireError("truncated" if at > len(data) else "malformed", "a compound of another size than its parts'")
    return parts


def decode_message(data: bytes) -> Message:
    """One message of a packet."""
    if not data:
        raise WireError("truncated", "an empty message")
    kind = data[0]
    if kind == USER:
        return user_message(data[1:])
    if kind not in IN_PACKETS:
        raise WireError("unsupported", f"message type {kind} in a packet")
    if kind in NEWS:
        return decode_news(data)
    return READERS[kind](unpack_body(data[1:]))


@lru_cache(REMEMBERED)
def decode_news(data: bytes) -> Message:
    return READERS[data[0]](unpack_body(data[1:]))


def user_message(payload: bytes) -> User | Foreign:
    """Ours where it bears our mark."""
    if payload.startswith(MARK):
        return User(payload[len(MARK) :])
    return Foreign(payload)
