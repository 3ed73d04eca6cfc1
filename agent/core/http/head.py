"""Message heads: request line or status line, fields, and what they say about framing (RFC 9112).

Nothing ambiguous gets past this file: two lengths, a length beside a transfer coding, a coding other than chunked, two
hosts, a target with a space or a control character are all errors, for requests and for responses alike.
"""

import re
from typing import Final

from agent.core.http import fields as f
from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field, parse_line

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[!\"$-;=?-~]+")  # visible ASCII without # < >
_AUTHORITY = re.compile(rb"(?:[0-9A-Za-z._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_DIGITS = re.compile(rb"[0-9]{1,18}")

_LENGTH_OR_CODING: Final = f.CONTENT_LENGTH | f.TRANSFER_ENCODING
NON_REPEATABLE_METHODS: Final = frozenset({b"POST", b"PATCH", b"CONNECT"})


class Head:
    """What requests and responses share. `fields` keep their order, case and raw bytes; `flags` is the OR of theirs."""

    __slots__ = ("content_length", "fields", "flags", "keep_alive", "minor")

    def __init__(self, minor: int, fields: list[Field], flags: int) -> None:
        self.minor = minor
        self.fields = fields
        self.flags = flags
        self.keep_alive = minor == 1
        self.content_length = -1
        """Octets of the body where Content-Length says so, else -1."""

    def get(self, name: bytes) -> bytes | None:
        """The value of a field by its lower-case name, several lines joined by ``", "`` (RFC 9110 section 5.3)."""
        found: bytes | None = None
        for field in self.fields:
            if field.name == name:
                found = field.value if found is None else found + b", " + field.value
        return found

    def all(self, name: bytes) -> list[bytes]:
        """The values of every line of that (lower-case) name, in order."""
        return [field.value for field in self.fields if field.name == name]

    def connection_options(self) -> frozenset[bytes]:
        """The lower-case options of Connection (and of Proxy-Connection, which clients of proxies send for it)."""
        options: set[bytes] = set()
        for field in self.fields:
            if field.name == b"connection" or field.name == b"proxy-connection":
                options.update(option.strip() for option in field.value.lower().split(b","))
        options.discard(b"")
        return frozenset(options)

    def _read_connection(self) -> None:
        options = self.connection_options()
        if b"close" in options:
            self.keep_alive = False
        elif b"keep-alive" in options:
            self.keep_alive = True

    def _read_framing(self, kind: str) -> bool:
        """Sets `content_length`; true where the body is chunked."""
        lengths = self.all(b"content-length")
        codings = self.all(b"transfer-encoding")
        if codings:
            if lengths:
                raise BadMessage(400, f"{kind} with both Content-Length and Transfer-Encoding")
            if self.minor == 0:
                raise BadMessage(400, f"HTTP/1.0 {kind} with Transfer-Encoding")
            if len(codings) > 1 or codings[0].lower() != b"chunked":
                raise _bad_codings(b",".join(codings))
            return True
        if len(lengths) > 1:
            raise BadMessage(400, f"{len(lengths)} Content-Length fields")
        if lengths:
            if _DIGITS.fullmatch(lengths[0]) is None:
                raise BadMessage(400, f"Content-Length {lengths[0][:40]!r} is not a number of octets")
            self.content_length = int(lengths[0])
        return False


class RequestHead(Head):
    """A request's head. May be shared by many requests with the same bytes: immutable but for the slots that memoise."""

    __slots__ = ("absolute", "authority", "chunked", "memo", "memo_of", "method", "target", "upgrade")

    def __init__(self, minor: int, fields: list[Field], flags: int, method: bytes, target: bytes) -> None:
        super().__init__(minor, fields, flags)
        self.method = method
        self.target = target
        """Origin-form (``/path?query``), ``*``, or for CONNECT the authority."""
        self.authority = b""
        """Lower-case ``host`` or ``host:port``, from the absolute-form target or else Host; empty only in HTTP/1.0."""
        self.absolute = False
        self.chunked = False
        self.upgrade = b""
        """The protocol asked for, where Connection names upgrade."""
        self.memo: object = None
        """Whatever the data path derived from this head, valid while `memo_of` is the configuration it derived it from."""
        self.memo_of: object = None

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def has_body(self) -> bool:
        return self.chunked or self.content_length > 0


class ResponseHead(Head):
    """A response's head. `body` (of `NO_BODY`, `LENGTH`, `CHUNKED`, `UNTIL_CLOSE`) depends on the request's method too."""

    __slots__ = ("body", "line", "reason", "status")

    def __init__(self, minor: int, fields: list[Field], flags: int, status: int, reason: bytes) -> None:
        super().__init__(minor, fields, flags)
        self.status = status
        self.reason = reason
        self.body = NO_BODY

    @property
    def status_line(self) -> bytes:
        return b"HTTP/1.1 %d %s" % (self.status, self.reason)


def parse_request_head(raw: bytes, header_count_max: int = 128, target_bytes_max: int = 16_384) -> RequestHead:
    """A request's head from its first octet through the empty line. Raises `BadMessage` with the status to answer."""
    lines = raw[:-4].split(b"\r\n")
    method, target, minor = _request_line(lines[0], target_bytes_max)
    if len(lines) - 1 > header_count_max:
        raise BadMessage(431, f"{len(lines) - 1} field lines; at most {header_count_max} are accepted")
    fields: list[Field] = []
    flags = 0
    for index in range(1, len(lines)):
        field = parse_line(lines[index])
        flags |= field.flags
        fields.append(field)
    head = RequestHead(minor, fields, flags, method, target)
    if flags & (f.CONNECTION | f.HOP):
        head._read_connection()
    if flags & _LENGTH_OR_CODING:
        head.chunked = head._read_framing("request")
    _read_authority(head)
    if flags & f.UPGRADE and minor == 1 and b"upgrade" in head.connection_options():
        head.upgrade = head.get(b"upgrade") or b""
        if b"h2c" in head.upgrade.lower():
            # RFC 9113 section 3.1 withdrew it; through its tunnel requests would pass that nothing here has looked at.
            head.upgrade = b""
    return head


def complaint_of_beginning(data: bytes) -> str:
    """Why the first octets of an unfinished request head can never become one; empty where they can."""
    if data.count(b"\n") != data.count(b"\r\n"):
        return "bare LF in the request head; lines end in CRLF"
    if data.count(b"\r", 0, len(data) - 1) != data.count(b"\r\n"):
        return "bare CR in the request head; lines end in CRLF"
    if data[:1] < b"!" and data[:1] != b"\r":
        return f"{data[:8]!r} is not the beginning of a request"
    return ""


def _request_line(line: bytes, target_bytes_max: int) -> tuple[bytes, bytes, int]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadMessage(400, f"request line {line[:60]!r} is not METHOD TARGET HTTP/1.1")
    method, target, version = parts
    if _TOKEN.fullmatch(method) is None:
        raise BadMessage(400, f"method {method[:40]!r} is not a token")
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    elif re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        raise BadMessage(505, f"version {version!r}; HTTP/1.1 and HTTP/1.0 are supported")
    else:
        raise BadMessage(400, f"request line {line[:60]!r} does not end in an HTTP version")
    if len(target) > target_bytes_max:
        raise BadMessage(414, f"target of {len(target)} octets; at most {target_bytes_max} are accepted")
    if _TARGET.fullmatch(target) is None:
        raise BadMessage(400, f"target {target[:60]!r} has a character that is not allowed")
    return method, target, minor


def _bad_codings(value: bytes) -> BadMessage:
    """400 where chunked is not the last coding or not the only chunked one; 501 where another comes before it."""
    names = [name.strip() for name in value.lower().split(b",")]
    status = 501 if names[-1] == b"chunked" and names.count(b"chunked") == 1 and b"" not in names else 400
    return BadMessage(status, f"Transfer-Encoding {value[:60]!r}; only chunked is supported")


def _is_authority(value: bytes) -> bool:
    if _AUTHORITY.fullmatch(value) is None:
        return False
    port = value.rpartition(b"]")[2].partition(b":")[2]
    return not port or int(port) < 65_536


def _read_authority(head: RequestHead) -> None:
    """Sets `authority` and brings `target` to origin-form (RFC 9112 sections 3.2 and 3.3)."""
    hosts = head.all(b"host") if head.flags & f.HOST else []
    if len(hosts) > 1:
        raise BadMessage(400, f"{len(hosts)} Host fields")
    if not hosts and head.minor == 1:
        raise BadMessage(400, "HTTP/1.1 request without Host")
    host = hosts[0] if hosts else b""
    if host and not _is_authority(host):
        raise BadMessage(400, f"Host {host[:60]!r} is not host or host:port")
    target = head.target
    if head.method == b"CONNECT":
        if not _is_authority(target) or b":" not in target.rpartition(b"]")[2]:
            raise BadMessage(400, f"CONNECT target {target[:60]!r} is not host:port")
        if head.has_body:
            raise BadMessage(400, "CONNECT with a body (RFC 9110 section 9.3.6 gives it no meaning)")
        head.authority = target.lower()
    elif target.startswith(b"/") or (target == b"*" and head.method == b"OPTIONS"):
        if not host and head.minor == 1:
            raise BadMessage(400, "empty Host (RFC 9110 section 4.2.1)")
        head.authority = host.lower()
    else:
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() != b"http":
            raise BadMessage(400, f"target {target[:60]!r} is neither /path nor http://authority/path")
        end = len(rest)
        for mark in (b"/", b"?"):
            at = rest.find(mark)
            if 0 <= at < end:
                end = at
        authority = rest[:end]
        if not _is_authority(authority):
            raise BadMessage(400, f"authority {authority[:60]!r} is not host or host:port")
        path = rest[end:]
        head.absolute = True
        head.authority = authority.lower()
        if not path:
            head.target = b"*" if head.method == b"OPTIONS" else b"/"
        else:
            head.target = path if path.startswith(b"/") else b"/" + path


def parse_response_head(raw: bytes, method: bytes, header_count_max: int = 128) -> ResponseHead:
    """A response's head from its first octet through the empty line, to a request of `method`.

    Raises `BadMessage`; its status is meaningless here, the client gets 502.
    """
    lines = raw[:-4].split(b"\r\n")
    match = _STATUS.fullmatch(lines[0])
    if match is None:
        raise BadMessage(502, f"status line {lines[0][:60]!r} is not HTTP/1.1 STATUS REASON")
    if len(lines) - 1 > header_count_max:
        raise BadMessage(502, f"{len(lines) - 1} field lines; at most {header_count_max} are accepted")
    fields: list[Field] = []
    flags = 0
    for index in range(1, len(lines)):
        field = parse_line(lines[index])
        flags |= field.flags
        fields.append(field)
    minor = 1 if match.group(1) == b"1" else 0
    head = ResponseHead(minor, fields, flags, int(match.group(2)), match.group(3) or b"")
    if flags & (f.CONNECTION | f.HOP):
        head._read_connection()
    chunked = head._read_framing("response") if flags & _LENGTH_OR_CODING else False
    status = head.status
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if chunked and (status < 200 or status == 204):
            raise BadMessage(502, f"{status} response with Transfer-Encoding")
        if status < 200 and (minor == 0 or head.content_length > 0):
            # HTTP/1.0 has no such responses (RFC 9110 section 15.2), and there are readers that wait for the body.
            raise BadMessage(502, f"{status} response of HTTP/1.0, or with a length")
        if head.content_length >= 0 and (status < 200 or status == 204):
            # They have no length (RFC 9110 section 8.6): a client that believed one would take the next response for the body.
            # Where the upstream of a 204 believes it, that body is still to come on this connection.
            head.keep_alive = head.keep_alive and head.content_length == 0
            head.content_length = -1
        head.body = NO_BODY
    elif method == b"CONNECT" and status < 300:
        head.body = NO_BODY
    elif chunked:
        head.body = CHUNKED
    elif head.content_length >= 0:
        head.body = LENGTH if head.content_length else NO_BODY
    else:
        head.body = UNTIL_CLOSE
        head.keep_alive = False
    return head


def read_port(authority: bytes, default: int) -> tuple[str, int]:
    """Host (brackets removed) and port of an authority. Raises `BadMessage` on a port past 65535."""
    host, colon, digits = authority.rpartition(b":")
    if not colon or authority.endswith(b"]"):
        return authority.decode("ascii").strip("[]"), default
    port = int(digits)
    if not 0 < port < 65_536:
        raise BadMessage(400, f"port {port} in {authority[:60]!r}")
    return host.decode("ascii").strip("[]"), port
