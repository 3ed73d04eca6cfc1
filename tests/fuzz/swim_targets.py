"""What must hold for any octets that come to the membership's ports: a message that means the same again, or a `WireError`."""

import itertools
from collections.abc import Callable
from typing import Final

from agent.core.swim import lzw
from agent.core.swim.envelope import Envelope
from agent.core.swim.errors import REASONS, WireError
from agent.core.swim.keyring import KeyRing
from agent.core.swim.stream import StreamReader, encode_stream
from agent.core.swim.wire import decode_packet, pack

BOUND: Final = 50_000


def swim_packet(data: bytes) -> None:
    """A packet that is taken is taken again, the same, when we send it."""
    try:
        messages = decode_packet(Envelope().open_packet(data))
    except WireError as error:
        assert error.reason in REASONS, error.reason  # noqa: PT017 (a refusal is an answer here)
        return
    assert decode_packet(pack(messages)) == messages


def swim_stream(data: bytes) -> None:
    """The first octet says how the rest is cut: the message, or the refusal, is the same; and it is taken again when we send it."""
    step = (data[0] if data else 0) + 1
    found = []
    for size in (step, max(len(data), 1)):
        reader = StreamReader(Envelope(stream_bytes_max=BOUND), True)
        message = reason = None
        try:
            for at in range(1, len(data), size):
                message = reader.feed(data[at : at + size])
                if message is not None:
                    break
        except WireError as error:
            reason = error.reason
            assert reason in REASONS, reason
        found.append((message, reason))
    assert found[0] == found[1]
    if found[0][0] is not None:
        assert StreamReader(Envelope(stream_bytes_max=2 * BOUND), True).feed(encode_stream(found[0][0])) == found[0][0]


def swim_sealed(data: bytes) -> None:
    """Nothing that did not have the key is ever opened, and what is opened of our own is whole."""
    counter = itertools.count()
    envelope = Envelope("blue", KeyRing([bytes(range(32))], lambda size: next(counter).to_bytes(size, "big")))
    for octets in (data, envelope.prefix + data):
        for read in (envelope.open_packet, StreamReader(envelope, True).feed):
            try:
                assert read(octets) is None
            except WireError as error:
                assert error.reason in REASONS, error.reason  # noqa: PT017
    assert envelope.open_packet(envelope.close_packet(data)) == data


def swim_lzw(data: bytes) -> None:
    """What expands stays in its bound, and all compresses and comes back."""
    try:
        assert len(lzw.decompress(data, BOUND)) <= BOUND
    except WireError as error:
        assert error.reason in REASONS, error.reason  # noqa: PT017
    assert lzw.decompress(lzw.compress(data), len(data)) == data


SWIM_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "swim_packet": swim_packet,
    "swim_stream": swim_stream,
    "swim_sealed": swim_sealed,
    "swim_lzw": swim_lzw,
}
