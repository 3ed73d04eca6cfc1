"""Listening sockets of the data path."""

import asyncio
import os
import socket
import stat
from typing import Any

from agent.proxy.client import ClientConnection
from agent.proxy.gate import Gate
from agent.runtime.reuseport import accept_all, spread_evenly, steer_away

HANDSHAKE_S = 0.1
"""A TCP handshake inside a pod or a rack takes less."""


class ListenError(Exception):
    """An address cannot be listened on."""


class Listener:
    """One address, served until it is closed."""

    def __init__(self, gate: Gate, host: str, port: int, reuse_port: bool, backlog: int) -> None:
        self.gate = gate
        self.host = host
        self.port = port
        self._reuse_port = reuse_port
        self._backlog = backlog
        self._server: Any = None
        self._twin: socket.socket | None = None
        """The same listening socket under another descriptor: it outlives the server for as long as a hand-over takes."""

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind and listen. Raises `ListenError` naming the address."""
        try:
            if self.port == 0 and self.host.startswith("/"):
                if os.path.exists(self.host) and stat.S_ISSOCK(os.stat(self.host).st_mode):
                    os.unlink(self.host)
                factory: Any = self._protocol
                self._server = await loop.create_unix_server(factory, self.host, backlog=self._backlog)
                return
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((self.host, self.port))
            sock.setblocking(False)
            self._twin = sock.dup()
            factory = self._protocol
            self._server = await loop.create_server(factory, sock=sock, backlog=self._backlog)
            self.port = sock.getsockname()[1]
            if self._reuse_port:
                spread_evenly(sock)
        except OSError as error:
            raise ListenError(f"cannot listen on {self.host}:{self.port}: {error.strerror or error}") from error

    def _protocol(self) -> ClientConnection:
        return ClientConnection(self.gate)

    def address(self) -> str:
        """Where it listens, with the port that the kernel chose where the configuration said 0."""
        if self.port == 0:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def close(self) -> None:
        """Accept no more; what is open goes on, and what the kernel has accepted for this process is taken."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        twin = self._twin
        if twin is None:
            return
        twin.setblocking(False)
        loop = asyncio.get_running_loop()
        taken: list[asyncio.Task[Any]] = []

        def accepted(connection: socket.socket) -> None:
            factory: Any = self._protocol
            taken.append(loop.create_task(loop.connect_accepted_socket(factory, connection)))

        if self._reuse_port and steer_away(twin, accepted):
            await asyncio.sleep(HANDSHAKE_S)  # those whose handshake had begun
        accept_all(twin, accepted)
        twin.close()
        await asyncio.gather(*taken, return_exceptions=True)
