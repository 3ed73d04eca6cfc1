"""What an entry of the log holds: when, who asked, and the command.

`time_ms` is *machine time*: it only goes forward, stamped by the leader's host as (machine time when it became the leader + monotonic
time since). No wall clock decides anything, so clocks that jump change nothing; while nobody leads it stands still, and no lease ends.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from agent.core.machine.commands import Count, Tick


class Sealed(Struct, frozen=True, array_like=True, gc=False):
    """An envelope whose command is not looked at. session, request: 0 where exactly-once is not asked for. acked: the session has the
    outcomes of its requests up to this one."""

    time_ms: Count
    session: Count
    request: Count
    acked: Count
    command: Raw


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Sealed)

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
"""What msgspec raises for octets that are not what is wanted: text that is not UTF-8 is a UnicodeDecodeError, for one."""

TICK: Final = _encoder.encode(Tick())
"""The command that carries the time and nothing else."""


def encode_command(command: Struct) -> bytes:
    """A command's octets, as `Envelope`s and proposals carry them."""
    return _encoder.encode(command)


def seal(time_ms: int, session: int, request: int, acked: int, command: bytes) -> bytes:
    """An envelope around the octets of a command."""
    return _encoder.encode(Sealed(time_ms, session, request, acked, Raw(command)))


def unseal(data: bytes) -> Sealed:
    """An envelope as far as it can be read without knowing the command. Raises one of `UNREADABLE`."""
    return _decoder.decode(data)
