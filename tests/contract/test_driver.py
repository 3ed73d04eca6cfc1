"""The driver before a core that does what the test says: order, time, streams, bounds, and what is dropped."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from math import inf

import pytest

from agent.core.swim.envelope import Envelope
from agent.core.swim.io import (
    Broadcast,
    Deliver,
    Effect,
    Input,
    OpenStream,
    PacketIn,
    SendPacket,
    StreamAnswer,
    StreamFailed,
    StreamReply,
    StreamRequest,
    Wake,
)
from agent.core.swim.keyring import KeyRing
from agent.core.swim.messages import Ack, Foreign, Ping, Place, PushPull, User
from agent.core.swim.stream import encode_stream
from agent.core.swim.wire import encode, pack
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.streams import StreamBounds
from tests.contract.transports import KINDS, Heard, World, run, until

pytestmark = pytest.mark.parametrize("kind", KINDS)
NOWHERE: Place = ("127.0.0.1", 1)


class Script:
    """A core whose answers are given by a function, and whose wake-ups by a list."""

    def __init__(self, answer: Callable[[Input], tuple[Effect, ...]] = lambda _: ()) -> None:
        self.answer = answer
        self.inputs: list[Input] = []
        self.times: list[float] = []
        self.wake = inf

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        self.inputs.append(event)
        self.times.append(now)
        return self.answer(event)

    def next_wake(self) -> float:
        return self.wake

    def of(self, kind: type) -> list[Input]:
        return [event for event in self.inputs if type(event) is kind]


def deaf(_: Effect) -> None:
    """Nobody listens."""


def driver(world: World, core: Script, envelope: Envelope | None = None, tell: Callable[[Effect], None] = deaf, **bounds: float) -> Driver:
    limits = StreamBounds(**bounds)  # type: ignore[arg-type]
    return Driver(core, world.transport(), envelope or Envelope(), tell, Logger("error"), limits)


def test_packets_go_through_the_codec_both_ways(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        hearing, talking = Script(), Script()
        ring = KeyRing([bytes(16)], os.urandom)
        one, two = (driver(world, core, Envelope("blue", ring)) for core in (hearing, talking))
        await one.start()
        await two.start()
        talking.answer = lambda _: (SendPacket(one.place, (Ping(1, "one"), User(b"x"), Foreign(b"\x03y"), Foreign(b"\x03y"))),)
        two.feed(Wake())
        await until(lambda: one.links.foreign == 2 and len(hearing.inputs) == 3, "all messages")
        said_on = Broadcast(b"\x03y", foreign=True)  # once
        assert hearing.inputs == [PacketIn(two.place, Ping(1, "one")), PacketIn(two.place, User(b"x")), said_on]
        assert (one.links.foreign, one.links.packets_in, two.links.packets_out) == (2, 1, 1)
        assert one.links.bytes_in == two.links.bytes_out > 60
        await one.stop()
        await two.stop()

    run(work)


def test_effects_are_carried_out_in_their_order_and_what_is_told_may_feed(kind: str) -> None:
    async def work() -> None:
        heard: list[str] = []
        core = Script()

        def answer(event: Input) -> tuple[Effect, ...]:
            heard.append(type(event).__name__)
            if isinstance(event, Wake):
                return (Deliver(NOWHERE, b"1"), Deliver(NOWHERE, b"2"))
            return ()

        def tell(effect: Effect) -> None:
            assert isinstance(effect, Deliver)
            heard.append(effect.payload.decode())
            member.feed(StreamFailed(0, ""))

        core.answer = answer
        member = driver(World(kind), core, tell=tell)
        member.feed(Wake())
        assert heard == ["Wake", "1", "2", "StreamFailed", "StreamFailed"]

    run(work)


def test_the_core_is_woken_when_it_says_never_before(kind: str) -> None:
    async def work() -> None:
        core = Script()
        member = driver(World(kind), core)
        await member.start()
        core.answer = lambda _: ()
        start = asyncio.get_running_loop().time()
        dues = [start + 0.03, start + 0.01, start + 0.05, inf]

        def answer(_: Input) -> tuple[Effect, ...]:
            core.wake = dues.pop(0) if dues else inf
            return ()

        core.answer = answer
        member.feed(StreamFailed(0, "later first"))
        member.feed(StreamFailed(0, "then sooner"))
        await until(lambda: len(core.of(Wake)) == 2, "two wake-ups")
        woken = [at for at, event in zip(core.times, core.inputs, strict=True) if isinstance(event, Wake)]
        assert woken[0] >= start + 0.01
        assert woken[1] >= start + 0.05
        await asyncio.sleep(0.02)
        assert len(core.of(Wake)) == 2
        await member.stop()

    run(work)


def test_a_core_that_fails_on_an_input_from_outside_is_counted_and_goes_on(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        core = Script()

        def answer(event: Input) -> tuple[Effect, ...]:
            if isinstance(event, PacketIn) and event.message == Ack(1):
                raise AssertionError("a bug")
            return ()

        core.answer = answer
        member, peer = driver(world, core), world.transport()
        await member.start()
        await peer.start(Heard())
        peer.send(member.place, pack([Ack(1), Ack(2)]))
        await until(lambda: len(core.inputs) == 2, "both")
        assert member.links.faults == 1
        core.answer = lambda _: 1 // 0  # type: ignore[return-value]
        with pytest.raises(ZeroDivisionError):
            member.feed(Wake())
        await member.stop()
        await peer.close()

    run(work)


def test_what_does_not_parse_or_verify_is_counted_by_reason_and_dropped(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        world = World(kind)
        core = Script()
        member = Driver(core, world.transport(), Envelope("blue"), deaf, Logger("info"))
        peer = world.transport()
        await member.start()
        await peer.start(Heard())
        blue, green = Envelope("blue"), Envelope("green")
        for _ in range(30):
            peer.send(member.place, green.close_packet(encode(Ack(1))))
        peer.send(member.place, blue.close_packet(b"\x30"))
        peer.send(member.place, blue.prefix + b"\x0c\0\0\0\0" + encode(Ack(1)))
        peer.send(member.place, blue.close_packet(encode(Ack(9))))
        await until(lambda: core.inputs, "the good one")
        assert core.inputs == [PacketIn(peer.place, Ack(9))]
        assert member.links.dropped == {"label": 30, "unsupported": 1, "checksum": 1}
        stream = await peer.connect(member.place)
        await stream.write(b"\xf4\x05green" + encode_stream(Ping(1, "a")))
        await until(lambda: member.links.dropped["label"] == 31, "the stream")
        assert await stream.read() == b"", "strangers are not answered"
        stream.close()
        await member.stop()
        await peer.close()

    run(work)
    lines = [line for line in capsys.readouterr().err.splitlines() if "peer_dropped" in line]
    assert len(lines) == 3, "one line a reason, not one a packet"


def test_a_question_over_a_stream_is_answered(kind: str) -> None:
    state = PushPull((), True, bytes(200_000))

    async def work() -> None:
        world = World(kind)
        asked, asking = Script(), Script()
        asked.answer = lambda event: (StreamReply(event.stream, state),) if isinstance(event, StreamRequest) else ()
        envelope = Envelope("blue", KeyRing([bytes(16)], os.urandom), compress=True)
        one, two = driver(world, asked, envelope), driver(world, asking, envelope)
        await one.start()
        await two.start()
        asking.answer = lambda event: (OpenStream(7, one.place, state, True, 5.0),) if isinstance(event, Wake) else ()
        two.feed(Wake())
        await until(lambda: asking.of(StreamAnswer), "the answer")
        assert asking.of(StreamAnswer) == [StreamAnswer(7, state)]
        (request,) = asked.of(StreamRequest)
        assert isinstance(request, StreamRequest)
        assert (request.message, request.source[0]) == (state, "127.0.0.1")
        assert (one.streams.open_now, two.streams.open_now) == ((0, 0), (0, 0))
        asking.answer = lambda event: (OpenStream(8, one.place, User(b"x"), False, 5.0),) if isinstance(event, Wake) else ()
        asked.answer = lambda event: (StreamReply(event.stream, None),) if isinstance(event, StreamRequest) else ()
        two.feed(Wake())
        await until(lambda: len(asked.of(StreamRequest)) == 2, "the user message")
        assert not asking.of(StreamFailed)
        await one.stop()
        await two.stop()

    run(work)


@pytest.mark.parametrize("fault", ["nobody", "silent", "closed", "garbage", "too many"])
def test_a_question_that_has_no_answer_fails(kind: str, fault: str) -> None:
    async def serve(stream: object) -> None:
        if fault == "silent":
            await asyncio.sleep(5)
        if fault == "garbage":
            await stream.write(b"\x30\x30")  # type: ignore[attr-defined]
        await stream.read()  # type: ignore[attr-defined]

    async def work() -> None:
        world = World(kind)
        asking = Script()
        peer = world.transport()
        heard = Heard(serve)
        await peer.start(heard)
        if fault == "nobody":
            await peer.close()
        member = driver(world, asking, outgoing_max=0 if fault == "too many" else 1)
        await member.start()
        asking.answer = lambda event: (OpenStream(7, peer.place, Ping(1, "a"), True, 0.2),) if isinstance(event, Wake) else ()
        member.feed(Wake())
        await until(lambda: asking.of(StreamFailed), "the failure")
        (failed,) = asking.of(StreamFailed)
        assert isinstance(failed, StreamFailed)
        assert failed.stream == 7
        expected = {"silent": "no answer in", "closed": "closed", "garbage": "unsupported", "too many": "too many streams"}
        assert expected.get(fault, "") in failed.reason
        await member.stop()
        for task in heard.tasks:
            task.cancel()
        if fault != "nobody":
            await peer.close()

    run(work)


def test_streams_are_bounded_in_number_by_host_in_bytes_and_in_time(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        core = Script()
        member = driver(world, core, incoming_per_host_max=2, incoming_max=3, incoming_timeout_s=0.3)
        await member.start()
        dropped = member.links.dropped
        peers = [world.transport(("127.0.0.1", 0)), world.transport(("127.0.0.2", 0))]
        for peer in peers:
            await peer.start(Heard())
        held = [await peers[0].connect(member.place) for _ in range(3)]
        if kind == "memory":
            held.append(await peers[1].connect(member.place))
            held.append(await peers[1].connect(member.place))
        await until(lambda: dropped.get("too_many_streams") == len(held) - (2 if kind == "sockets" else 3), "refusals")
        await until(lambda: dropped.get("stream_timeout") == (2 if kind == "sockets" else 3), "the time limit")
        assert member.streams.open_now == (0, 0)
        for stream in held:
            stream.close()
        await member.stop()
        for peer in peers:
            await peer.close()

    run(work)


def test_what_streams_hold_together_is_bounded(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        member = driver(world, Script(), incoming_bytes_max=300_000)
        peer = world.transport()
        await member.start()
        await peer.start(Heard())
        start = encode_stream(PushPull((), True, bytes(200_000)))[:-1]
        streams = [await peer.connect(member.place) for _ in range(2)]
        for stream in streams:
            with contextlib.suppress(OSError):
                await stream.write(start)
        await until(lambda: member.links.dropped.get("too_large"), "the bound")
        assert member.streams.open_now == (1, 0)
        for stream in streams:
            stream.close()
        await until(lambda: member.streams.open_now == (0, 0), "the end of the other")
        assert member.links.dropped == {"too_large": 1, "truncated": 1}
        await member.stop()
        await peer.close()

    run(work)


def test_an_answer_that_comes_too_late_is_forgotten_and_nothing_is_fed_after_the_stop(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        core = Script()
        member, peer = driver(world, core, incoming_timeout_s=0.1), world.transport()
        await member.start()
        await peer.start(Heard())
        stream = await peer.connect(member.place)
        await stream.write(encode_stream(Ping(1, "a")))
        await until(lambda: member.links.dropped.get("stream_timeout"), "the time limit")
        (request,) = core.of(StreamRequest)
        assert isinstance(request, StreamRequest)
        core.answer = lambda _: (StreamReply(request.stream, Ack(1)),)
        member.feed(Wake())
        assert await stream.read() == b""
        stream.close()
        count = len(core.inputs)
        await member.stop()
        member.on_packet(NOWHERE, encode(Ack(1)))
        assert len(core.inputs) == count
        await peer.close()

    run(work)
