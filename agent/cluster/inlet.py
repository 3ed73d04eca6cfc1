"""Between the socket and the driver: packets take at most a share of the event loop, whatever comes in.

A packet costs some 100 µs (decryption, parsing, the core). What would take more than the share waits in a queue with an end, so that
a process that was stopped reads what came meanwhile. A peer has a part of that queue and no more, so that one bad peer does not
silence the others. Streams have bounds of their own (`runtime/streams.py`).
"""

import asyncio
import time
from collections import deque
from typing import Final

from agent.core.swim.messages import Place
from agent.runtime.transport import Connection, Receiver, Stream, Transport

WINDOW_S: Final = 0.05
BUSY_S: Final = 0.015
"""Of each window: at most 30 % of the loop's time goes into packets, in turns of at most a millisecond or so."""
TURN_S: Final = 0.001
WAITING_MAX: Final = 2048
WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
HOST_SHARE: Final = 4
"""One address may have a quarter of the queue."""


class Inlet:
    """A transport whose receiver is fed at a bounded pace. `listen` comes before `start`, so that the port is known before the core is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._receiver: Receiver | None = None
        self._queue: deque[tuple[Place, bytes]] = deque()
        self._queued_bytes = 0
        self._hosts: dict[str, int] = {}
        self._window_at = 0.0
        self._spent_s = 0.0
        self._timer: asyncio.Handle | None = None
        self.shed = 0
        """Packets for which there was no room."""

    @property
    def place(self) -> Place:
        return self._transport.place

    @property
    def waiting(self) -> int:
        """Packets that wait for their turn."""
        return len(self._queue)

    @property
    def send_errors(self) -> int:
        return self._transport.send_errors

    @send_errors.setter
    def send_errors(self, value: int) -> None:
        self._transport.send_errors = value

    async def listen(self) -> None:
        """Bind. What comes before `start` is dropped."""
        await self._transport.start(self)

    async def start(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def send(self, to: Place, data: bytes) -> None:
        self._transport.send(to, data)

    async def connect(self, to: Place) -> Stream:
        return await self._transport.connect(to)

    async def close(self) -> None:
        self._receiver = None
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        await self._transport.close()

    def on_connection(self, connection: Connection) -> None:
        if self._receiver is None:
            connection.refuse()
        else:
            self._receiver.on_connection(connection)

    def on_packet(self, source: Place, data: bytes) -> None:
        if self._receiver is None:
            return
        if not self._queue and self._may_work(time.monotonic()):
            self._work(source, data)
        elif (
            len(self._queue) < WAITING_MAX
            and self._queued_bytes + len(data) <= WAITING_BYTES_MAX
            and self._hosts.get(source[0], 0) < WAITING_MAX // HOST_SHARE
        ):
            self._queue.append((source, data))
            self._queued_bytes += len(data)
            self._hosts[source[0]] = self._hosts.get(source[0], 0) + 1
            self._set_timer()
        else:
            self.shed += 1

    def _may_work(self, now: float) -> bool:
        if now - self._window_at >= WINDOW_S:
            self._window_at = now
            self._spent_s = 0.0
        return self._spent_s < BUSY_S

    def _work(self, source: Place, data: bytes) -> None:
        assert self._receiver is not None
        before = time.monotonic()
        self._receiver.on_packet(source, data)
        self._spent_s += time.monotonic() - before

    def _set_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            now = time.monotonic()
            wait = 0.0 if self._may_work(now) else max(self._window_at + WINDOW_S - now, 0.001)
            self._timer = loop.call_later(wait, self._drain) if wait else loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Take from the queue for one turn."""
        self._timer = None
        began = time.monotonic()
        now = began
        while self._queue and self._receiver is not None and self._may_work(now) and now - began < TURN_S:
            source, data = self._queue.popleft()
            self._queued_bytes -= len(data)
            left = self._hosts[source[0]] - 1
            if left:
                self._hosts[source[0]] = left
            else:
                del self._hosts[source[0]]
            self._work(source, data)
            now = time.monotonic()
        if self._queue:
            self._set_timer()
