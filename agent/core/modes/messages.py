"""What is around the protocols' own messages: the epoch that they belong to, and word that an epoch is over."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from agent.core.modes.epoch import BYZANTINE, EpochState
from agent.core.pbft import wire as pbft
from agent.core.raft import wire as raft

PROOF_BYTES_MAX: Final = 256 * 1024


class Tagged(Struct, frozen=True, gc=False):
    """A message of this epoch's protocol; `mode` tells which that is."""

    epoch: int
    mode: int
    message: Any


class Ended(Struct, frozen=True, array_like=True, tag=1):
    """The sender's epoch: every one before it is over."""

    state: EpochState


class Ask(Struct, frozen=True, array_like=True, tag=2):
    """The sender is in this epoch, and has heard of a later one."""

    number: int


Message = Tagged | Ended | Ask
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Ended | Ask)
TAGGED: Final = b"\x01"
OTHER: Final = b"\x02"
HEAD_BYTES: Final = 8
CODECS: Final[dict[bool, tuple[Callable[[Any], bytes], Callable[[bytes], object]]]] = {
    False: (raft.encode, raft.decode),
    True: (pbft.encode, pbft.decode),
}


class WireError(ValueError):
    """What a peer sent is not a message."""


def encode(message: Message) -> bytes:
    if isinstance(message, Tagged):
        head = TAGGED + message.mode.to_bytes(1, "big") + message.epoch.to_bytes(6, "big")
        return head + CODECS[message.mode == BYZANTINE][0](message.message)
    return OTHER + _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Raises `WireError`."""
    if data[:1] == TAGGED and len(data) > HEAD_BYTES:
        mode = data[1]
        if mode > BYZANTINE:
            raise WireError(f"a message of mode {mode}")
        try:
            inner = CODECS[mode == BYZANTINE][1](data[HEAD_BYTES:])
        except ValueError as error:
            raise WireError(str(error)) from None
        return Tagged(int.from_bytes(data[2:HEAD_BYTES], "big"), mode, inner)
    if data[:1] == OTHER and len(data) <= PROOF_BYTES_MAX:
        try:
            message: Ended | Ask = _decoder.decode(data[1:])
            return message
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise WireError(str(error)) from None
    raise WireError("no message of a group with epochs")
