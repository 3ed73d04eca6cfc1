"""What agents say to each other about a group beside its protocol: commands and questions for whoever can serve them, and the answers.

Everything of one turn for one peer is one message.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Reason = Annotated[str, Meta(max_length=64)]


class Ask(Struct, frozen=True, array_like=True, gc=False):
    """A command. `ticket`: the asker's own, comes back in the answer."""

    ticket: Number
    session: Number
    request: Number
    acked: Number
    command: bytes


class Told(Struct, frozen=True, array_like=True, gc=False):
    """`reason` empty: `outcome` came of it. Else a word of `io.REFUSALS`, or `unknown`; `leader`: the name of who leads, if known."""

    ticket: Number
    reason: Reason = ""
    outcome: bytes = b""
    leader: Annotated[str, Meta(max_length=253)] = ""


class Question(Struct, frozen=True, array_like=True, gc=False):
    """A read of the state machine, as octets that `agent.state` knows. `lease`: as `io.Read`."""

    ticket: Number
    lease: bool
    question: bytes


class Commands(Struct, frozen=True, array_like=True, tag=1):
    items: tuple[Ask, ...]


class Outcomes(Struct, frozen=True, array_like=True, tag=2):
    items: tuple[Told, ...]


class Questions(Struct, frozen=True, array_like=True, tag=3):
    items: tuple[Question, ...]


class Answers(Struct, frozen=True, array_like=True, tag=4):
    items: tuple[Told, ...]


class Order(Struct, frozen=True, array_like=True, tag=5):
    """An operator's wish, for the leader. `what`: add, remove or transfer; `name`: an agent's."""

    ticket: Number
    what: Reason
    name: Annotated[str, Meta(max_length=253)] = ""


class Ordered(Struct, frozen=True, array_like=True, tag=6):
    """Done, or why not."""

    ticket: Number
    problem: Annotated[str, Meta(max_length=512)] = ""


Message = Commands | Outcomes | Questions | Answers | Order | Ordered
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(payload: bytes) -> Message:
    """Raises one of UNREADABLE."""
    message: Message = _decoder.decode(payload)
    return message
