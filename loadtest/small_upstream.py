"""The upstream for machines without nginx: an asyncio.Protocol on uvloop that answers from memory.

It reads a request as a head and, for POST, a body of Content-Length: all that wrk and the proxies measured here send.
"""

import asyncio
import sys
from typing import Any

import uvloop

from loadtest.upstream import SIZES, body


class Counter:
    """How many requests all connections have served."""

    def __init__(self) -> None:
        self.requests = 0


def responses() -> dict[bytes, bytes]:
    """Whole responses by target."""
    found = {}
    for name, size in SIZES.items():
        for kind, control in (("cached", "max-age=3600"), ("plain", "no-store")):
            found[f"/{kind}/{name}".encode()] = _response(body(size), control)
    found[b"/post"] = _response(body(1024), "no-store")
    return found


def _response(content: bytes, control: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\nCache-Control: {control}\r\n\r\n"
    return head.encode() + content


class Server(asyncio.Protocol):
    """One connection. `counting`: answers the count instead, in nginx's stub_status form."""

    def __init__(self, counter: Counter, answers: dict[bytes, bytes], counting: bool) -> None:
        self.counter = counter
        self.answers = answers
        self.counting = counting
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            whole = end + 4 + _length(head)
            if len(self.buffer) < whole:
                return
            whole_body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            self.counter.requests += 1
            self._answer(head, whole_body)

    def _answer(self, head: bytes, received: bytes) -> None:
        if self.counting:
            text = f"Active connections: 1\nserver accepts handled requests\n 0 0 {self.counter.requests}\nReading: 0"
            self.transport.write(_response(text.encode(), "no-store"))
        elif head.startswith(b"POST /echo "):
            self.transport.write(_response(received, "no-store"))
        else:
            missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(self.answers.get(head.split(b" ", 2)[1], missing))
        if b"connection: close" in head.lower():
            self.transport.close()


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve(port: int, counter_port: int) -> None:
    """Serve on both ports of loopback until cancelled."""
    loop = asyncio.get_running_loop()
    counter = Counter()
    answers = responses()
    await loop.create_server(lambda: Server(counter, answers, True), "127.0.0.1", counter_port)
    server = await loop.create_server(lambda: Server(counter, answers, False), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
