"""The traffic of a soak: clients that ask for everything, leave in the middle, and send nonsense."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from loadtest.soak_upstream import read_body

CLIENTS = 16
PAUSE_S = 0.004
"""Mean time that a client thinks. The soak is to last, not to saturate: its own client is slower than the agent."""
ANSWER_S = 30.0


class Client:
    """One client after another on connections of its own, each doing something at random until told to stop."""

    def __init__(self, port: int, seed: int, counts: Counter[str], wrong: Counter[str]) -> None:
        self.port = port
        self.dice = random.Random(seed)
        self.counts = counts
        self.wrong = wrong
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self._acts: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (30, "hit", lambda: self._get(f"/static/{1000 + 7 * self.dice.randrange(20)}/hot")),
            (15, "miss", lambda: self._get(f"/static/{self.dice.randrange(100, 20_000)}/{self.dice.random()}")),
            (10, "revalidated", lambda: self._get(f"/short/{self.dice.randrange(10, 4_000, 400)}")),
            (10, "forward", lambda: self._get(f"/plain/{self.dice.randrange(30_000)}")),
            (4, "chunked", lambda: self._get(f"/chunked/{self.dice.randrange(60_000)}")),
            (2, "slow", lambda: self._get("/slow")),
            (8, "post", self._post),
            (3, "post chunked", self._post_chunked),
            (4, "failing upstream", lambda: self._get("/fail", "failing.test", (503,))),
            (2, "cut by the upstream", self._cut),
            (3, "left while waiting", lambda: self._leave(b"GET /slow HTTP/1.1\r\nHost: web.test\r\n\r\n", 0)),
            (3, "left in the response", lambda: self._leave(b"GET /plain/900000 HTTP/1.1\r\nHost: web.test\r\n\r\n", 100)),
            (3, "left in the upload", lambda: self._leave(b"POST /up HTTP/1.1\r\nHost: web.test\r\nContent-Length: 99999\r\n\r\nabc", 0)),
            (2, "nonsense", self._nonsense),
            (3, "pipelined", self._pipelined),
        ]
        self._weights = [weight for weight, _, _ in self._acts]

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            _, name, act = self.dice.choices(self._acts, self._weights)[0]
            try:
                await asyncio.wait_for(act(), ANSWER_S)
                self.counts[name] += 1
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                self.wrong[f"{name}: {type(error).__name__}"] += 1
                self._drop()
            await asyncio.sleep(self.dice.random() * 2 * PAUSE_S)
        self._drop()

    async def _send(self, data: bytes) -> asyncio.StreamReader:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(data)
        await self.writer.drain()
        assert self.reader is not None
        return self.reader

    def _drop(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None

    async def _answer(self, reader: asyncio.StreamReader, name: str, expected: tuple[int, ...]) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        await read_body(head, reader)
        if status not in expected:
            self.wrong[f"{name}: {status}"] += 1
        if b"connection: close" in head:
            self._drop()

    async def _get(self, target: str, host: str = "web.test", expected: tuple[int, ...] = (200,)) -> None:
        # Some have heads that never repeat, as with tracing.
        mark = (
            f"traceparent: 00-{self.dice.getrandbits(128):032x}-{self.dice.getrandbits(64):016x}-01\r\n" if self.dice.random() < 0.3 else ""
        )
        reader = await self._send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{mark}\r\n".encode())
        await self._answer(reader, f"GET {target.split('/')[1]}", expected)

    async def _post(self) -> None:
        size = self.dice.randrange(20_000)
        reader = await self._send(b"POST /up HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        # An endpoint that is cut off while it has the request makes it fail: a POST is not repeated.
        await self._answer(reader, "POST", (200, 502))

    async def _post_chunked(self) -> None:
        chunks = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(self.dice.randrange(1, 20)))
        reader = await self._send(b"POST /up HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        await self._answer(reader, "POST", (200, 502))

    async def _cut(self) -> None:
        reader = await self._send(b"GET /cut HTTP/1.1\r\nHost: failing.test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            await read_body(head.lower(), reader)
            if b" 200 " in head:
                self.wrong["a response that was cut came whole"] += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            self._drop()

    async def _leave(self, request: bytes, after: int) -> None:
        self._drop()
        reader = await self._send(request)
        if after:
            await reader.readexactly(after)
        else:
            await asyncio.sleep(self.dice.random() * 0.02)
        self._drop()

    async def _nonsense(self) -> None:
        self._drop()
        reader = await self._send(b"GET / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self._answer(reader, "nonsense", (400,))
        self._drop()

    async def _pipelined(self) -> None:
        reader = await self._send(b"".join(b"GET /static/%d/hot HTTP/1.1\r\nHost: web.test\r\n\r\n" % size for size in (1000, 1007, 1014)))
        for _ in range(3):
            await self._answer(reader, "pipelined", (200,))
