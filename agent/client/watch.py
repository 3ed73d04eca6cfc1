"""Changes as they are committed, each once and in order, through broken connections and changes of the agent."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, Final, Literal

import aiohttp

from agent.client.errors import AgentUnreachable, Compacted, OutcomeUnknown, SidecarError, Unavailable
from agent.client.transport import BACKOFF_S, BACKOFF_S_MAX, Api
from agent.client.types import Event, Item

SILENCE_S: Final = 45.0
"""A stream says something each 15 s; after three times that it is dead."""
LINE_BYTES_MAX: Final = 4 << 20
"""A value of 1 MiB as base64 in JSON fits."""


async def server_sent(response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, str, str], None]:
    """(event, id, data) of a stream of server-sent events. Ends with it."""
    event, number = "", ""
    data: list[str] = []
    rest = b""
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise SidecarError("the agent's stream has a line without an end", "bad_answer")
        for line in lines:
            text = line.decode().rstrip("\r")
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if not text:
                if data:
                    yield event or "message", number, "\n".join(data)
                event, number, data = "", "", []
            elif name == "event":
                event = value
            elif name == "id":
                number = value
            elif name == "data":
                data.append(value)


class Watch:
    """`async for event in watch`. `revision`: everything up to it was given; another watch `after` it goes on where this one was.

    Raises Compacted where changes were missed for good. Broken connections are made again without an end; `close` ends it, also for
    one who waits in it."""

    def __init__(self, api: Api, query: dict[str, str], after: int | None) -> None:
        self.revision = after
        self._api = api
        self._query = query
        self._response: aiohttp.ClientResponse | None = None
        self._stream: AsyncIterator[tuple[str, str, str]] | None = None
        self._ready: deque[Event] = deque()
        self._closed = asyncio.Event()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._closed.is_set():
                raise StopAsyncIteration
            await self._or_closed(self._read_revision())
        event = self._ready.popleft()
        if not self._ready:
            self.revision = event.revision
        return event

    async def open(self) -> int:
        """Connect now, rather than with the first event; the revision after which changes are given."""
        if self._response is None:
            await self._or_closed(self._connect_until())
        if self.revision is None:
            raise SidecarError("the watch was closed before it was open", "closed")
        return self.revision

    async def close(self) -> None:
        """End it, and let the connection go."""
        self._closed.set()
        self._drop()

    async def __aenter__(self) -> "Watch":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _or_closed(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, unless the watch is closed meanwhile."""
        doing = asyncio.ensure_future(work)
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((doing, closed), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
        finally:
            closed.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.gather(doing, return_exceptions=True)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = self._stream = None

    async def _connect_until(self) -> None:
        """Try until it is open."""
        pause = BACKOFF_S
        while self._stream is None:
            try:
                await self._connect()
            except (aiohttp.ClientError, TimeoutError, ConnectionError, Unavailable, OutcomeUnknown, AgentUnreachable):
                self._drop()
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S_MAX)

    async def _connect(self) -> None:
        query = dict(self._query) if self.revision is None else {**self._query, "after": str(self.revision)}
        self._response = await self._api.stream("/v1/watch", query, {"Accept": "text/event-stream"}, SILENCE_S)
        stream = server_sent(self._response)
        event, _, data = await anext(stream, ("", "", ""))
        if event != "open":
            self._refuse(event, data)
            raise aiohttp.ClientPayloadError("the stream ended before it was open")
        if self.revision is None:
            self.revision = int(json.loads(data)["revision"])
        self._stream = stream

    def _refuse(self, event: str, data: str) -> None:
        if event == "compacted":
            fields = json.loads(data)
            text = f"changes after revision {self.revision} are not kept any more: read the range, then watch after that revision"
            raise Compacted(text, int(fields["oldest"]), int(fields["revision"]))

    async def _read_revision(self) -> None:
        """Until all events of a revision are there; or nothing, where the stream ended. One that was cut off comes again whole."""
        await self._connect_until()
        assert self._stream is not None
        held: list[Event] = []
        try:
            async for name, number, data in self._stream:
                if name in ("put", "delete"):
                    held.append(_event(name, json.loads(data)))
                    if number:
                        self._ready.extend(held)
                        return
                elif name == "closed":
                    break
                else:
                    self._refuse(name, data)
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            pass
        self._drop()


def _event(kind: str, fields: dict[str, Any]) -> Event:
    name: Literal["put", "delete"] = "put" if kind == "put" else "delete"
    return Event(name, Item.of(fields), int(fields["revision"]), bool(fields.get("expired", False)))
