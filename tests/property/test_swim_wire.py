"""Any message comes back as it was, through any wrapping; any octets are a message or a `WireError`, in bounded space."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.swim import lzw
from agent.core.swim.envelope import Envelope
from agent.core.swim.errors import REASONS, WireError
from agent.core.swim.keyring import KeyRing
from agent.core.swim.messages import Error, Message, NodeState, PushPull
from agent.core.swim.sizes import size_of
from agent.core.swim.stream import NODES_A_SLICE, StreamReader, encode_stream
from agent.core.swim.wire import decode_packet, encode, encoded_size, pack, pack_parts, pack_within, packed_size
from tests.property.swim_messages import packet_messages, stream_messages


def counted(size: int, counter: "itertools.count[int]" = itertools.count()) -> bytes:  # noqa: B008 (one counter for all)
    return next(counter).to_bytes(size, "big")


KEYS = [bytes(range(16)), bytes(range(24)), bytes(range(32))]


def envelope(label: str, keyed: bool, compress: bool) -> Envelope:
    return Envelope(label, KeyRing(KEYS, counted) if keyed else None, compress=compress)


envelopes = st.builds(envelope, st.sampled_from(["", "blue", "ü" * 120]), st.booleans(), st.booleans())


@given(st.lists(packet_messages, min_size=1, max_size=8), envelopes)
def test_a_packet_comes_back_and_has_the_size_that_was_foretold(messages: list[Message], envelope: Envelope) -> None:
    frame = pack(messages)
    assert len(frame) == packed_size([encoded_size(message) for message in messages])
    closed = envelope.close_packet(frame)
    assert len(closed) <= len(frame) + envelope.overhead_bytes
    assert decode_packet(envelope.open_packet(closed)) == messages


@given(stream_messages, envelopes, st.integers(1, 97))
def test_a_stream_comes_back_however_it_is_cut(message: Message, envelope: Envelope, step: int) -> None:
    for labelled in (True, False):
        data = (envelope.prefix if labelled else b"") + envelope.close_stream(encode_stream(message))
        reader = StreamReader(envelope, labelled)
        for at in range(0, len(data), step):
            got = reader.feed(data[at : at + step])
            assert (got is None) == (at + step < len(data))
        assert got == message


@given(st.integers(150, 900), envelopes, st.integers(5_000, 200_000))
def test_a_large_state_is_read_in_slices(count: int, envelope: Envelope, step: int) -> None:
    nodes = tuple(NodeState(f"n{number}", b"\x0a\0" + number.to_bytes(2, "big"), 7946, number, 0) for number in range(count))
    message = PushPull(nodes, True, b"state")
    data = envelope.prefix + envelope.close_stream(encode_stream(message))
    reader = StreamReader(envelope, True)
    got = None
    slices = 0
    for at in range(0, len(data), step):
        assert got is None
        got = reader.feed(data[at : at + step])
        while reader.has_more:
            assert got is None
            slices += 1
            got = reader.feed(b"")
    assert got == message
    assert slices or step < len(data) or count <= NODES_A_SLICE


@given(st.lists(packet_messages, max_size=40), st.integers(60, 1400))
def test_packing_within_a_budget_loses_nothing_and_keeps_the_order(messages: list[Message], budget: int) -> None:
    parts = [encode(message) for message in messages]
    frames = pack_within(parts, budget)
    assert [message for frame in frames for message in decode_packet(frame)] == messages
    for frame in frames:
        assert len(frame) <= budget or len(decode_packet(frame)) == 1


@given(st.binary(max_size=3000) | st.binary(max_size=8).map(lambda seed: seed * 2000))
def test_lzw_comes_back(data: bytes) -> None:
    packed = lzw.compress(data)
    assert lzw.decompress(packed, len(data)) == data
    if data:
        with pytest.raises(WireError):
            lzw.decompress(packed, len(data) - 1)
    with pytest.raises(WireError):
        lzw.decompress(packed[:-2], len(data))


@given(st.binary(max_size=400), st.integers(0, 5000))
def test_any_octets_expand_within_the_bound_or_are_refused(data: bytes, bound: int) -> None:
    try:
        assert len(lzw.decompress(data, bound)) <= bound
    except WireError as error:
        assert error.reason in REASONS  # noqa: PT017 (a refusal is an answer here)


@given(st.binary(max_size=300), st.sampled_from(sorted([*range(14), 244, 255])), envelopes)
def test_any_octets_are_a_packet_or_a_wire_error(data: bytes, kind: int, envelope: Envelope) -> None:
    for octets in (data, bytes((kind,)) + data):
        try:
            assert decode_packet(envelope.open_packet(octets))
        except WireError as error:
            assert error.reason in REASONS  # noqa: PT017 (a refusal is an answer here)


@given(st.lists(packet_messages, min_size=1, max_size=3), st.data())
def test_a_changed_octet_in_an_encrypted_packet_or_stream_is_seen(messages: list[Message], data: st.DataObject) -> None:
    sealed = Envelope("blue", KeyRing(KEYS, counted))
    packet = bytearray(sealed.close_packet(pack(messages)))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        decode_packet(sealed.open_packet(bytes(packet)))


@given(stream_messages, st.data())
def test_a_changed_octet_in_an_encrypted_stream_is_seen_or_waits(message: Message, data: st.DataObject) -> None:
    sealed = Envelope("blue", KeyRing(KEYS, counted))
    stream = bytearray(sealed.prefix + sealed.close_stream(encode_stream(message)))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert StreamReader(sealed, True).feed(bytes(stream)) is None
    except WireError as error:
        assert error.reason in REASONS  # noqa: PT017 (a refusal is an answer here)


@given(stream_messages, st.binary(max_size=60), st.data())
def test_any_octets_in_a_stream_are_read_or_are_a_wire_error(message: Message, noise: bytes, data: st.DataObject) -> None:
    octets = bytearray(encode_stream(message))
    at = data.draw(st.integers(0, len(octets)))
    octets[at : at + len(noise)] = noise
    reader = StreamReader(Envelope(), True)
    try:
        for cut in range(0, len(octets), 50):
            if reader.feed(bytes(octets[cut : cut + 50])) is not None:
                break
    except WireError as error:
        assert error.reason in REASONS  # noqa: PT017 (a refusal is an answer here)


def test_a_compound_has_at_most_255_parts() -> None:
    with pytest.raises(ValueError, match="256 parts"):
        pack_parts([b"x"] * 256)
    with pytest.raises(ValueError, match="0 parts"):
        pack_parts([])


@given(st.one_of(packet_messages, stream_messages))
def test_the_cores_estimate_of_a_size_is_never_less_than_the_size(message: Message) -> None:
    whole = len(encode_stream(message)) if isinstance(message, PushPull | Error) else encoded_size(message)
    assert size_of(message) >= whole - _beyond_one_octet(message)


def _beyond_one_octet(message: Message) -> int:
    """The estimate counts characters."""
    texts = (value for value in (getattr(message, field) for field in message.__struct_fields__) if isinstance(value, str))
    nodes = message.nodes if isinstance(message, PushPull) else ()
    return sum(len(text.encode()) - len(text) for text in (*texts, *(node.name for node in nodes)))
