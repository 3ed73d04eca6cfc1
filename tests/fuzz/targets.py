"""What must hold for any octets whatever. Each target takes octets and raises where a promise is broken.

The first octets choose how the rest is cut; `run.py` drives the targets with atheris, `test_fuzz.py` with the kept corpus.
"""

from collections.abc import Callable
from typing import Final

import httptools

from agent.core.http import fields as f
from agent.core.http.body import ChunkedDecoder
from agent.core.http.config import HeaderPolicy
from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field
from agent.core.http.forwarding import FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, forward_response_head, request_prefix
from agent.core.http.head import CHUNKED, LENGTH, NO_BODY, RequestHead, ResponseHead, parse_request_head, parse_response_head
from agent.core.http.trace import has_trace
from agent.core.routing import endpoint as outcome
from agent.proxy.upstream import CLOSED, TUNNEL, ConnectionHome, Try, UpstreamConnection
from tests.fuzz.llhttp import METHODS, Requests, Responses
from tests.fuzz.pbft_targets import PBFT_TARGETS
from tests.fuzz.raft_targets import RAFT_TARGETS
from tests.fuzz.rig import RecordingTransport, Rig
from tests.fuzz.swim_targets import SWIM_TARGETS
from tests.fuzz.wal_targets import WAL_TARGETS

POLICY: Final = HeaderPolicy()


def cut(data: bytes, by: bytes) -> list[bytes]:
    """`data` in pieces whose sizes `by` gives, over and over."""
    sizes = [octet + 1 for octet in by] or [len(data) or 1]
    pieces = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
        turn += 1
    return pieces


def end_to_end(head: RequestHead | ResponseHead) -> list[tuple[bytes, bytes]]:
    """The fields that a proxy passes on unchanged."""
    special = f.CONNECTION | f.HOP | f.HOST | f.CONTENT_LENGTH | f.TRANSFER_ENCODING | f.VIA | f.FORWARDED | f.TRAILER
    special |= f.DEADLINE | f.WHY | f.DATE | f.CACHE_STATUS
    if isinstance(head, RequestHead) and not has_trace(head):
        special |= f.TRACEPARENT | f.TRACESTATE
    options = head.connection_options()
    return [(field.name, field.value) for field in head.fields if not field.flags & special and field.name not in options]


def request_head(data: bytes) -> None:
    """A head that is taken means the same to llhttp, and what is forwarded of it means the same again, to both."""
    raw = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        head = parse_request_head(raw)
    except BadMessage as error:
        assert error.status in (400, 414, 431, 501, 505), error.status  # noqa: PT017 (a refusal is an answer here)
        return
    check_request(raw, head, head.target if not head.absolute else None)
    if head.method == b"CONNECT":
        return
    wire = request_prefix(head, POLICY, head.target, head.authority, b"127.0.0.1", None, [], False) + b"\r\n"
    if head.minor == 0 and not head.authority:
        return  # HTTP/1.0 without Host is passed on with an empty one
    again = parse_request_head(wire, 256, 32_768)
    assert (again.method, again.target, again.authority) == (head.method, head.target, head.authority)
    assert (again.chunked, again.content_length, again.minor) == (head.chunked, head.content_length, 1)
    assert end_to_end(again) == end_to_end(head)
    check_request(wire, again, head.target)


def check_request(raw: bytes, head: RequestHead, target: bytes | None) -> None:
    if head.method not in METHODS:
        return
    reader = Requests()
    reader.feed(raw)
    if not reader.messages or len(reader.messages[0].fields) != len(head.fields):
        raise AssertionError("llhttp did not come to the end of the head")
    message = reader.messages[0]
    assert reader.method() == head.method
    assert target is None or message.target == target
    assert message.fields == [(field.name, field.value) for field in head.fields]
    if not reader.switched:
        assert message.complete == (not head.has_body)


