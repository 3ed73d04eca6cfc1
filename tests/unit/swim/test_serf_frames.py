"""What Serf sends means what it should, and what we send of the same is the same to the octet."""

import base64

import msgpack
import pytest

from agent.core.swim import lzw
from agent.core.swim.envelope import Envelope
from agent.core.swim.keyring import KeyRing
from agent.core.swim.messages import Ack, Alive, Error, Foreign, IndirectPing, Message, Nack, NodeState, Ping, PushPull, Suspect
from agent.core.swim.stream import StreamReader, encode_stream
from agent.core.swim.wire import compressed, decode_packet, pack, with_crc
from tests.unit.swim.serf_frames import PACKETS, STREAMS

S1, S2, US = b"\x7f\0\7\x0b", b"\x7f\0\7\x0c", b"\x7f\0\7\x09"
PORT = 17946
MEANINGS: dict[str, list[Message]] = {
    "ping": [Ping(4, "pf", S1, PORT, "s1")],
    "indirectping": [IndirectPing(11, S2, PORT, "s2", True, S1, PORT, "s1")],
    "ack": [Ack(78)],
    "nack": [Nack(77)],
    "ping and suspect": [Ping(12, "pf", S1, PORT, "s1"), Suspect(1, "s2", "s1")],
    "checked alive": [Alive(1, "pf", US, PORT)],
    "checked suspect": [Suspect(1, "pf", "s1")],
    "checked ping and suspect": [Ping(14, "pf", S1, PORT, "s1"), Suspect(1, "pf", "s1")],
    "checked foreign": [Foreign(b"\x03\x84\xa2CC\xc3\xa5LTime\x01\xa4Name\xa6deploy\xa7Payload\xa2v1")],
}


def packet(name: str) -> bytes:
    return base64.b64decode(PACKETS[name])


def stream(name: str) -> bytes:
    return base64.b64decode(STREAMS[name])


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_a_packet_is_read_and_would_be_written_the_same(name: str) -> None:
    data = packet(name)
    assert decode_packet(data) == MEANINGS[name]
    frame = pack(MEANINGS[name])
    assert data == (with_crc(frame) if name.startswith("checked") else frame)


def test_a_compressed_packet_is_read_and_would_be_compressed_the_same() -> None:
    data = packet("checked compressed foreign")
    (event,) = decode_packet(data)
    assert isinstance(event, Foreign)
    assert b"again and again and" in event.payload
    assert with_crc(compressed(pack([event]))) == data


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ping", Ping(12, "pf", S1, PORT, "s1")),
        ("ack", Ack(5)),
        ("error", Error("Remote state is encrypted and encryption is not configured")),
    ],
)
def test_a_small_stream_is_read_and_would_be_written_the_same(name: str, message: Message) -> None:
    assert StreamReader(Envelope(), True).feed(stream(name)) == message
    assert encode_stream(message) == stream(name)
    assert type(StreamReader(Envelope(), True).feed(stream("compressed " + name))) is type(message)


def test_a_push_pull_is_read_with_serfs_state_left_out() -> None:
    nodes = (NodeState("s2", S2, PORT, 1, 0, b"\xff\x80"), NodeState("s1", S1, PORT, 1, 0, b"\xff\x80"))
    data = stream("pushpull")
    assert StreamReader(Envelope(), True).feed(data) == PushPull(nodes, True)
    ours = encode_stream(PushPull(nodes, True))
    header = msgpack.packb({"Join": True, "Nodes": 2, "UserStateLen": 0})
    theirs = msgpack.packb({"Join": True, "Nodes": 2, "UserStateLen": 590})
    assert data.startswith(ours.replace(header, theirs))


def test_serfs_compression_is_ours_to_the_octet() -> None:
    packed = msgpack.unpackb(stream("compressed pushpull")[1:], raw=True)[b"Buf"]
    assert lzw.compress(lzw.decompress(packed, 10_000)) == packed


def test_a_sealed_push_pull_is_opened_with_its_key() -> None:
    ring = KeyRing([bytes(32), bytes(range(32))], bytes)
    message = StreamReader(Envelope(ring=ring), True).feed(stream("sealed pushpull"))
    assert isinstance(message, PushPull)
    assert [node.name for node in message.nodes] == ["s1"]
    assert message.join
