"""An API over a group of one, on a thread; and what stands between a client and it, where answers get lost."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from agent.core.machine.config import Limits
from agent.runtime.log import Logger
from agent.state.api import StateApi
from agent.state.config import ApiConfig
from tests.harness.state import AloneService

T = TypeVar("T")


class LoopThread:
    """A loop on a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def do(self, call: Callable[[], T]) -> T:
        async def soon() -> T:
            return call()

        return self.run(soon())

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class StateThread(LoopThread):
    """`address`: of the API."""

    def __init__(self, limits: Limits | None = None, listen: str = "127.0.0.1:0", **config: Any) -> None:
        super().__init__()
        self.run(self._start(limits, ApiConfig(listen=listen, **config)))

    async def _start(self, limits: Limits | None, config: ApiConfig) -> None:
        self.service = AloneService(limits)
        self.api = StateApi(self.service, config, Logger("error"), "alone")
        await self.api.start()
        self.address = self.api.address

    def __enter__(self) -> "StateThread":
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self.end()

    async def _stop(self) -> None:
        self.service.stop()
        await self.api.stop()


class Lossy:
    """Passes octets on to an address. `lose_answers`: so many answers are taken from the server and never given to the client, whose
    connection is cut instead. `lose_requests`: the same before the server has seen anything. `closed`: refuses connections."""

    def __init__(self, address: str) -> None:
        self.lose_answers = 0
        self.lose_requests = 0
        self.lost = 0
        self.frozen = False
        """Takes everything, passes nothing on."""
        self.on_loss: Callable[[], object] = lambda: None
        self._to = address.rpartition(":")
        self._thread = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = self._thread.run(self._start("127.0.0.1:0"))

    async def _start(self, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host, int(port))
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(self._to[0], int(self._to[2]))
        writers = {writer, to_writer}
        self._writers |= writers
        try:
            await asyncio.gather(self._requests(reader, to_writer), self._answers(to_reader, writer))
        except (OSError, EOFError):
            pass
        finally:
            for each in writers:
                each.close()
            self._writers -= writers

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.lose_requests:
                self.lose_requests -= 1
                self.lost += 1
                raise EOFError
            if not self.frozen:
                writer.write(data)
        raise EOFError

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.lose_answers:
                self.lose_answers -= 1
                self.lost += 1
                self.on_loss()
                raise EOFError
            writer.write(data)
        raise EOFError

    def cut(self) -> None:
        """Break every connection."""
        self._thread.do(lambda: [writer.transport.abort() for writer in self._writers])

    def close(self) -> None:
        """Refuse connections, and break those there are."""
        self._thread.do(self._server.close)
        self.cut()

    def open(self) -> None:
        """Take connections again, at the same address."""
        self._thread.run(self._start(self.address))

    def __enter__(self) -> "Lossy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.end()
