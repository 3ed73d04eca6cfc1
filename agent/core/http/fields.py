"""Field lines: from raw bytes to a name, a value, and a bit that says why the agent cares about it.

Strict by RFC 9112 section 5: a token, a colon with nothing before it, a value without control characters, no folding, and
CRLF alone ends a line. Lines repeat from request to request, so what a line parsed to is kept in a bounded memo; a head
then costs a dictionary look-up a line, and the OR of the bits tells at once which special rules can be skipped.
"""

import re
from typing import Final

from agent.core.http.errors import BadMessage

HOST: Final = 1 << 0
CONTENT_LENGTH: Final = 1 << 1
TRANSFER_ENCODING: Final = 1 << 2
CONNECTION: Final = 1 << 3
HOP: Final = 1 << 4
"""Any hop-by-hop field besides Connection and Transfer-Encoding: Keep-Alive, Proxy-Connection, TE, Upgrade, ..."""
UPGRADE: Final = 1 << 5
EXPECT: Final = 1 << 6
RANGE: Final = 1 << 7
CONDITIONAL: Final = 1 << 8
CACHE_CONTROL: Final = 1 << 9
PRAGMA: Final = 1 << 10
AUTHORIZATION: Final = 1 << 11
COOKIE: Final = 1 << 12
FORWARDED: Final = 1 << 13
"""Forwarded, X-Forwarded-*."""
VIA: Final = 1 << 14
TRACEPARENT: Final = 1 << 15
REQUEST_ID: Final = 1 << 16
DEADLINE: Final = 1 << 17
"""X-Request-Timeout-Ms, Grpc-Timeout."""
WHY: Final = 1 << 18
SET_COOKIE: Final = 1 << 19
VARY: Final = 1 << 20
AGE: Final = 1 << 21
DATE: Final = 1 << 22
VALIDATOR: Final = 1 << 23
"""ETag, Last-Modified."""
RETRY_AFTER: Final = 1 << 24
TE: Final = 1 << 25
TRAILER: Final = 1 << 26
CONTENT_RANGE: Final = 1 << 27
CACHE_STATUS: Final = 1 << 28
SERVER: Final = 1 << 29
TRACESTATE: Final = 1 << 30

FLAGS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authenticate": HOP,
    b"proxy-authorization": HOP,
    b"proxy-authentication-info": HOP,
    b"te": HOP | TE,
    b"trailer": TRAILER,
    b"upgrade": HOP | UPGRADE,
    b"http2-settings": HOP,
    b"expect": EXPECT,
    b"range": RANGE,
    b"if-range": CONDITIONAL,
    b"if-match": CONDITIONAL,
    b"if-none-match": CONDITIONAL,
    b"if-modified-since": CONDITIONAL,
    b"if-unmodified-since": CONDITIONAL,
    b"cache-control": CACHE_CONTROL,
    b"pragma": PRAGMA,
    b"authorization": AUTHORIZATION,
    b"cookie": COOKIE,
    b"forwarded": FORWARDED,
    b"x-forwarded-for": FORWARDED,
    b"x-forwarded-proto": FORWARDED,
    b"x-forwarded-host": FORWARDED,
    b"x-forwarded-port": FORWARDED,
    b"via": VIA,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"x-request-id": REQUEST_ID,
    b"x-request-timeout-ms": DEADLINE,
    b"grpc-timeout": DEADLINE,
    b"x-pilotfish-why": WHY,
    b"set-cookie": SET_COOKIE,
    b"vary": VARY,
    b"age": AGE,
    b"date": DATE,
    b"etag": VALIDATOR,
    b"last-modified": VALIDATOR,
    b"retry-after": RETRY_AFTER,
    b"content-range": CONTENT_RANGE,
    b"cache-status": CACHE_STATUS,
    b"server": SERVER,
}

NEVER_KEPT: Final = frozenset(
    {
        b"traceparent",
        b"tracestate",
        b"x-request-id",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
    }
)
"""Names whose values do not repeat, or that should not outlive their message: not in the memo."""
SHORT_LIVED: Final = frozenset({b"age", b"content-length", b"date", b"etag", b"if-none-match", b"last-modified"})
"""Names whose values repeat for a while. They have a memo of their own, so that they cannot crowd the others out."""