def response_head(data: bytes) -> None:
    """As for requests; the first octet chooses the request's method and the client's version."""
    choice = data[0] if data else 0
    method = (b"GET", b"HEAD", b"POST", b"OPTIONS")[choice & 3]
    minor = choice >> 2 & 1
    raw = data[1:].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        head = parse_response_head(raw, method)
    except BadMessage:
        return
    if method != b"HEAD" and head.status != 101:
        reader = Responses()
        reader.feed(raw)
        assert reader.messages[0].status == head.status
        assert reader.messages[0].fields == [(field.name, field.value) for field in head.fields]
        assert reader.messages[0].complete == (head.body == NO_BODY) or head.status == 304
    if head.status < 200:
        return
    framing = FRAME_LENGTH if head.body == LENGTH or head.content_length >= 0 else FRAME_NONE
    if head.body not in (NO_BODY, LENGTH):
        framing = FRAME_CHUNKED if minor == 1 else FRAME_CLOSE
    wire = forward_response_head(head, POLICY, None, b"", framing, minor, True, b"Tue, 24 Nov 2026 12:22:41 GMT")
    again = parse_response_head(wire, method, 256)
    assert (again.status, again.reason, again.content_length) == (
        head.status,
        head.reason,
        head.content_length if framing == FRAME_LENGTH else -1,
    )
    assert (again.body == CHUNKED) == (framing == FRAME_CHUNKED)
    assert end_to_end(again) == end_to_end(head)


class Decoded:
    """What a chunked body came to."""

    def __init__(self, data: bytes, pieces: list[bytes]) -> None:
        decoder = ChunkedDecoder(4096, 16)
        self.body = b""
        self.rest = b""
        self.status = 0
        fed = 0
        try:
            for piece in pieces:
                fed += len(piece)
                self.body += b"".join(decoder.feed(piece))
                if decoder.done:
                    self.rest = decoder.rest + data[fed:]
                    break
        except BadMessage as error:
            self.status = error.status
        self.done = decoder.done
        self.trailers = [(field.name, field.value) for field in decoder.trailers]


def chunked(data: bytes) -> None:
    """However it is cut, a chunked body comes to the same, and what is taken is the same to llhttp."""
    count = data[0] & 7 if data else 0
    by, data = data[1 : 1 + count], data[1 + count :]
    whole = Decoded(data, [data])
    for pieces in (cut(data, by), [data[at : at + 1] for at in range(len(data))]):
        parts = Decoded(data, pieces)
        # Which of several faults is named may depend on what had come when the first was seen.
        assert (parts.status != 0, parts.done) == (whole.status != 0, whole.done)
        if not whole.status:
            assert (parts.body, parts.rest, parts.trailers) == (whole.body, whole.rest, whole.trailers)
    if whole.done:
        reader = Requests()
        try:
            reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data[: len(data) - len(whole.rest)])
        except httptools.HttpParserError:
            assert llhttp_is_stricter(data)
            return
        assert len(reader.messages) == 1 and reader.messages[0].complete
        assert reader.messages[0].body == whole.body


def llhttp_is_stricter(data: bytes) -> bool:
    """About two things that the agent drops unread: chunk extensions, and framing fields in trailers."""
    return b";" in data or b"content-length" in data.lower() or b"transfer-encoding" in data.lower()


class Seen:
    """What a client's octets came to: requests at upstreams, and answers."""

    def __init__(self, rig: Rig, pieces: list[bytes]) -> None:
        pool = rig.new_pool()
        self.readers: dict[UpstreamConnection, tuple[Requests, int, int]] = {}
        self.requests: list[tuple[bytes, bytes]] = []
        connection, transport = rig.connect()
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
            while self.answer(pool.made):
                pass
        self.output = bytes(transport.written)
        self.tunnel = connection.tunnel
        transport.closed = True
        connection.connection_lost(None)
        for upstream in pool.made:
            if not upstream.transport.closed:
                upstream.connection_lost(None)

    def answer(self, connections: list[UpstreamConnection]) -> bool:
        """Read what came to the upstreams, and answer what is whole. False where there was nothing new."""
        busy = False
        for upstream in connections:
            reader, read, answered = self.readers.get(upstream, (Requests(), 0, 0))
            written = bytes(upstream.transport.written)
            if len(written) > read and upstream.state != TUNNEL:
                busy = True
                news = written[read:]
                method, space, rest = news.partition(b" ")
                if method not in METHODS and all(message.complete for message in reader.messages):
                    news = b"GET" + space + rest  # a method that llhttp does not know: under another name it is read all the same
                reader.feed(news)
            done = [message for message in reader.messages if message.complete]
            self.readers[upstream] = (reader, len(written), len(done))
            for message in done[answered:]:
                busy = True
                self.requests.append((message.target, message.body))
                if upstream.state != CLOSED:
                    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        return busy


