"""What every transport does, on sockets and in memory."""

import asyncio
import contextlib

import pytest

from agent.runtime.transport import Stream
from tests.contract.transports import KINDS, Heard, World, read_all, run, until

pytestmark = pytest.mark.parametrize("kind", KINDS)


def test_packets_come_whole_from_where_they_were_sent(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        one, two = world.transport(), world.transport()
        heard_one, heard_two = Heard(), Heard()
        await one.start(heard_one)
        await two.start(heard_two)
        assert one.place != two.place
        for data in (b"a", bytes(1400), bytes(60_000)):
            one.send(two.place, data)
        two.send(one.place, b"back")
        await until(lambda: len(heard_two.packets) == 3 and heard_one.packets, "four packets")
        assert sorted(heard_two.packets) == sorted((one.place, data) for data in (b"a", bytes(1400), bytes(60_000)))
        assert heard_one.packets == [(two.place, b"back")]
        await one.close()
        await two.close()

    run(work)


def test_a_packet_to_nobody_is_lost_and_one_that_is_none_is_counted(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        one, two, gone = world.transport(), world.transport(), world.transport()
        heard = Heard()
        await gone.start(Heard())
        await gone.close()
        one.send(two.place, b"before the start")
        assert one.send_errors == 1
        await one.start(Heard())
        await two.start(heard)
        one.send(gone.place, b"x")
        one.send(two.place, bytes(70_000))
        one.send(two.place, b"y")
        await until(lambda: heard.packets, "the packet after")
        assert heard.packets == [(one.place, b"y")]
        assert one.send_errors >= 2
        await one.close()
        await two.close()
        one.send(two.place, b"after the end")

    run(work)


def test_streams_carry_much_both_ways_in_order_and_end(kind: str) -> None:
    big = bytes(range(256)) * 8_000

    async def echo(stream: Stream) -> None:
        got = b""
        while len(got) < len(big):
            got += await stream.read()
        await stream.write(got[::-1])

    async def work() -> None:
        world = World(kind)
        one, two = world.transport(), world.transport()
        heard = Heard(echo)
        await one.start(Heard())
        await two.start(heard)
        stream = await one.connect(two.place)
        await stream.write(big)
        assert await read_all(stream) == big[::-1]
        assert heard.sources[0][0] == one.place[0]
        stream.close()
        stream.close()
        with pytest.raises(OSError, match=r"closed|reset|lost"):
            await stream.write(b"x")
        await one.close()
        await two.close()

    run(work)


def test_nobody_there_and_refused_are_os_errors(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        one, two, gone = world.transport(), world.transport(), world.transport()
        await one.start(Heard())
        await two.start(Heard())
        await gone.start(Heard())
        await gone.close()
        with pytest.raises(OSError, match=r".+"):
            await one.connect(gone.place)
        stream = await one.connect(two.place)
        with contextlib.suppress(OSError):
            assert await stream.read() == b""
        stream.close()
        await one.close()
        await two.close()

    run(work)


def test_a_writer_waits_for_a_reader_that_does_not_read_and_hears_when_it_is_gone(kind: str) -> None:
    done = []

    async def deaf(stream: Stream) -> None:
        await until(lambda: done, "the end")

    async def work() -> None:
        world = World(kind)
        one, two = world.transport(), world.transport()
        await one.start(Heard())
        await two.start(Heard(deaf))
        stream = await one.connect(two.place)

        async def fill() -> None:
            for _ in range(400):
                await stream.write(bytes(100_000))

        filling = asyncio.ensure_future(fill())
        await asyncio.sleep(0.05)
        assert not filling.done()
        done.append(True)
        with pytest.raises(OSError, match=r".*"):
            await filling
        stream.close()
        await one.close()
        await two.close()

    run(work)


def test_a_place_that_is_taken_is_an_os_error_and_one_that_was_left_is_free(kind: str) -> None:
    async def work() -> None:
        world = World(kind)
        one = world.transport()
        await one.start(Heard())
        with pytest.raises(OSError, match=r"taken|in use"):
            await world.transport(one.place).start(Heard())
        await one.close()
        again = world.transport(one.place)
        await again.start(Heard())
        assert again.place == one.place
        await again.close()

    run(work)


def test_ipv6_is_as_ipv4(kind: str) -> None:
    async def echo(stream: Stream) -> None:
        await stream.write(await stream.read())

    async def work() -> None:
        world = World(kind)
        one, two = world.transport(("::1", 0)), world.transport(("::1", 0))
        heard = Heard(echo)
        try:
            await one.start(Heard())
        except OSError:
            pytest.skip("no IPv6 here")
        await two.start(heard)
        one.send(two.place, b"six")
        await until(lambda: heard.packets, "the packet")
        assert heard.packets == [(one.place, b"six")]
        stream = await one.connect(two.place)
        await stream.write(b"stream")
        assert await read_all(stream) == b"stream"
        assert heard.sources[0][0] == "::1"
        stream.close()
        await one.close()
        await two.close()

    run(work)
