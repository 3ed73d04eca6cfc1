"""What a caller has seen, as callers carry it from one purge to the next: a version vector over the streams that moved last."""

import base64
from collections.abc import Iterable
from typing import Final

import msgspec

from agent.core.gossip.messages import UNREADABLE, Stream

CONTEXT_MAX: Final = 16
"""Streams in a context: those that moved last. What is older has long been everywhere, or was given up."""
CONTEXT_BYTES_MAX: Final = 500


def context_bytes(context: Iterable[Stream]) -> int:
    """An upper bound of what a context takes on the wire."""
    return sum(20 + len(stream.origin.encode()) for stream in context)


def encode_context(context: tuple[Stream, ...]) -> str:
    """A context as a caller carries it: opaque, safe in a header field. Of too many streams those that moved first are left out."""
    while context_bytes(context) > CONTEXT_BYTES_MAX:
        context = context[:-1]
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(context)).decode().rstrip("=")


def decode_context(text: str) -> tuple[Stream, ...]:
    """ValueError: it is no context of ours."""
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.msgpack.decode(octets, type=tuple[Stream, ...])
    except (ValueError, *UNREADABLE):
        raise ValueError("not a context that an agent gave out") from None
