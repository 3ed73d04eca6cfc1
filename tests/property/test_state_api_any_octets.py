"""Whatever octets a client sends, however they are cut: the API goes on, and what it answers is HTTP."""

import asyncio
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.runtime.log import Logger
from agent.state.api import StateApi
from agent.state.config import ApiConfig
from agent.state.connection import ApiConnection
from tests.harness.state import AloneService

PARTS = st.sampled_from(
    [
        b"GET ",
        b"PUT ",
        b"POST ",
        b"DELETE ",
        b"HEAD ",
        b"/v1/kv/k",
        b"/v1/kv",
        b"/v1/txn",
        b"/v1/cas",
        b"/v1/locks/l",
        b"/v1/watch",
        b"/v1/events?after=0",
        b"/v1/sessions",
        b"/v1/elections/e/observe",
        b"/v1/barriers/b/enter",
        b"?prefix=&limit=5",
        b"?if_revision=1&ttl=1s",
        b"&consistency=stale",
        b"%00%ff",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"Host: localhost\r\n",
        b"Host: evil\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Pilotfish-Session: 1\r\nPilotfish-Request: 1\r\n",
        b"Idempotency-Key: a\r\n",
        b"If-Match: *\r\n",
        b"Accept: application/json\r\n",
        b"Last-Event-ID: 1\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"{}",
        b'{"ttl": "1s"}',
        b'{"key": "k", "value": "v", "if": {"absent": true}}',
        b'{"then": [{"put": {"key": "k", "value": "v"}}]}',
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"\x81\x82\x00\x00\x00\x00{}",
        b"\x88\x80\x00\x00\x00\x00",
    ]
)
WHOLE = st.builds(
    lambda method, path, lines, body: (
        b"%b%b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b" % (method, path, b"".join(lines), len(body), body)
    ),
    st.sampled_from([b"GET ", b"PUT ", b"POST ", b"DELETE "]),
    st.lists(PARTS.filter(lambda part: b"\r" not in part and b" " not in part), min_size=1, max_size=3).map(b"".join),
    st.lists(PARTS.filter(lambda part: re.fullmatch(rb"[A-Z][\w-]+: .*\r\n", part, re.DOTALL) is not None), max_size=2),
    st.one_of(st.binary(max_size=10), PARTS),
)
STREAM = st.lists(st.one_of(PARTS, WHOLE, WHOLE, st.binary(max_size=6)), max_size=12).map(b"".join)
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n((?:[A-Za-z-]+: [^\r\n]*\r\n)+)\r\n")


class Transport:
    """What is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def set_write_buffer_limits(self, high: int) -> None:
        pass


async def talk(data: bytes, cuts: list[int]) -> bytes:
    service = AloneService()
    api = StateApi(service, ApiConfig(), Logger("error"))
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    connection = ApiConnection(api)
    transport = Transport()
    connection.connection_made(transport)
    at = 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        if cut > at and not transport.closed:
            connection.data_received(data[at:cut])
            for _ in range(4):
                await asyncio.sleep(0)
        at = cut
    for _ in range(8):
        await asyncio.sleep(0)
    if not transport.closed:
        connection.eof_received()
    connection.connection_lost(None)
    api.writes.stop()
    service.stop()
    assert not faults, faults
    assert not api.connections and not api.figures.watches and not len(api.waits)
    return transport.written


def check(written: bytes) -> None:
    """Whole answers, one after the other, until a stream of events or a WebSocket begins."""
    while written:
        if written.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            written = written[25:]
            continue
        head = ANSWER.match(written)
        assert head is not None, written[:300]
        fields = head.group(2).lower()
        length = re.search(rb"content-length: (\d+)", fields)
        if length is None:
            assert b"text/event-stream" in fields or head.group(1) == b"101"
            return
        assert int(head.group(1)) < 500 or head.group(1) in (b"503", b"504", b"505", b"507", b"501")
        rest = written[head.end() :]
        size = int(length.group(1))
        # An answer to HEAD has the length of a body that is not there.
        written = rest[size:] if not rest.startswith(b"HTTP/1.1 ") else rest


@settings(max_examples=200, deadline=None)
@given(STREAM, st.lists(st.integers(0, 2_000), max_size=6))
def test_any_octets_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    check(asyncio.run(talk(data, cuts)))