_rigs: list[Rig] = []


def client(data: bytes) -> None:
    """However a client's octets are cut, upstreams get the same whole requests, each readable to llhttp, and every octet that
    goes back belongs to a response."""
    if not _rigs:
        _rigs.append(Rig())
    rig = _rigs[0]
    count = data[0] & 7 if data else 0
    by, data = data[1 : 1 + count], data[1 + count :]
    whole = Seen(rig, [data])
    parts = Seen(rig, cut(data, by))
    assert parts.requests == whole.requests
    assert parts.tunnel == whole.tunnel
    if whole.tunnel:
        return
    if b"HEAD" not in data:
        reader = Responses()
        reader.feed(whole.output)
        assert all(message.complete for message in reader.messages)
        other = Responses()
        other.feed(parts.output)
        # As with chunks, which fault is named may differ.
        assert [message.status < 300 for message in other.messages] == [message.status < 300 for message in reader.messages]


class Told(Try, ConnectionHome):
    """What a connection to an upstream tells its user."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.body = b""
        self.freed = False

    def on_informational(self, head: ResponseHead) -> None:
        self.events.append(("informational", head.status))

    def on_head(self, head: ResponseHead) -> None:
        self.events.append(("head", head.status, head.body, end_to_end(head)))

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_flush(self) -> None:
        """Nothing is held here."""

    def on_end(self, trailers: list[Field]) -> None:
        self.events.append(("end", self.body, [(field.name, field.value) for field in trailers]))

    def on_broken(self, code: int, detail: str) -> None:
        assert code in (outcome.GATEWAY_ERROR, outcome.RESET)
        self.events.append(("broken", code))

    def on_free(self, connection: UpstreamConnection) -> None:
        self.freed = True

    def on_gone(self, connection: UpstreamConnection) -> None:
        """The pool's business."""


def tell(data: bytes, pieces: list[bytes], method: bytes) -> Told:
    told = Told()
    connection = UpstreamConnection(told, 4096, 32)
    transport = RecordingTransport()
    connection.connection_made(transport)
    connection.begin(told, method)
    for piece in pieces:
        if transport.closed:
            break
        connection.data_received(piece)
    if not transport.closed:
        connection.connection_lost(None)
    return told


def upstream(data: bytes) -> None:
    """However an upstream's octets are cut, its response comes to the same; and a sound one is the same to llhttp."""
    choice = data[0] if data else 0
    method = b"HEAD" if choice & 8 else b"GET"
    count = choice & 7
    by, data = data[1 : 1 + count], data[1 + count :]
    whole = tell(data, [data] if data else [], method)
    parts = tell(data, cut(data, by), method)
    assert parts.events == whole.events, (parts.events, whole.events)
    assert sum(1 for event in whole.events if event[0] in ("end", "broken")) == 1  # type: ignore[index]
    end = whole.events[-1]
    assert isinstance(end, tuple)
    if end[0] == "end" and method == b"GET":
        reader = Responses()
        try:
            reader.feed(data)
        except httptools.HttpParserError:
            # It may stumble over what follows the response, which the agent never takes for another.
            assert any(message.complete for message in reader.messages) or (b"chunked" in data.lower() and llhttp_is_stricter(data))
            if not any(message.complete for message in reader.messages):
                return
        final = next(message for message in reader.messages if message.status >= 200)
        assert final.body == end[1]


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "request_head": request_head,
    "response_head": response_head,
    "chunked": chunked,
    "client": client,
    "upstream": upstream,
    **SWIM_TARGETS,
    **WAL_TARGETS,
    **PBFT_TARGETS,
    **RAFT_TARGETS,
}
