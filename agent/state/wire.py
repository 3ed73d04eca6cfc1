"""Whole responses, ready to be written."""

import time
from http import HTTPStatus
from typing import Any, Final

import msgspec

from agent.core.http.dates import format_http_date

_ENCODER: Final = msgspec.json.Encoder()
_PHRASES: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_LINES: Final[dict[int, bytes]] = {}
JSON: Final = b"application/json"
OCTETS: Final = b"application/octet-stream"


class _Date:
    """Date's value, made once a second."""

    def __init__(self) -> None:
        self.second = 0
        self.text = b""


_date: Final = _Date()


def date() -> bytes:
    second = int(time.time())
    if second != _date.second:
        _date.second = second
        _date.text = format_http_date(second)
    return _date.text


def to_json(document: Any) -> bytes:
    return _ENCODER.encode(document)


def response(status: int, kind: bytes, body: bytes, fields: bytes, keep: bool, with_body: bool = True) -> bytes:
    """`fields`: further lines, each with its CRLF."""
    line = _LINES.get(status)
    if line is None:
        line = b"HTTP/1.1 %d %s\r\nDate: " % (status, _PHRASES.get(status, b""))
        _LINES[status] = line
    return b"%b%b\r\nContent-Type: %b\r\nContent-Length: %d\r\nCache-Control: no-store\r\n%b%b\r\n%b" % (
        line,
        date(),
        kind,
        len(body),
        fields,
        b"" if keep else b"Connection: close\r\n",
        body if with_body else b"",
    )
