"""Listening sockets of the data path."""

import asyncio
import os
import socket
import stat
from typing import Any

from agent.proxy.client import ClientConnection
from agent.proxy.gate import Gate


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
            factory = self._protocol
            self._server = await loop.create_server(factory, sock=sock, backlog=self._backlog)
            self.port = sock.getsockname()[1]
        except OSError as error:
            raise ListenError(f"cannot listen on {self.host}:{self.port}: {error.strerror or error}") from error

    def _protocol(self) -> ClientConnection:
        return ClientConnection(self.gate)

    def address(self) -> str:
        """Where it listens, with the port that the kernel chose where the configuration said 0."""
        if self.port == 0:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def close(self) -> None:
        """Accept no more; what is open goes on."""
        if self._server is not None:
            self._server.close()
            self._server = None
