"""Whatever a peer sends, it is read or it is a PeerError."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.peers.handshake import Handshake
from agent.runtime.peers.wire import (
    HELLO_BYTES_MAX,
    RECORD_BYTES_MAX,
    RECORD_BYTES_WANTED,
    Frame,
    PeerError,
    RecordReader,
    decode_frames,
    encode_frames,
    record,
)

KEY = bytes(range(32))
ids = st.integers(0, 2**53 - 1)
frames = st.builds(Frame, st.text(max_size=64), st.integers(0, 255), ids, ids, st.binary(max_size=200))


@given(st.lists(frames, max_size=20))
def test_frames_come_out_as_they_went_in(sent: list[Frame]) -> None:
    assert [frame for body in encode_frames(sent) for frame in decode_frames(body)] == sent


@given(st.lists(st.integers(0, RECORD_BYTES_WANTED), min_size=1, max_size=6))
def test_much_becomes_several_records_of_which_none_is_much_larger_than_wanted(sizes: list[int]) -> None:
    sent = [Frame("main", 0, 1, 2, bytes(size)) for size in sizes]
    bodies = encode_frames(sent)
    assert [len(frame.payload) for body in bodies for frame in decode_frames(body)] == sizes
    assert all(len(body) <= 2 * RECORD_BYTES_WANTED + 1024 for body in bodies)


@given(st.lists(st.binary(max_size=300), max_size=10), st.data())
def test_records_are_found_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(record, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = RecordReader()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        body = reader.one(stream[start:end])
        while body is not None:
            found.append(body)
            body = reader.one(b"")
    assert found == bodies


@given(st.binary(max_size=400))
def test_any_octets_are_frames_or_an_error(body: bytes) -> None:
    try:
        for frame in decode_frames(body):
            assert 0 <= frame.sender < 2**53
    except PeerError:
        pass


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_any_octets_end_a_handshake_in_an_error(bodies: list[bytes], initiator: bool, keyed: bool) -> None:
    handshake = Handshake("blue", "a", (KEY,) if keyed else (), initiator=initiator)
    handshake.start()
    with pytest.raises(PeerError):
        [handshake.take(body) for body in bodies]
    assert not handshake.done


@given(st.binary(min_size=1, max_size=64), st.integers(0, 63), st.integers(1, 255))
def test_a_changed_octet_of_a_hello_is_noticed(salt: bytes, at: int, by: int) -> None:
    """Both sides' keys hang on every octet that was said: one that is changed on its way ends it, at the latest with the proof."""
    first = Handshake("blue", "a", (KEY,), initiator=True)
    second = Handshake("blue", "b", (KEY,), initiator=False)
    hello = bytearray(first.start()[0])
    hello[(at * 7 + salt[0]) % len(hello)] ^= by
    with pytest.raises(PeerError):
        [second.take(proof) for body in second.take(bytes(hello)) for proof in first.take(body)]
    assert not second.done


@given(st.integers(HELLO_BYTES_MAX + 1, 2**32 - 1))
def test_a_stranger_cannot_make_us_hold_much(size: int) -> None:
    with pytest.raises(PeerError):
        RecordReader().one(struct.pack(">I", size))
    assert HELLO_BYTES_MAX < RECORD_BYTES_MAX
