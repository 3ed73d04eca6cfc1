"""The upstreams of a soak: right answers of many kinds, and every way of failing."""

import asyncio
import contextlib
from typing import Final

FILL: Final = b"a pilotfish beside a bigger fish " * 2048
CUT_AFTER: Final = 1_000


def body(size: int) -> bytes:
    return (FILL * (size // len(FILL) + 1))[:size]


class SoakUpstream:
    """One endpoint. `down` and `up` close its port and open the same one again: connections are refused in between.

    `/static/SIZE/…`, `/short/SIZE/…` (stored for a second, with an ETag), `/plain/SIZE`, `/chunked/SIZE`, `/slow`, `/fail` (503),
    `/cut` (breaks off in the body), POST to anything (the length of what came).
    """

    def __init__(self) -> None:
        self.port = 0
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._busy: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Refuse connections, and cut those that wait for a request; what is being answered is finished first."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers - self._busy:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._one(reader, writer):
                pass
        self._writers.discard(writer)
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self._busy.add(writer)
        try:
            return await self._respond(head, reader, writer) and self._server is not None
        finally:
            self._busy.discard(writer)

    async def _respond(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.requests += 1
        method, target, _ = head.split(b" ", 2)
        received = await read_body(head.lower(), reader)
        kind, _, rest = target.decode().strip("/").partition("/")
        size = int(rest.split("/")[0] or 0) if rest else 0
        if method == b"POST":
            await _answer(writer, 200, f"{received}".encode(), "Cache-Control: no-store")
        elif kind == "static":
            await _answer(writer, 200, body(size), "Cache-Control: max-age=3600\r\nCache-Tag: soak")
        elif kind == "short":
            await self._short(writer, head, size)
        elif kind == "chunked":
            await _chunked(writer, size)
        elif kind == "fail":
            await _answer(writer, 503, b"no", "Cache-Control: no-store")
        elif kind == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body(CUT_AFTER))
            await writer.drain()
            return False
        else:
            if kind == "slow":
                await asyncio.sleep(0.2)
            await _answer(writer, 200, body(size), "Cache-Control: no-store")
        return True

    async def _short(self, writer: asyncio.StreamWriter, head: bytes, size: int) -> None:
        control = f'Cache-Control: max-age=1, stale-while-revalidate=2\r\nETag: "{size}"'
        if b"if-none-match" in head.lower():
            writer.write(f"HTTP/1.1 304 Not Modified\r\n{control}\r\n\r\n".encode())
            await writer.drain()
        else:
            await _answer(writer, 200, body(size), control)


async def read_body(head: bytes, reader: asyncio.StreamReader) -> int:
    """Read a message's body; its length without its framing. `head` in lower case."""
    if b"transfer-encoding: chunked" in head:
        total = 0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
            total += size
        await reader.readuntil(b"\r\n")
        return total
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    left = length
    while left:
        piece = await reader.read(min(left, 65_536))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
    return length


async def _answer(writer: asyncio.StreamWriter, status: int, content: bytes, fields: str) -> None:
    writer.write(f"HTTP/1.1 {status} OK\r\nContent-Length: {len(content)}\r\n{fields}\r\n\r\n".encode() + content)
    await writer.drain()


async def _chunked(writer: asyncio.StreamWriter, size: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n")
    for start in range(0, size, 8_192):
        piece = body(min(8_192, size - start))
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
