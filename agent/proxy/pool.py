"""Connections to one endpoint: kept, dialled and waited for within bounds."""

import asyncio
from collections import deque
from time import perf_counter
from typing import Any

from agent.core.routing import endpoint as outcome
from agent.proxy.upstream import CLOSED, ConnectionHome, Try, UpstreamConnection
from agent.runtime.wheel import TimerWheel


class PoolLimits:
    """The bounds of one service's pools, with the head limits that its connections enforce."""

    __slots__ = (
        "connect_timeout_s",
        "connections_max",
        "head_bytes_max",
        "header_count_max",
        "idle_max",
        "idle_timeout_s",
        "pending_max",
    )

    def __init__(self, connections_max: int, idle_max: int, idle_timeout_s: float, pending_max: int) -> None:
        self.connections_max = connections_max
        self.idle_max = idle_max
        self.idle_timeout_s = idle_timeout_s
        self.pending_max = pending_max
        self.connect_timeout_s = 1.0
        self.head_bytes_max = 32_768
        self.header_count_max = 128


class Pool(ConnectionHome):
    """The connections of one endpoint. Last used, first reused, so that the surplus grows old and is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wheel: TimerWheel, host: str, port: int, limits: PoolLimits) -> None:
        self.loop = loop
        self.wheel = wheel
        self.host = host
        self.port = port
        self.limits = limits
        self.idle: list[UpstreamConnection] = []
        self.open: set[UpstreamConnection] = set()
        self.dialling = 0
        self.waiting: deque[Try] = deque()
        self.connects = 0
        self.connect_failures = 0
        self.overflows = 0
        self.closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def acquire(self, user: Try, fresh: bool = False) -> None:
        """Call `user.on_connected` now or when there is a connection, or `user.on_unreachable`.

        fresh: do not reuse a connection (after a reused one turned out to be closed).
        """
        idle = self.idle
        while idle and not fresh:
            connection = idle.pop()
            if connection.state != CLOSED:
                connection.deadline = 0.0
                user.on_connected(connection)
                return
        limits = self.limits
        if len(self.open) + self.dialling < limits.connections_max:
            self._dial(user)
        elif len(self.waiting) < limits.pending_max:
            self.waiting.append(user)
        else:
            self.overflows += 1
            user.on_unreachable(
                outcome.LOCAL,
                f"all {limits.connections_max} connections to {self.host}:{self.port} are busy and "
                f"{limits.pending_max} requests wait for one",
            )

    def forget(self, user: Try) -> None:
        """`user` no longer wants a connection it was waiting for."""
        if user in self.waiting:
            self.waiting.remove(user)

    def close(self) -> None:
        """The endpoint is gone: idle connections close now, busy ones when they come back."""
        self.closed = True
        for connection in self.idle:
            connection.close()
        self.idle.clear()

    # -- ConnectionHome

    def on_free(self, connection: UpstreamConnection) -> None:
        while self.waiting:
            user = self.waiting.popleft()
            user.on_connected(connection)
            return
        if self.closed or len(self.idle) >= self.limits.idle_max:
            connection.close()
            return
        now = perf_counter()
        connection.idle_since = now
        self.wheel.arm(connection, now + self.limits.idle_timeout_s)
        self.idle.append(connection)

    def on_gone(self, connection: UpstreamConnection) -> None:
        self.open.discard(connection)
        self.wheel.drop(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting and len(self.open) + self.dialling < self.limits.connections_max:
            self._dial(self.waiting.popleft())

    # -- dialling

    def _dial(self, user: Try) -> None:
        self.dialling += 1
        task = self.loop.create_task(self._connect(user))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, user: Try) -> None:
        limits = self.limits
        connection = UpstreamConnection(self, limits.head_bytes_max, limits.header_count_max)
        connection.held = user.wants_tunnel()
        timeout_s = limits.connect_timeout_s or None
        code = outcome.CONNECT_FAILURE
        detail = ""
        try:
            await asyncio.wait_for(self._open(connection), timeout_s)
        except TimeoutError:
            detail = f"no connection to {self.host}:{self.port} within {limits.connect_timeout_s:g} s"
        except OSError as error:
            detail = f"cannot connect to {self.host}:{self.port}: {error.strerror or error}"
        finally:
            self.dialling -= 1
        if not detail and connection.state == CLOSED:
            # It was closed, or sent octets that nobody asked for, before there was anything to ask.
            code = outcome.RESET
            detail = f"{self.host}:{self.port} closed the connection at once"
        if detail:
            self.connect_failures += 1
            user.on_unreachable(code, detail)
            if self.waiting:
                self._dial(self.waiting.popleft())
            return
        self.connects += 1
        self.open.add(connection)
        user.on_connected(connection)

    async def _open(self, connection: UpstreamConnection) -> None:
        factory: Any = connection.itself
        if self.port == 0:
            await self.loop.create_unix_connection(factory, self.host)
        else:
            await self.loop.create_connection(factory, self.host, self.port)