MEMO_LINES_MAX: Final = 4096
SHORT_LIVED_LINES_MAX: Final = 512
MEMO_LINE_BYTES_MAX: Final = 256

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE_OCTETS: Final = bytes([9, *range(32, 127), *range(128, 256)])
"""What a value may hold (RFC 9110 section 5.5): visible octets, obs-text, space and tab."""


_SPACE: Final = 32
_TAB: Final = 9


class Field:
    """One field line.

    name: lower-case; value: without surrounding white space; line: as it came, without CRLF; flags: of this module.
    """

    __slots__ = ("flags", "line", "name", "value")

    def __init__(self, name: bytes, value: bytes, line: bytes, flags: int) -> None:
        self.name = name
        self.value = value
        self.line = line
        self.flags = flags

    def __repr__(self) -> str:
        return f"Field({self.line!r})"


class Name:
    """A field name as it came, and what is known about it."""

    __slots__ = ("flags", "kept", "lower", "short_lived")

    def __init__(self, raw: bytes) -> None:
        self.lower: bytes = raw.lower()
        self.flags = FLAGS.get(self.lower, 0)
        self.kept = self.lower not in NEVER_KEPT
        self.short_lived = self.lower in SHORT_LIVED


_memo: Final[dict[bytes, Field]] = {}
_short_lived: Final[dict[bytes, Field]] = {}
_names: Final[dict[bytes, Name]] = {}


def parse_line(line: bytes) -> Field:
    """A field line without its CRLF. Raises `BadMessage` (400) naming what is wrong with it."""
    field = _memo.get(line)
    if field is not None:
        return field
    field = _short_lived.get(line)
    if field is not None:
        return field
    raw, colon, value = line.partition(b":")
    name = _names.get(raw)
    if name is None or not colon:
        name = _name(raw if colon else b"", line)
    if value and value[0] == _SPACE:
        value = value[1:]  # the usual one space
    if value and (value[0] == _SPACE or value[0] == _TAB or value[-1] == _SPACE or value[-1] == _TAB):
        value = value.strip(b" \t")
    # Numbers and ids are quickly seen to be good; the rest is looked at octet by octet.
    if not value.replace(b"-", b"0").isalnum() and value.translate(None, _VALUE_OCTETS):
        raise BadMessage(400, _blame(line))
    field = Field(name.lower, value, line, name.flags)
    if name.kept and len(line) <= MEMO_LINE_BYTES_MAX:
        memo = _short_lived if name.short_lived else _memo
        if len(memo) >= (SHORT_LIVED_LINES_MAX if name.short_lived else MEMO_LINES_MAX):
            memo.clear()
        memo[line] = field
    return field


def _name(raw: bytes, line: bytes) -> Name:
    if _TOKEN.fullmatch(raw) is None:
        raise BadMessage(400, _blame(line))
    name = Name(raw)
    if len(raw) <= MEMO_LINE_BYTES_MAX:
        if len(_names) >= MEMO_LINES_MAX:
            _names.clear()
        _names[raw] = name
    return name


def make_field(name: bytes, value: bytes) -> Field:
    """A field of the agent's own making; `name` in the case it is to be sent in. Raises `BadMessage` where the two do not
    make a legal line (a configured or a plugin's value with CR, LF or NUL in it)."""
    return parse_line(name + b": " + value)


def _blame(line: bytes) -> str:
    shown = line[:60]
    if line[:1] in (b" ", b"\t"):
        return f"folded field line {shown!r} (RFC 9112 section 5.2 forbids it)"
    for octet, called in ((b"\x00", "NUL"), (b"\n", "bare LF"), (b"\r", "bare CR")):
        if octet in line:
            return f"{called} in field line {shown!r}"
    name, colon, _ = line.partition(b":")
    if not colon:
        return f"field line without a colon: {shown!r}"
    if name != name.strip():
        return f"white space before the colon in {shown!r}"
    return f"field line with a character that is not allowed: {shown!r}"
