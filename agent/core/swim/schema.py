"""The fields of each message: names as Go has them, types, bounds.

A body is one msgpack map in the old format, which knows no difference between text and octets (go-msgpack's raw). Fields that
we do not know are ignored, as Go ignores them; a field that is missing, of another type or beyond its bound is an error.
"""

from collections.abc import Callable
from functools import lru_cache
from sys import intern
from typing import Any, Final

import msgpack

from agent.core.swim.errors import WireError
from agent.core.swim.messages import (
    LEFT,
    Ack,
    Alive,
    Dead,
    Error,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    Suspect,
    Versions,
)

NAME_BYTES_MAX: Final = 255
META_BYTES_MAX: Final = 512
"""memberlist's MetaMaxSize."""
ACK_PAYLOAD_BYTES_MAX: Final = 1024
"""Serf puts its network coordinates there, about 150 bytes."""
ERROR_BYTES_MAX: Final = 1024
FIELDS_MAX: Final = 32
ITEMS_MAX: Final = 64
U32: Final = 0xFFFF_FFFF
U16: Final = 0xFFFF
MAPPED: Final = b"\0" * 10 + b"\xff\xff"

Body = dict[bytes, Any]

_packer = msgpack.Packer(use_bin_type=False, autoreset=True)
LIMITS: Final[dict[str, Any]] = {
    "raw": True,
    "strict_map_key": True,
    "max_map_len": FIELDS_MAX,
    "max_array_len": ITEMS_MAX,
    "max_ext_len": 0,
}
UNPACK_ERRORS: Final = (ValueError, msgpack.UnpackException)
"""What msgpack raises on octets that are not msgpack, or are beyond `LIMITS`."""


def pack_body(fields: dict[str, Any]) -> bytes:
    """One msgpack map, its keys in the order given (go-msgpack's is the alphabet's)."""
    packed: bytes = _packer.pack(fields)
    return packed


def unpack_body(data: bytes) -> Body:
    """The map that `data` is, with nothing behind it."""
    try:
        body = msgpack.unpackb(data, **LIMITS)
    except UNPACK_ERRORS as error:
        raise WireError("malformed", f"not msgpack: {error or type(error).__name__}") from None
    return checked_body(body)


def checked_body(body: Any) -> Body:
    if type(body) is not dict:
        raise WireError("malformed", f"a map expected, not {type(body).__name__}")
    return body


def natural(body: Body, key: bytes, most: int, default: int | None = None) -> int:
    """A number from 0 to `most`."""
    value = body.get(key, default)
    if type(value) is not int or not 0 <= value <= most:
        raise WireError("out_of_bounds", f"{key.decode()} is not a number of at most {most}")
    return value


def flag(body: Body, key: bytes) -> bool:
    value = body.get(key, False)
    if type(value) is not bool:
        raise WireError("out_of_bounds", f"{key.decode()} is not a boolean")
    return value


def octets(body: Body, key: bytes, most: int) -> bytes:
    """At most so many octets; nil and nothing are none, as in Go."""
    value = body.get(key)
    if value is None:
        return b""
    if type(value) is not bytes or len(value) > most:
        raise WireError("out_of_bounds", f"{key.decode()} is not at most {most} octets")
    return value


def name(body: Body, key: bytes, required: bool = True) -> str:
    """A member's name: UTF-8 without control characters."""
    value = octets(body, key, NAME_BYTES_MAX)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable() or (required and not text):
        raise WireError("out_of_bounds", f"{key.decode()} is not a name")
    return intern(text)


def address(body: Body, key: bytes, required: bool = True) -> bytes:
    """4 or 16 octets. IPv4 in IPv6's clothes, as Go may send it, comes back as 4, so that addresses compare."""
    value = octets(body, key, 16)
    if len(value) == 16:
        return value[12:] if value.startswith(MAPPED) else value
    if len(value) != 4 and (value or required):
        raise WireError("out_of_bounds", f"{key.decode()} is not an address")
    return value


def versions(body: Body) -> Versions:
    value = octets(body, b"Vsn", 6)
    if len(value) != 6:
        raise WireError("out_of_bounds", "Vsn is not 6 versions")
    return _versions(value)


@lru_cache(maxsize=64)
def _versions(value: bytes) -> Versions:
    """All members of a release say the same."""
    return (value[0], value[1], value[2], value[3], value[4], value[5])


@lru_cache(maxsize=256)
def shared(meta: bytes) -> bytes:
    """One object for what many members say, as those of a zone do."""
    return meta


def port(body: Body) -> int:
    value = natural(body, b"Port", U16)
    if not value:
        raise WireError("out_of_bounds", "Port is 0")
    return value


