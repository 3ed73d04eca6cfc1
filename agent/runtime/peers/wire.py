"""Records and frames between peers.

    record = length(4, big endian) body            body: sealed where the cluster has keys (`handshake`), else as it is
    body   = msgpack array of frames               the first records of a connection are the handshake's

A frame is a message of one group, for one of its members or for the agent. What is in it is the group's business: octets here.
"""

import struct
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

VERSION: Final = 1
"""Of everything in this folder. A peer of another one is not talked to."""
RECORD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of what is received; a peer that announces more is cut off before it is read."""
RECORD_BYTES_WANTED: Final = 256 * 1024
"""So full a record is sent before the next begins: sealing, opening and decoding one must not hold the loop for long."""
HELLO_BYTES_MAX: Final = 4096
"""Of a record before the peer is proved."""
FRAMES_MAX: Final = 65_536
"""In one record."""
FRAME_OVERHEAD_BYTES: Final = 64

REPLICA: Final = 0
"""For the consensus core of the group's member `to`."""
SERVICE: Final = 1
"""For the agent: proposals and reads that are forwarded, and their answers."""


class PeerError(Exception):
    """What a peer sent is not as it must be, or the peer is not who it must be. `reason`: a word for counters."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Frame(Struct, frozen=True, array_like=True, gc=False):
    """`sender`, `to`: members' ids in the group; 0 where it is none (an agent that is no member of it)."""

    group: Annotated[str, Meta(max_length=64)]
    channel: Annotated[int, Meta(ge=0, le=255)]
    sender: Annotated[int, Meta(ge=0, lt=2**53)]
    to: Annotated[int, Meta(ge=0, lt=2**53)]
    payload: bytes


class Hello(Struct, frozen=True, array_like=True, gc=False):
    """The first word of either side. `public`: X25519, and `keys`: names of the ring's keys, the primary first; both empty where the
    connection is not sealed by keys. The answer names the one key that is used."""

    magic: str
    version: int
    cluster: Annotated[str, Meta(max_length=255)]
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    nonce: Annotated[bytes, Meta(min_length=32, max_length=32)]
    public: Annotated[bytes, Meta(max_length=32)] = b""
    keys: Annotated[tuple[Annotated[bytes, Meta(max_length=32)], ...], Meta(max_length=16)] = ()


MAGIC: Final = "pilotfish-peers"
_length = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_hellos = msgspec.msgpack.Decoder(Hello)
_frames = msgspec.msgpack.Decoder(Annotated[list[Frame], Meta(max_length=FRAMES_MAX)])
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError)


def record(body: bytes) -> bytes:
    """The record that holds it."""
    return _length.pack(len(body)) + body


def encode_hello(hello: Hello) -> bytes:
    return _encoder.encode(hello)


def decode_hello(body: bytes) -> Hello:
    """Raises PeerError."""
    try:
        hello = _hellos.decode(body)
    except _UNREADABLE:
        raise PeerError("malformed", "the first record is no hello") from None
    if hello.magic != MAGIC:
        raise PeerError("malformed", "the first record is no hello")
    if hello.version != VERSION:
        raise PeerError("version", f"the peer speaks version {hello.version}, expected {VERSION}")
    return hello


def encode_frames(frames: list[Frame]) -> list[bytes]:
    """Bodies of as few records as their sizes allow."""
    total = 0
    for frame in frames:
        total += len(frame.payload) + FRAME_OVERHEAD_BYTES
    if total <= RECORD_BYTES_WANTED:
        return [_encoder.encode(frames)]
    bodies = []
    start = total = 0
    for at, frame in enumerate(frames):
        total += len(frame.payload) + FRAME_OVERHEAD_BYTES
        if total >= RECORD_BYTES_WANTED:
            bodies.append(_encoder.encode(frames[start : at + 1]))
            start, total = at + 1, 0
    if start < len(frames):
        bodies.append(_encoder.encode(frames[start:]))
    return bodies


def decode_frames(body: bytes) -> list[Frame]:
    """Raises PeerError."""
    try:
        frames: list[Frame] = _frames.decode(body)
    except _UNREADABLE as error:
        raise PeerError("malformed", f"a record that is no frames: {error}") from None
    return frames


class RecordReader:
    """Octets in, bodies of records out. `limit`: what a record may have at the time."""

    def __init__(self) -> None:
        self.limit = HELLO_BYTES_MAX
        self._rest = bytearray()
        self._need = 4

    def one(self, data: bytes) -> bytes | None:
        """Take `data`; the next record that is whole, if there is one. Raises PeerError for one over the limit, at its first octets."""
        rest = self._rest
        if data:
            rest += data
        if len(rest) < self._need:
            return None
        (size,) = _length.unpack_from(rest)
        if size > self.limit:
            raise PeerError("too_large", f"a record of {size} octets, expected at most {self.limit}")
        end = 4 + size
        if len(rest) < end:
            self._need = end
            return None
        body = bytes(memoryview(rest)[4:end])
        del rest[:end]
        self._need = 4
        return body
