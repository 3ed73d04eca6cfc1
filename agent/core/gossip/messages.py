"""What gossip says, as msgpack arrays: a number for the kind, then the fields in order.

Tolerant of versions: fields that a newer agent appends are skipped, fields that an older one does not send take their defaults; a kind
that is not known is `UnreadableError`, for the host to count and drop.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

PACKET_BYTES: Final = 1200
"""What one payload may take of a datagram of 1,400 octets, beside the frame, the encryption and what membership piggybacks."""
BROADCAST_BYTES: Final = 1000
"""What a broadcast may take: membership piggybacks it beside its own."""


NUMBER_MAX: Final = 2**53
"""Generations, versions and sequences. What is larger is refused: no counter comes there, and one that did could not rise any more."""
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Name = Annotated[str, Meta(max_length=255)]


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise for octets that are not what was expected: a text that is no UTF-8 is an error of Python's own."""


class UnreadableError(ValueError):
    """A payload that is no message of ours: the peer's fault, or a newer protocol."""


class Position(Struct, frozen=True, array_like=True, gc=False):
    """How much the sender has of one node's state: all versions up to `floor`; tombstones up to `collected` may be gone."""

    node: Name
    generation: Number
    floor: Number
    collected: Number = 0


class Item(Struct, frozen=True, array_like=True, gc=False):
    """One key as of a version. value None: it is deleted (a tombstone)."""

    key: str
    version: Number
    value: bytes | None


class NodeDelta(Struct, frozen=True, array_like=True):
    """Every key of a node whose newest version, at the sender, is after `after` and not after `upto`.

    collected: the sender has dropped tombstones up to there. have: all that the sender has, for knowing when a refill is complete.
    """

    node: Name
    generation: Number
    collected: Number
    after: Number
    upto: Number
    have: Number
    items: tuple[Item, ...] = ()


class Digest(Struct, frozen=True, array_like=True, tag=1):
    """What the sender has; the receiver gives what it lacks. answer: 2 opens an exchange (say what you lack, and what changed at yours
    of late that I did not name), 1 answers (say what you lack of that), 0 ends it."""

    sender: Name
    answer: int
    positions: tuple[Position, ...] = ()


class Delta(Struct, frozen=True, array_like=True, tag=2):
    """What the receiver lacks. rumour: urgent; whom it told something tells others."""

    nodes: tuple[NodeDelta, ...]
    rumour: bool = False


class Stream(Struct, frozen=True, array_like=True, gc=False):
    """One life of an origin of invalidations, and how many it has issued as far as the sender knows."""

    origin: Name
    generation: Number
    sequence: Number


class Invalidation(Struct, frozen=True, array_like=True):
    """Number `sequence` of an origin's life: what to drop from caches (hard) or to validate before its next use (soft).

    kind: `url` (host, value = target), `prefix` (host, value), `host` (host), `tag` (value), `service` (value), `all`; `fence`: nothing.
    ack: the origin wants to hear from whoever has it. after: what its caller had seen; an ack without that says so.
    """

    origin: Name
    generation: Number
    sequence: Number
    kind: str
    soft: bool = False
    host: bytes = b""
    value: bytes = b""
    ack: bool = False
    after: tuple[Stream, ...] = ()


class Invalidations(Struct, frozen=True, array_like=True, tag=3):
    """One or more of them. rumour: whoever sees one for the first time passes it on."""

    items: tuple[Invalidation, ...]
    rumour: bool = False


class Acknowledge(Struct, frozen=True, array_like=True, tag=4):
    """Direct to the origin: `sender` has applied these. early: those among them whose `after` it lacks as yet."""

    sender: Name
    origin: Name
    generation: Number
    sequences: tuple[Number, ...]
    early: tuple[Number, ...] = ()


class Ask(Struct, frozen=True, array_like=True, tag=5):
    """Send me these numbers of that stream."""

    sender: Name
    origin: Name
    generation: Number
    sequences: tuple[Number, ...]


class Lost(Struct, frozen=True, array_like=True, tag=6):
    """I do not have these numbers of that stream (any more). final: I am its origin, so nobody need be asked again. hosts: those were about
    these alone; none: they may have been about anything."""

    origin: Name
    generation: Number
    sequences: tuple[Number, ...]
    final: bool = False
    hosts: Annotated[tuple[bytes, ...], Meta(max_length=16)] = ()


class Streams(Struct, frozen=True, array_like=True, tag=7):
    """How far the sender knows the streams to go. answer: tell me where you know more."""

    sender: Name
    streams: tuple[Stream, ...]
    answer: bool = False


class Exchange(Struct, frozen=True, array_like=True, tag=8):
    """The user part of a push/pull, and what goes by stream: several of the above."""

    deltas: tuple[NodeDelta, ...] = ()
    digest: tuple[Position, ...] = ()
    streams: tuple[Stream, ...] = ()
    sender: Name = ""


Message = Digest | Delta | Invalidations | Acknowledge | Ask | Lost | Streams | Exchange

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The octets of a message."""
    return _encoder.encode(message)


def decode(payload: bytes) -> Message:
    """The message in a payload. UnreadableError: it is none."""
    try:
        return _decoder.decode(payload)
    except UNREADABLE as error:
        raise UnreadableError(str(error)) from None


def item_bytes(item: Item) -> int:
    """An upper bound of what an item takes on the wire."""
    return 17 + len(item.key.encode()) + (len(item.value) if item.value is not None else 0)
