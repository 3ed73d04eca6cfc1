"""Each thing that a frame must be, refused by name where it is not."""

import msgpack
import pytest

from agent.core.swim import lzw
from agent.core.swim.envelope import Envelope
from agent.core.swim.errors import WireError
from agent.core.swim.keyring import KeyRing
from agent.core.swim.messages import Ack, Alive, Error, Foreign, Ping, PushPull, User
from agent.core.swim.serf import decode_tags, encode_tags, leave_intent
from agent.core.swim.stream import StreamReader, encode_stream
from agent.core.swim.wire import compressed, decode_packet, encode, pack, with_crc

KEY = bytes(range(32))


def packed(kind: int, **fields: object) -> bytes:
    return bytes((kind,)) + msgpack.packb(fields, use_bin_type=False)


def zeros(size: int) -> bytes:
    return bytes(size)


ALIVE = {"Incarnation": 1, "Node": "a", "Addr": b"\x7f\0\0\1", "Port": 1, "Meta": b"", "Vsn": bytes(6)}
BAD_PACKETS = {
    "nothing": (b"", "truncated"),
    "a type without a body": (b"\x00", "malformed"),
    "an unknown type": (b"\x30\x80", "unsupported"),
    "a push/pull": (b"\x06\x80", "unsupported"),
    "an error": (packed(13, Error="x"), "unsupported"),
    "a ping without a number": (packed(0, Node="a"), "out_of_bounds"),
    "a number too large": (packed(0, SeqNo=1 << 32), "out_of_bounds"),
    "a number below zero": (packed(0, SeqNo=-1), "out_of_bounds"),
    "true for a number": (packed(0, SeqNo=True), "out_of_bounds"),
    "a number for a name": (packed(0, SeqNo=1, Node=5), "out_of_bounds"),
    "a name of a control character": (packed(0, SeqNo=1, Node="a\n"), "out_of_bounds"),
    "a name that is not UTF-8": (packed(0, SeqNo=1, Node=b"\xff"), "out_of_bounds"),
    "a name too long": (packed(0, SeqNo=1, Node="a" * 256), "out_of_bounds"),
    "a list for a body": (b"\x00\x91\x01", "malformed"),
    "octets behind the body": (packed(0, SeqNo=1) + b"\x00", "malformed"),
    "a body nested deeply": (b"\x00" + b"\x81\xa1a" * 2000, "malformed"),
    "more fields than any message has": (packed(0, SeqNo=1, **{f"f{n}": 1 for n in range(40)}), "malformed"),
    "an extension type": (b"\x00\x82\xa5SeqNo\x01\xa1x\xd4\x05\x00", "malformed"),
    "a suspicion of nobody": (packed(3, Incarnation=1, Node="", From="b"), "out_of_bounds"),
    "an address of 5 octets": (packed(4, **{**ALIVE, "Addr": b"12345"}), "out_of_bounds"),
    "no address": (packed(4, **{**ALIVE, "Addr": b""}), "out_of_bounds"),
    "port 0": (packed(4, **{**ALIVE, "Port": 0}), "out_of_bounds"),
    "port 65536": (packed(4, **{**ALIVE, "Port": 65536}), "out_of_bounds"),
    "metadata too large": (packed(4, **{**ALIVE, "Meta": bytes(513)}), "out_of_bounds"),
    "five versions": (packed(4, **{**ALIVE, "Vsn": bytes(5)}), "out_of_bounds"),
    "a flag that is a number": (packed(1, SeqNo=1, Target=b"1234", Port=1, Node="a", Nack=1), "out_of_bounds"),
    "a compound of nothing": (b"\x07\x00", "truncated"),
    "a compound without its lengths": (b"\x07\x02\x00", "truncated"),
    "a compound that ends early": (b"\x07\x01\x00\x09\x08", "truncated"),
    "a compound with more than its parts": (b"\x07\x01\x00\x01\x08\x08", "malformed"),
    "an empty part": (b"\x07\x01\x00\x00", "truncated"),
    "a compound in a compound": (pack([Ack(1), Ack(2)]).replace(b"\x02\x82", b"\x07\x82"), "unsupported"),
    "compressed in compressed": (packed(9, Algo=0, Buf=lzw.compress(packed(9, Algo=0, Buf=b"x"))), "unsupported"),
    "another algorithm": (packed(9, Algo=1, Buf=b"x"), "out_of_bounds"),
    "compressed nothing": (packed(9, Algo=0, Buf=lzw.compress(b"")), "truncated"),
    "compressed without an end": (packed(9, Algo=0, Buf=lzw.compress(b"abc")[:-2]), "truncated"),
    "a code that is none": (packed(9, Algo=0, Buf=b"\x00\xff\xff\xff"), "malformed"),
    "a bomb": (packed(9, Algo=0, Buf=lzw.compress(b"\x08" + bytes(70_000))), "too_large"),
    "a checksum cut off": (b"\x0c\x00\x00", "truncated"),
    "another checksum": (b"\x0c\x00\x00\x00\x00" + encode(Ack(1)), "checksum"),
    "a checksum in a checksum": (with_crc(with_crc(encode(Ack(1)))), "unsupported"),
    "more than a datagram holds": (bytes(65_536), "too_large"),
}


