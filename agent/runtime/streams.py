"""Streams between members: what is asked of us and what we ask, within bounds of number, size and time."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import Struct

from agent.core.swim.envelope import Envelope
from agent.core.swim.errors import WireError
from agent.core.swim.io import Input, OpenStream, StreamAnswer, StreamFailed, StreamReply, StreamRequest
from agent.core.swim.messages import Foreign, Message, Place
from agent.core.swim.stream import StreamReader, encode_slices
from agent.runtime.links import Links
from agent.runtime.transport import Connection, Stream, Transport

CLOSED: Final = "closed without an answer"
SLICE_BYTES: Final = 1024


async def encoded(message: Message) -> bytes:
    """The message's frame, made in slices so that the data path has its turn in between."""
    slices = []
    for piece in encode_slices(message):
        slices.append(piece)
        if len(piece) > SLICE_BYTES:
            await asyncio.sleep(0)
    return b"".join(slices)


async def read_some(reader: StreamReader, data: bytes) -> Message | None:
    """`reader.feed`, in slices likewise."""
    message = reader.feed(data)
    while reader.has_more:
        await asyncio.sleep(0)
        message = reader.feed(b"")
    return message


class StreamBounds(Struct, frozen=True):
    """How much peers may ask of us, and we of them."""

    incoming_max: int = 128
    """At once; memberlist's bound on push/pulls."""
    incoming_per_host_max: int = 16
    """At once from one address: a peer has one push/pull and one probe under way."""
    incoming_bytes_max: int = 32 * 1024 * 1024
    """Received and not yet answered, over all streams."""
    incoming_timeout_s: float = 10.0
    """From accept to answer; memberlist's TCPTimeout."""
    outgoing_max: int = 64


class Streams:
    """The streams of one member. `feed` takes what comes of them."""

    def __init__(self, transport: Transport, envelope: Envelope, feed: Callable[[Input], None], links: Links, bounds: StreamBounds) -> None:
        self._transport = transport
        self._envelope = envelope
        self._feed = feed
        self._links = links
        self._bounds = bounds
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, asyncio.Future[Message | None]] = {}
        self._hosts: dict[str, int] = {}
        self._incoming = 0
        self._incoming_bytes = 0
        self._outgoing = 0
        self._last_number = 0

    @property
    def open_now(self) -> tuple[int, int]:
        """Incoming, outgoing."""
        return self._incoming, self._outgoing

    # -- asked of us

    def on_connection(self, connection: Connection) -> None:
        """Serve it, or refuse it where that would be too many."""
        host = connection.source[0]
        if self._incoming >= self._bounds.incoming_max or self._hosts.get(host, 0) >= self._bounds.incoming_per_host_max:
            connection.refuse()
            self._links.drop("too_many_streams", connection.source, "refused unheard")
            return
        self._incoming += 1
        self._hosts[host] = self._hosts.get(host, 0) + 1
        self._links.streams_in += 1
        self._spawn(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        received: list[int] = [0]
        try:
            async with asyncio.timeout(self._bounds.incoming_timeout_s):
                stream = await connection.open()
                try:
                    await self._answer(stream, connection.source, received)
                finally:
                    stream.close()
        except WireError as error:
            self._links.drop(error.reason, connection.source, error.text)
        except TimeoutError:
            self._links.drop("stream_timeout", connection.source, f"not over in {self._bounds.incoming_timeout_s} s")
        except ssl.SSLError as error:
            self._links.drop("tls", connection.source, str(error))
        except OSError as error:
            self._links.drop("stream_broken", connection.source, str(error) or type(error).__name__)
        finally:
            self._incoming -= 1
            self._incoming_bytes -= received[0]
            host = connection.source[0]
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    async def _answer(self, stream: Stream, source: Place, received: list[int]) -> None:
        reader = StreamReader(self._envelope, labelled=True)
        message = None
        while message is None:
            data = await stream.read()
            if not data:
                if received[0]:
                    raise WireError("truncated", "a stream that ended early")
                return
            received[0] += len(data)
            self._incoming_bytes += len(data)
            self._links.bytes_in += len(data)
            if self._incoming_bytes > self._bounds.incoming_bytes_max:
                raise WireError("too_large", "streams hold more than their bound")
            message = await read_some(reader, data)
        if isinstance(message, Foreign):
            self._links.foreign += 1
            return
        self._last_number += 1
        number = self._last_number
        answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._feed(StreamRequest(number, source, message))
            reply = await answer
        finally:
            del self._waiting[number]
        if reply is not None:
            await self._write(stream, self._envelope.close_stream(await encoded(reply)))

    def reply(self, effect: StreamReply) -> None:
        """Carry out; what nobody waits for any more is forgotten."""
        answer = self._waiting.get(effect.stream)
        if answer is not None and not answer.done():
            answer.set_result(effect.message)

    async def _write(self, stream: Stream, data: bytes) -> None:
        self._links.bytes_out += len(data)
        await stream.write(data)

    # -- asked by us

    def open(self, effect: OpenStream) -> None:
        """Carry out; it ends in a `StreamAnswer` or `StreamFailed` where an answer is expected, else at most in the latter."""
        if self._outgoing >= self._bounds.outgoing_max:
            self._feed(StreamFailed(effect.stream, "too many streams"))
            return
        self._outgoing += 1
        self._links.streams_out += 1
        self._spawn(self._ask(effect))

    async def _ask(self, effect: OpenStream) -> None:
        result: Input | None = None
        try:
            async with asyncio.timeout(effect.timeout_s):
                stream = await self._transport.connect(effect.to)
                try:
                    await self._write(stream, self._envelope.prefix + self._envelope.close_stream(await encoded(effect.message)))
                    if effect.answered:
                        result = StreamAnswer(effect.stream, await self._read_answer(stream))
                finally:
                    stream.close()
        except WireError as error:
            self._links.drop(error.reason, effect.to, error.text)
            result = StreamFailed(effect.stream, str(error))
        except TimeoutError:
            result = StreamFailed(effect.stream, f"no answer in {effect.timeout_s} s")
        except OSError as error:
            result = StreamFailed(effect.stream, str(error) or type(error).__name__)
        finally:
            self._outgoing -= 1
        if isinstance(result, StreamFailed):
            self._links.stream_failures += 1
        if result is not None:
            self._feed(result)

    async def _read_answer(self, stream: Stream) -> Message:
        reader = StreamReader(self._envelope, labelled=False)
        while data := await stream.read():
            self._links.bytes_in += len(data)
            message = await read_some(reader, data)
            if message is not None:
                return message
        raise ConnectionError(CLOSED)

    # -- the end

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Break off whatever is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
