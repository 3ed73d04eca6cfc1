"""What happens in the cluster as server-sent events: numbered, kept for a while, and told to any number of readers up to a bound.

A reader is a place in the ring and nothing more, so that none costs memory for being slow. One that does not take what is written to it,
or that the ring has overtaken, is cut off; it comes back with `Last-Event-ID` and is told how many events it missed.
"""

import asyncio
import json
from collections import deque
from typing import Any, Final

from aiohttp import web

RING_MAX: Final = 512
"""Events that are kept. A member that joins or dies is one, so that even a large cluster's are good for minutes."""
READERS_MAX: Final = 64
BATCH_MAX: Final = 64
"""Events in one write."""
TEXT_MAX: Final = 512
"""Characters of a name or a detail."""
HEARTBEAT_S: Final = 15.0
"""A silent stream says a comment so often: proxies and readers drop what looks dead."""
LOOK_S: Final = 1.0
"""How often a silent stream looks whether its reader is still there; without readers nothing looks."""
WRITE_S: Final = 10.0
"""How long a write may wait for its reader."""
RETRY_MS: Final = 2000
KINDS: Final = frozenset(("join", "update", "suspect", "refute", "fail", "leave", "reap", "conflict", "key"))
"""Kinds with an event name of their own; a browser hears only the names that it listens for, so all else is called `other`."""


class Overtaken(Exception):
    """The ring no longer has what comes next for a reader."""


class EventRing:
    """life: a number that is another in each life of the agent, so that ids of an earlier one are not taken for ours."""

    def __init__(self, life: int) -> None:
        self.life = life
        self.newest = 0
        """Number of the latest event; the first is 1."""
        self.closed = False
        self._kept: deque[dict[str, Any]] = deque(maxlen=RING_MAX)
        self._wakes: set[asyncio.Event] = set()

    def add(self, event: dict[str, Any]) -> None:
        """Keep one and wake the readers. Whatever it holds becomes text of bounded length."""
        self.newest += 1
        self._kept.append(
            {
                "id": f"{self.life}-{self.newest}",
                "at": float(event.get("at", 0.0)),
                "kind": str(event.get("kind", ""))[:TEXT_MAX],
                "member": str(event.get("member", ""))[:TEXT_MAX],
                "detail": str(event.get("detail", ""))[:TEXT_MAX],
            }
        )
        for wake in self._wakes:
            wake.set()

    def recent(self, count: int) -> list[dict[str, Any]]:
        """The latest ones, the oldest first."""
        return list(self._kept)[-count:] if count > 0 else []

    def after(self, number: int) -> list[dict[str, Any]]:
        """Up to a batch of those after that number. Raises Overtaken where the next one is no longer kept."""
        oldest = self.newest - len(self._kept) + 1
        if number + 1 < oldest:
            raise Overtaken
        start = number + 1 - oldest
        return [self._kept[at] for at in range(start, min(start + BATCH_MAX, len(self._kept)))]

    def place(self, identifier: str) -> tuple[int, int]:
        """Where a reader that has seen this id goes on, and how many events it missed (0: none, -1: an earlier life's, unknown)."""
        life, _, number = identifier.partition("-")
        oldest = self.newest - len(self._kept) + 1
        if life != str(self.life) or not (number.isascii() and number.isdigit()) or int(number[:18]) > self.newest:
            return oldest - 1, -1
        seen = int(number)
        return max(seen, oldest - 1), max(oldest - 1 - seen, 0)

    def close(self) -> None:
        """Let every reader end."""
        self.closed = True
        for wake in self._wakes:
            wake.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """One reader's answer, for as long as it stays."""
        if len(self._wakes) >= READERS_MAX:
            return web.json_response({"error": f"{READERS_MAX} readers are there already"}, status=503)
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            return await self._tell(request, wake)
        finally:
            self._wakes.discard(wake)

    @property
    def readers(self) -> int:
        return len(self._wakes)

    async def _tell(self, request: web.Request, wake: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        number, first = self._begin(request)
        await response.prepare(request)
        data = f"retry: {RETRY_MS}\n\n{first}".encode()
        silent_s = 0.0
        while not self.closed and request.transport is not None:
            try:
                if data:
                    async with asyncio.timeout(WRITE_S):
                        await response.write(data)
                    silent_s = 0.0
                events = self.after(number)
            except (TimeoutError, Overtaken):
                if request.transport is not None:
                    request.transport.abort()
                break
            except ConnectionError:
                break
            number += len(events)
            data = "".join(map(as_text, events)).encode()
            if not events:
                if not await _within(wake, LOOK_S):
                    silent_s += LOOK_S
                    data = b": still here\n\n" if silent_s >= HEARTBEAT_S else b""
                wake.clear()
        return response

    def _begin(self, request: web.Request) -> tuple[int, str]:
        """The number after which this reader is told, and what it hears first."""
        seen = request.headers.get("Last-Event-ID", "")
        if not seen:
            wanted = request.query.get("recent", "0")
            count = int(wanted[:9]) if wanted.isascii() and wanted.isdigit() else 0
            return self.newest - min(count, len(self._kept)), ""
        number, missed = self.place(seen)
        if missed:
            return number, f"event: gap\ndata: {json.dumps({'missed': missed if missed > 0 else None})}\n\n"
        return number, ""


async def _within(wake: asyncio.Event, seconds: float) -> bool:
    """Whether it was set in that time."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    return True


def as_text(event: dict[str, Any]) -> str:
    """An event as it stands in the stream. JSON escapes what would end a line."""
    name = event["kind"] if event["kind"] in KINDS else "other"
    return f"id: {event['id']}\nevent: {name}\ndata: {json.dumps(event)}\n\n"
