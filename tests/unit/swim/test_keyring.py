"""Keys are installed, used and removed while members talk; what does not verify is not opened."""

import itertools

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.core.swim.envelope import SEAL_BYTES, Envelope
from agent.core.swim.errors import WireError
from agent.core.swim.keyring import KEYS_MAX, KeyRing, KeyRingError
from agent.core.swim.messages import Ack, Ping
from agent.core.swim.stream import StreamReader, encode_stream
from agent.core.swim.wire import decode_packet, encode

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


_counter = itertools.count()


def counted(size: int) -> bytes:
    return next(_counter).to_bytes(size, "big")


def ring(*keys: bytes) -> KeyRing:
    return KeyRing(keys, counted)


def test_a_rotation_is_heard_at_every_step_by_every_member() -> None:
    members = [Envelope(ring=ring(OLD)) for _ in range(3)]

    def all_hear_all() -> None:
        for sender in members:
            for hearer in members:
                assert decode_packet(hearer.open_packet(sender.close_packet(encode(Ack(1))))) == [Ack(1)]

    for change in (lambda r: r.install(NEW), lambda r: r.use(NEW), lambda r: r.remove(OLD)):
        for member in members:
            change(member.ring)
            all_hear_all()
    assert members[0].ring is not None
    assert members[0].ring.keys == (NEW,)
    with pytest.raises(WireError):
        members[0].open_packet(Envelope(ring=ring(OLD)).close_packet(encode(Ack(1))))


def test_what_a_ring_refuses() -> None:
    keys = ring(OLD)
    with pytest.raises(KeyRingError, match="not 5"):
        keys.install(b"short")
    with pytest.raises(KeyRingError, match="not installed"):
        keys.use(NEW)
    with pytest.raises(KeyRingError, match="not installed"):
        keys.remove(NEW)
    with pytest.raises(KeyRingError, match="primary"):
        keys.remove(OLD)
    keys.install(OLD)
    assert keys.keys == (OLD,)
    for number in range(KEYS_MAX - 1):
        keys.install(bytes((number,)) * 16)
    with pytest.raises(KeyRingError, match="remove one"):
        keys.install(NEW)
    with pytest.raises(KeyRingError, match="needs a key"):
        ring()
    assert OLD.hex() not in str(KeyRingError) + repr(keys)


def test_version_0_is_read_with_its_padding() -> None:
    plain = encode(Ack(1))
    padded = plain + bytes((16 - len(plain) % 16,)) * (16 - len(plain) % 16)
    sealed = b"\x00" + bytes(12) + AESGCM(OLD).encrypt(bytes(12), padded, b"blue")
    assert ring(NEW, OLD).open(sealed, b"blue") == plain
    for broken in (b"", b"\x00", b"\x11" * 17, b"ab\x03", b"abc\x02\x03\x03"):
        with pytest.raises(WireError, match="padding"):
            ring(OLD).open(b"\x00" + bytes(12) + AESGCM(OLD).encrypt(bytes(12), broken, b""), b"")


@pytest.mark.parametrize("sealed", [b"", b"\x01", bytes(SEAL_BYTES - 1), b"\x02" + bytes(60), b"\x01" + bytes(60)])
def test_what_is_not_sealed_is_not_opened(sealed: bytes) -> None:
    with pytest.raises(WireError) as caught:
        ring(OLD).open(sealed, b"")
    assert caught.value.reason == "not_decrypted"


def test_plain_is_heard_with_keys_only_where_that_is_configured() -> None:
    plain = Envelope()
    strict = Envelope(ring=ring(OLD))
    moving = Envelope(ring=ring(OLD), accept_plain=True, send_plain=True)
    packet, stream = plain.close_packet(encode(Ack(1))), plain.close_stream(encode_stream(Ping(1, "a")))
    with pytest.raises(WireError):
        strict.open_packet(packet)
    with pytest.raises(WireError) as caught:
        StreamReader(strict, True).feed(stream)
    assert caught.value.reason == "not_encrypted"
    assert decode_packet(moving.open_packet(packet)) == [Ack(1)]
    assert StreamReader(moving, True).feed(stream) == Ping(1, "a")
    assert decode_packet(moving.open_packet(strict.close_packet(encode(Ack(1))))) == [Ack(1)]
    assert decode_packet(plain.open_packet(moving.close_packet(encode(Ack(1))))) == [Ack(1)]


def test_what_came_before_is_not_taken_again_within_the_window() -> None:
    sealed = Envelope("blue", ring(OLD), replay_frames=10)
    packet = sealed.close_packet(encode(Ack(1)))
    stream = sealed.prefix + sealed.close_stream(encode_stream(Ping(1, "a")))
    hearer = Envelope("blue", ring(NEW, OLD), replay_frames=10, accept_plain=True)
    assert hearer.open_packet(packet)
    assert StreamReader(hearer, True).feed(stream) == Ping(1, "a")
    for replay in (hearer.open_packet, StreamReader(hearer, True).feed):
        with pytest.raises(WireError) as caught:
            replay(packet if replay == hearer.open_packet else stream)
        assert caught.value.reason == "replayed"
    for _ in range(9):
        hearer.open_packet(sealed.close_packet(encode(Ack(1))))
    with pytest.raises(WireError, match="replayed"):
        hearer.open_packet(packet)
    for _ in range(10):
        hearer.open_packet(sealed.close_packet(encode(Ack(1))))
    assert hearer.open_packet(packet), "the window is of frames, and has an end"


def test_strangers_do_not_fill_the_window_and_without_one_nothing_is_remembered() -> None:
    sealed, forgetful = Envelope(ring=ring(OLD), replay_frames=2), Envelope(ring=ring(OLD), replay_frames=0)
    packet = sealed.close_packet(encode(Ack(1)))
    sealed.open_packet(packet)
    for number in range(20):
        with pytest.raises(WireError, match="no key"):
            sealed.open_packet(b"\x01" + bytes((number,)) * 60)
    with pytest.raises(WireError, match="replayed"):
        sealed.open_packet(packet)
    assert forgetful.open_packet(packet) == forgetful.open_packet(packet)


def test_a_stream_cannot_be_taken_for_a_packet_nor_its_length_be_changed() -> None:
    sealed = Envelope(ring=ring(OLD))
    stream = sealed.close_stream(encode_stream(Ping(1, "a")))
    with pytest.raises(WireError):
        sealed.open_packet(stream[5:])
    longer = bytearray(stream + b"\0")
    longer[4] += 1
    with pytest.raises(WireError):
        StreamReader(sealed, True).feed(bytes(longer))