def ping_of(body: Body) -> Ping:
    return Ping(
        natural(body, b"SeqNo", U32),
        name(body, b"Node", False),
        address(body, b"SourceAddr", False),
        natural(body, b"SourcePort", U16, 0),
        name(body, b"SourceNode", False),
    )


def indirect_ping_of(body: Body) -> IndirectPing:
    return IndirectPing(
        natural(body, b"SeqNo", U32),
        address(body, b"Target"),
        port(body),
        name(body, b"Node", False),
        flag(body, b"Nack"),
        address(body, b"SourceAddr", False),
        natural(body, b"SourcePort", U16, 0),
        name(body, b"SourceNode", False),
    )


def ack_of(body: Body) -> Ack:
    return Ack(natural(body, b"SeqNo", U32), octets(body, b"Payload", ACK_PAYLOAD_BYTES_MAX))


def nack_of(body: Body) -> Nack:
    return Nack(natural(body, b"SeqNo", U32))


def suspect_of(body: Body) -> Suspect:
    return Suspect(natural(body, b"Incarnation", U32), name(body, b"Node"), name(body, b"From", False))


def dead_of(body: Body) -> Dead:
    return Dead(natural(body, b"Incarnation", U32), name(body, b"Node"), name(body, b"From", False))


def alive_of(body: Body) -> Alive:
    return Alive(
        natural(body, b"Incarnation", U32),
        name(body, b"Node"),
        address(body, b"Addr"),
        port(body),
        shared(octets(body, b"Meta", META_BYTES_MAX)),
        versions(body),
    )


def node_state_of(body: Body) -> NodeState:
    return NodeState(
        name(body, b"Name"),
        address(body, b"Addr"),
        port(body),
        natural(body, b"Incarnation", U32),
        natural(body, b"State", LEFT),
        shared(octets(body, b"Meta", META_BYTES_MAX)),
        versions(body),
    )


def error_of(body: Body) -> Error:
    return Error(octets(body, b"Error", ERROR_BYTES_MAX).decode(errors="replace"))


def source_fields(message: Ping | IndirectPing) -> dict[str, Any]:
    """Left out where empty (Go's omitempty)."""
    fields: dict[str, Any] = {}
    if message.source_address:
        fields["SourceAddr"] = message.source_address
    if message.source_node:
        fields["SourceNode"] = message.source_node
    if message.source_port:
        fields["SourcePort"] = message.source_port
    return fields


def pack_ping(m: Ping) -> bytes:
    return pack_body({"Node": m.node, "SeqNo": m.seq, **source_fields(m)})


def pack_indirect_ping(m: IndirectPing) -> bytes:
    source = source_fields(m)
    return pack_body({"Nack": m.nack, "Node": m.node, "Port": m.port, "SeqNo": m.seq, **source, "Target": m.target})


def pack_ack(m: Ack) -> bytes:
    return pack_body({"Payload": m.payload or None, "SeqNo": m.seq})


def pack_nack(m: Nack) -> bytes:
    return pack_body({"SeqNo": m.seq})


def pack_accusation(m: Suspect | Dead) -> bytes:
    return pack_body({"From": m.source, "Incarnation": m.incarnation, "Node": m.node})


def pack_alive(m: Alive) -> bytes:
    fields = {"Addr": m.address, "Incarnation": m.incarnation, "Meta": m.meta or None, "Node": m.node, "Port": m.port}
    return pack_body({**fields, "Vsn": bytes(m.versions)})


def pack_node_state(m: NodeState) -> bytes:
    fields = {"Addr": m.address, "Incarnation": m.incarnation, "Meta": m.meta or None, "Name": m.name, "Port": m.port}
    return pack_body({**fields, "State": m.state, "Vsn": bytes(m.versions)})


def pack_error(m: Error) -> bytes:
    return pack_body({"Error": m.text})


PING: Final = 0
INDIRECT_PING: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESSED: Final = 9
ENCRYPTED: Final = 10
NACK: Final = 11
CRC: Final = 12
ERROR: Final = 13
LABEL: Final = 244

READERS: Final[dict[int, Callable[[Body], Message]]] = {
    PING: ping_of,
    INDIRECT_PING: indirect_ping_of,
    ACK: ack_of,
    SUSPECT: suspect_of,
    ALIVE: alive_of,
    DEAD: dead_of,
    NACK: nack_of,
    ERROR: error_of,
}
WRITERS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    Ping: (PING, pack_ping),
    IndirectPing: (INDIRECT_PING, pack_indirect_ping),
    Ack: (ACK, pack_ack),
    Suspect: (SUSPECT, pack_accusation),
    Alive: (ALIVE, pack_alive),
    Dead: (DEAD, pack_accusation),
    Nack: (NACK, pack_nack),
    Error: (ERROR, pack_error),
}
