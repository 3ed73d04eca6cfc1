"""Stored responses on the wire."""

from typing import Final

from agent.core.cache import cache_status
from agent.core.cache.cost import WIRE_BODY_MAX
from agent.core.cache.entry import Entry
from agent.core.cache.freshness import age_seconds
from agent.core.cache.parts import selected
from agent.core.cache.validation import conditional, not_modified_fields
from agent.core.http import fields as f
from agent.core.http.edits import HeaderEdits
from agent.core.http.fields import Field
from agent.proxy.datapath import DataPath
from agent.proxy.exchange import Exchange

_CRLF: Final = b"\r\n"


def hit_wire(path: DataPath, entry: Entry, second: int) -> bytes:
    """The response to a plain GET, remembered on the entry for this second of wall time: head and body where the body is
    at most `WIRE_BODY_MAX` octets, else the head alone."""
    # Age as it will be at the end of the second: it must never be too small.
    raw = _head(path, entry, second + 0.999, cache_status.hit(entry, second), None, entry.length, True)
    if entry.length <= WIRE_BODY_MAX:
        raw = raw + b"".join(entry.body)
    entry.wire = raw
    entry.wire_second = second
    return raw


def serve_entry(exchange: Exchange, entry: Entry, now: float, status_value: bytes) -> None:
    """Answer an exchange from a stored response: whole, a range of it, or only the news that nothing has changed."""
    head = exchange.head
    path = exchange.path
    exchange.entry = entry
    exchange.cache_status = status_value
    exchange.settle_keep()
    exchange.status = entry.status
    verdict = conditional(entry, head) if head.flags & f.CONDITIONAL else 0
    if verdict:
        exchange.status = verdict
    edits = _edits(exchange, entry)
    if exchange.over:
        return
    if verdict == 304:
        raw = _head(path, entry, now, status_value, edits, -1, exchange.keep, 304, not_modified_fields(entry))
        exchange.send_raw_head(_finished(exchange, raw), 304, True)
        exchange.send_end([])
        return
    if verdict == 412:
        raw = _head(path, entry, now, status_value, edits, 0, exchange.keep, 412, [])
        exchange.send_raw_head(_finished(exchange, raw), 412, True)
        exchange.send_end([])
        return
    body = entry.body
    length = entry.length
    status = entry.status
    fields = entry.fields
    if head.flags & f.RANGE:
        status, body, content_range = selected(entry, head)
        if content_range is not None:
            # A 416 is not about the stored response: it has none of its fields.
            fields = [content_range] if status == 416 else [*fields, content_range]
            length = sum([len(piece) for piece in body])
    raw = _head(path, entry, now, status_value, edits, length, exchange.keep, status, fields)
    exchange.send_raw_head(_finished(exchange, raw), status, head.method == b"HEAD")
    for piece in body:
        exchange.send_piece(piece)
    exchange.send_end([])


def start_streaming(exchange: Exchange, entry: Entry, length: int, now: float, status_value: bytes, unshared: list[Field]) -> bool:
    """Begin an answer whose body is still arriving. length: -1 while unknown; unshared: fields that this client gets beside
    the stored ones. False: answered without a body already."""
    head = exchange.head
    exchange.entry = entry
    exchange.cache_status = status_value
    if head.flags & f.CONDITIONAL and conditional(entry, head):
        serve_entry(exchange, entry, now, status_value)
        return False
    exchange.settle_keep()
    if length < 0:
        if head.minor == 1:
            exchange.chunked_out = True
        else:
            exchange.keep = False
    exchange.status = entry.status
    edits = _edits(exchange, entry)
    if exchange.over:
        return False
    raw = _head(exchange.path, entry, now, status_value, edits, length, exchange.keep)
    for field in unshared:
        raw = raw[:-2] + field.line + b"\r\n\r\n"
    if exchange.chunked_out:
        raw = raw[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    exchange.send_raw_head(_finished(exchange, raw), entry.status, head.method == b"HEAD")
    return True


def _edits(exchange: Exchange, entry: Entry) -> HeaderEdits | None:
    target = exchange.plan.target
    edits = target.response_edits if target is not None else None
    return exchange.plugin_edits(edits, entry.fields) if exchange.path.plugins.response_hooks else edits


def _finished(exchange: Exchange, raw: bytes) -> bytes:
    if exchange.request_id and exchange.head.flags & f.REQUEST_ID:
        raw = raw[:-2] + b"X-Request-Id: " + exchange.request_id + b"\r\n\r\n"
    if exchange.head.minor == 0 and exchange.keep:
        raw = raw[:-2] + b"Connection: keep-alive\r\n\r\n"
    return raw


def _head(
    path: DataPath,
    entry: Entry,
    now: float,
    status_value: bytes,
    edits: HeaderEdits | None,
    length: int,
    keep: bool,
    status: int = 0,
    fields: list[Field] | None = None,
) -> bytes:
    if fields is None:
        fields = entry.fields
    if edits is not None:
        fields = edits.apply(fields)
    if status == 0 or status == entry.status:
        lines = [b"HTTP/1.1 %d %s" % (entry.status, entry.reason)]
    else:
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS.get(status, b""))]
    for field in fields:
        lines.append(field.line)
    lines.append(b"Age: %d" % age_seconds(entry, now))
    if length >= 0 and (status or entry.status) != 204:
        lines.append(b"Content-Length: %d" % length)
    if path.headers.via:
        lines.append(b"Via: 1.1 " + path.headers.via.encode("ascii"))
    if status_value:
        lines.append(b"Cache-Status: " + status_value)
    if not keep:
        lines.append(b"Connection: close")
    return _CRLF.join(lines) + b"\r\n\r\n"


_REASONS: Final = {
    206: b"Partial Content",
    304: b"Not Modified",
    412: b"Precondition Failed",
    416: b"Range Not Satisfiable",
}
