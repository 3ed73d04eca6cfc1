"""What came of a command."""

from typing import Final

import msgspec
from msgspec import Struct


class Outcome(Struct, frozen=True, array_like=True, gc=False):
    """error: empty, or one of `ERRORS`. revision: the store's after the command; 0 where it is not known yet (an outcome of the fast
    path, given before the command's place in the log is). value: what msgpack knows, by command (see `commands.py`). replayed: taken
    from the table of outcomes, not executed again."""

    error: str = ""
    revision: int = 0
    value: object = None
    replayed: bool = False


ERRORS: Final = frozenset(
    (
        "malformed",
        "not_found",
        "compare_failed",
        "too_large",
        "full",
        "lease_not_found",
        "session_not_found",
        "request_too_old",
        "idempotency_mismatch",
        "locked",
        "not_owner",
        "conflict",
        "invalid",
    )
)
"""malformed: octets that are no command. full: a bound of `Limits`, named by `value`. locked: held by another, named by `value`.
invalid: a field's value makes no sense, `value` says which. request_too_old: its outcome is no longer kept, nor is it known whether
there was one."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(data)
