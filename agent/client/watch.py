"""Changes as they are committed, each once and in order, through broken connections and changes of the agent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, Literal

import aiohttp

from agent.client.errors import AgentUnreachable, Compacted, OutcomeUnknown, SidecarError, Unavailable
from agent.client.transport import BACKOFF_S, BACKOFF_S_MAX, Api
from agent.client.types import Event, Item

SILENCE_S: Final = 45.0
"""A stream says something each 15 s; after three times that it is dead."""
LINE_BYTES_MAX: Final = 4 << 20
"""A value of 1 MiB as base64 in JSON fits."""


async def server_sent(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, str]]:
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

    Raises Compacted where changes were missed for good; broken connections are made again without an end, until `close` or the loop is
    left."""

    def __init__(self, api: Api, query: dict[str, str], after: int | None) -> None:
        self.revision = after
        self._api = api
        self._query = query
        self._response: aiohttp.ClientResponse | None = None
        self._events: AsyncIterator[Event] | None = None
        self._opened = asyncio.Event()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            self._events = self._run()
        return await anext(self._events)

    async def open(self) -> int:
        """Connect now, rather than with the first event; the revision after which changes are given."""
        if self._events is None:
            self._response = await self._connect_until()
            self._events = self._run()
        assert self.revision is not None
        return self.revision

    async def close(self) -> None:
        """Let the connection go."""
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._events is not None:
            with suppress(RuntimeError):
                await self._events.aclose()  # type: ignore[attr-defined]

    async def __aenter__(self) -> "Watch":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect_until(self) -> aiohttp.ClientResponse:
        """Try until it is open."""
        pause = BACKOFF_S
        while True:
            try:
                return await self._connect()
            except (aiohttp.ClientError, TimeoutError, ConnectionError, Unavailable, OutcomeUnknown, AgentUnreachable):
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S_MAX)

    async def _connect(self) -> aiohttp.ClientResponse:
        query = dict(self._query) if self.revision is None else {**self._query, "after": str(self.revision)}
        response = await self._api.stream("/v1/watch", query, {"Accept": "text/event-stream"}, SILENCE_S)
        self._stream = server_sent(response)
        if self.revision is None:
            async for event, _, data in self._stream:
                fields = json.loads(data)
                if event == "open":
                    self.revision = int(fields["revision"])
                break
            if self.revision is None:
                response.close()
                raise aiohttp.ClientPayloadError("the stream ended before it was open")
        return response

    async def _run(self) -> AsyncIterator[Event]:
        while True:
            if self._response is None:
                self._response = await self._connect_until()
            # The events of a revision are given when all of them are there: one that was cut off comes again whole.
            held: list[Event] = []
            try:
                async for name, number, data in self._stream:
                    fields = json.loads(data)
                    if name == "compacted":
                        detail = (
                            f"changes after revision {self.revision} are not kept any more: read the range, then watch after that revision"
                        )
                        raise Compacted(detail, int(fields["oldest"]), int(fields["revision"]))
                    if name == "closed":
                        break
                    if name not in ("put", "delete"):
                        continue
                    held.append(_event(name, fields))
                    if number:
                        for event in held:
                            yield event
                        held.clear()
                        self.revision = int(number)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass
            self._response.close()
            self._response = None


def _event(kind: str, fields: dict[str, Any]) -> Event:
    name: Literal["put", "delete"] = "put" if kind == "put" else "delete"
    return Event(name, Item.of(fields), int(fields["revision"]), bool(fields.get("expired", False)))