@pytest.mark.parametrize("case", sorted(BAD_PACKETS))
def test_a_bad_packet_is_refused_by_name(case: str) -> None:
    data, reason = BAD_PACKETS[case]
    with pytest.raises(WireError) as caught:
        decode_packet(data)
    assert caught.value.reason == reason, caught.value


BAD_STREAMS = {
    "an unknown type": (b"\x30\x80", "unsupported"),
    "a suspicion": (packed(3, Incarnation=1, Node="a", From="b"), "unsupported"),
    "too many nodes": (packed(6, Nodes=65_537, UserStateLen=0, Join=False), "out_of_bounds"),
    "fewer than no nodes": (packed(6, Nodes=-1, UserStateLen=0, Join=False), "out_of_bounds"),
    "more user state than a stream holds": (packed(6, Nodes=0, UserStateLen=20_000_000, Join=False), "out_of_bounds"),
    "a node that is a number": (packed(6, Nodes=1, UserStateLen=0, Join=False) + b"\x05", "malformed"),
    "octets that are not msgpack": (b"\x06\xc1", "malformed"),
    "an unknown state": (
        packed(6, Nodes=1, UserStateLen=0) + packed(0, Name="a", Addr=b"1234", Port=1, Incarnation=1, State=4, Vsn=bytes(6))[1:],
        "out_of_bounds",
    ),
    "a label": (b"\xf4\x01a" + encode_stream(Ping(1, "a")), "label"),
    "encrypted": (b"\x0a\x00\x00\x00\x40" + bytes(64), "not_encrypted"),
    "compressed without an end": (packed(9, Algo=0, Buf=lzw.compress(b"\x06\x80"[:1])), "truncated"),
    "compressed in compressed": (packed(9, Algo=0, Buf=lzw.compress(packed(9, Algo=0, Buf=lzw.compress(b"\x00")))), "unsupported"),
}


@pytest.mark.parametrize("case", sorted(BAD_STREAMS))
def test_a_bad_stream_is_refused_by_name(case: str) -> None:
    data, reason = BAD_STREAMS[case]
    with pytest.raises(WireError) as caught:
        StreamReader(Envelope(), True).feed(data)
    assert caught.value.reason == reason, caught.value


def test_a_stream_is_held_to_its_size_however_slowly_it_grows() -> None:
    reader = StreamReader(Envelope(stream_bytes_max=10_000), True)
    reader.feed(b"\x06" + msgpack.packb({"Nodes": 1, "UserStateLen": 0, "Join": False}) + b"\x81\xa1x\xdb\x00\x00\x27\x00")
    for _ in range(99):
        assert reader.feed(bytes(100)) is None
    with pytest.raises(WireError, match="more than 10000 bytes"):
        reader.feed(bytes(100))


def test_a_compressed_stream_may_not_expand_beyond_the_bound() -> None:
    bomb = encode_stream(PushPull((), user=bytes(100_000)))
    sealed = compressed(bomb)
    assert len(sealed) < 2_000
    with pytest.raises(WireError) as caught:
        StreamReader(Envelope(stream_bytes_max=50_000), True).feed(sealed)
    assert caught.value.reason == "too_large"


def test_an_encrypted_stream_says_its_size_before_it_is_read() -> None:
    with pytest.raises(WireError) as caught:
        StreamReader(Envelope(ring=KeyRing([KEY], zeros)), True).feed(b"\x0a\xff\xff\xff\xff")
    assert caught.value.reason == "too_large"


def test_ours_bears_a_mark_and_foreign_data_do_not_pass_for_ours() -> None:
    assert decode_packet(encode(User(b"x"))) == [User(b"x")]
    assert encode(User(b"x"))[1] > 9, "Serf's message types end at 9"
    assert decode_packet(b"\x08\x03serf's") == [Foreign(b"\x03serf's")]
    theirs = packed(6, Nodes=0, UserStateLen=5, Join=True) + b"\x02serf"
    assert StreamReader(Envelope(), True).feed(theirs) == PushPull((), True, b"")


def test_fields_that_we_do_not_know_are_ignored() -> None:
    assert decode_packet(packed(2, SeqNo=7, Payload=b"", Later=[1, {"a": None}])) == [Ack(7)]


def test_an_ipv4_address_in_ipv6_form_is_the_same_address() -> None:
    (alive,) = decode_packet(packed(4, **{**ALIVE, "Addr": bytes(10) + b"\xff\xff\x7f\0\0\1"}))
    assert isinstance(alive, Alive)
    assert alive.address == b"\x7f\0\0\1"


@pytest.mark.parametrize("message", [PushPull(()), Error("no")])
def test_what_streams_carry_does_not_go_in_a_packet(message: PushPull | Error) -> None:
    with pytest.raises(ValueError, match="stream"):
        encode(message)


def test_what_packets_carry_does_not_go_in_a_stream() -> None:
    with pytest.raises(ValueError, match="packet"):
        encode_stream(Alive(1, "a", b"1234", 1))


@pytest.mark.parametrize(("ours", "theirs"), [("blue", "green"), ("blue", ""), ("", "green"), ("blue", "blues"), ("blues", "blue")])
@pytest.mark.parametrize("keyed", [False, True])
def test_another_cluster_is_not_heard(ours: str, theirs: str, keyed: bool) -> None:
    mine, other = (Envelope(label, KeyRing([KEY], zeros) if keyed else None) for label in (ours, theirs))
    with pytest.raises(WireError) as caught:
        mine.open_packet(other.close_packet(encode(Ack(1))))
    assert caught.value.reason in (("label", "not_decrypted") if keyed else ("label",))
    with pytest.raises(WireError) as caught:
        StreamReader(mine, True).feed(other.prefix + other.close_stream(encode_stream(Ack(1))))
    assert caught.value.reason in ("label", "unsupported")


def test_a_label_that_was_changed_on_the_way_does_not_decrypt() -> None:
    blue, green = (Envelope(label, KeyRing([KEY], zeros)) for label in ("blue", "grün"))
    sealed = blue.close_packet(encode(Ack(1)))
    with pytest.raises(WireError) as caught:
        green.open_packet(green.prefix + sealed[len(blue.prefix) :])
    assert caught.value.reason == "not_decrypted"


def test_tags_are_serfs() -> None:
    assert encode_tags({"zone": "a", "role": "web"}) == b"\xff\x82\xa4role\xa3web\xa4zone\xa1a"
    assert decode_tags(b"\xff\x82\xa4role\xa3web\xa4zone\xa1a") == {"role": "web", "zone": "a"}
    assert decode_tags(b"") == {}
    assert decode_tags(b"web") == {"role": "web"}
    with pytest.raises(ValueError, match="at most 512"):
        encode_tags({"note": "x" * 600})
    for bad in (b"\xff", b"\xff\xc1", b"\xff\x05", b"\xff\x81\x01\x02", b"\xff\x81\xa1a\x90"):
        with pytest.raises(WireError):
            decode_tags(bad)


def test_a_leave_intent_is_serfs() -> None:
    intent = leave_intent("pf", 3)
    assert intent.foreign
    assert encode(Foreign(intent.payload)) == b"\x08\x00\x83\xa5LTime\x03\xa4Node\xa2pf\xa5Prune\xc2"
