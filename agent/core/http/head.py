"""Message heads: request line or status line, fields, and what they say about framing (RFC 9112).

Nothing ambiguous gets past this file: two lengths, a length beside a transfer coding, a coding other than chunked, two
hosts, a target with a space or a control character are all errors, for requests and for responses alike.
"""

import re
from typing import Final

from agent.core.http import fields as f
from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field, parse_line
from agent.core.http.repeats import NO_OPTIONS, options_of, read_request_line, read_status_line

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3

_AUTHORITY: Final = re.compile(rb"(?:[0-9A-Za-z._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
LENGTH_DIGITS_MAX: Final = 18

_OWN_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"proxy-connection", b"http2-settings"})
"""Options that name no field, or one that never passes."""
_CONNECTION_OR_HOP: Final = f.CONNECTION | f.HOP
_LENGTH_OR_CODING: Final = f.CONTENT_LENGTH | f.TRANSFER_ENCODING
NON_REPEATABLE_METHODS: Final = frozenset({b"POST", b"PATCH", b"CONNECT"})


class Head:
    """What requests and responses share. `fields` keep their order, case and raw bytes; `flags` is the OR of theirs."""

    __slots__ = ("content_length", "fields", "flags", "keep_alive", "length_line", "minor", "options")

    def __init__(self, minor: int, fields: list[Field], flags: int) -> None:
        self.minor = minor
        self.fields = fields
        self.flags = flags
        self.keep_alive = minor == 1
        self.content_length = -1
        """Octets of the body where Content-Length says so, else -1."""
        self.length_line = b""
        """The line that said so, where it may go on as it is."""
        self.options: frozenset[bytes] | None = None
        """Those of Connection, once they have been asked for."""

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
        known = self.options
        if known is not None:
            return known
        value: bytes | None = None
        for field in self.fields:
            if field.flags & _CONNECTION_OR_HOP and (field.name == b"connection" or field.name == b"proxy-connection"):
                value = field.value if value is None else value + b"," + field.value
        found = options_of(value) if value is not None else NO_OPTIONS
        self.options = found
        return found

    def named_by_connection(self) -> frozenset[bytes]:
        """The fields that Connection makes hop-by-hop and that are not so by themselves (RFC 9110 section 7.6.1)."""
        if not self.flags & _CONNECTION_OR_HOP:
            return NO_OPTIONS
        options = self.connection_options()
        return NO_OPTIONS if options <= _OWN_OPTIONS else options

    def _read_connection(self) -> None:
        options = self.connection_options()
        if b"close" in options:
            self.keep_alive = False
        elif b"keep-alive" in options:
            self.keep_alive = True

    def _read_framing(self, kind: str) -> bool:
        """Sets `content_length`; true where the body is chunked."""
        lengths = 0
        codings = 0
        length = b""
        line = b""
        coding = b""
        for field in self.fields:
            if field.flags & f.CONTENT_LENGTH:
                lengths += 1
                length = field.value
                line = field.line
            elif field.flags & f.TRANSFER_ENCODING:
                codings += 1
                coding = field.value if codings == 1 else coding + b"," + field.value
        if codings:
            if lengths:
                raise BadMessage(400, f"{kind} with both Content-Length and Transfer-Encoding")
            if self.minor == 0:
                raise BadMessage(400, f"HTTP/1.0 {kind} with Transfer-Encoding")
            if codings > 1 or coding.lower() != b"chunked":
                raise _bad_codings(coding)
            return True
        if lengths > 1:
            raise BadMessage(400, f"{lengths} Content-Length fields")
        if not length.isdigit() or len(length) > LENGTH_DIGITS_MAX:
            raise BadMessage(400, f"Content-Length {length[:40]!r} is not a number of octets")
        self.content_length = int(length)
        if length[:1] != b"0" or len(length) == 1:
            self.length_line = line
        return False


class RequestHead(Head):
    """A request's head. May be shared by many requests with the same bytes: immutable but for the slots that memoise."""

    __slots__ = ("absolute", "authority", "chunked", "line", "memo", "memo_of", "method", "prefix", "prefix_client", "target", "upgrade")

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
        self.line = b""
        """The request line as it came."""
        self.prefix = b""
        """The head for the upstream up to what differs for each request, made for `prefix_client`; valid as `memo` is."""
        self.prefix_client = b""

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def has_body(self) -> bool:
        return self.chunked or self.content_length > 0


class ResponseHead(Head):
    """A response's head. `body` (of `NO_BODY`, `LENGTH`, `CHUNKED`, `UNTIL_CLOSE`) depends on the request's method too."""

    __slots__ = ("body", "reason", "status", "status_line", "wire", "wire_for", "wire_policy")

    def __init__(self, minor: int, fields: list[Field], flags: int, status: int, reason: bytes) -> None:
        super().__init__(minor, fields, flags)
        self.status = status
        self.reason = reason
        self.body = NO_BODY
        self.status_line = b""
        """As the agent sends it on; empty in a head that was not parsed."""
        self.wire = b""
        """The head as it was last sent on, under `wire_policy` and in the circumstances `wire_for` (forwarding)."""
        self.wire_policy: object = None
        self.wire_for = -1


def parse_request_head(raw: bytes, header_count_max: int = 128, target_bytes_max: int = 16_384) -> RequestHead:
    """A request's head from its first octet through the empty line. Raises `BadMessage` with the status to answer."""
    lines = raw[:-4].split(b"\r\n")
    first = read_request_line(lines[0], target_bytes_max)
    if len(lines) - 1 > header_count_max:
        raise BadMessage(431, f"{len(lines) - 1} field lines; at most {header_count_max} are accepted")
    fields: list[Field] = []
    flags = 0
    for index in range(1, len(lines)):
        field = parse_line(lines[index])
        flags |= field.flags
        fields.append(field)
    head = RequestHead(first.minor, fields, flags, first.method, first.target)
    head.line = lines[0]
    if flags & (f.CONNECTION | f.HOP):
        head._read_connection()
    if flags & _LENGTH_OR_CODING:
        head.chunked = head._read_framing("request")
    _read_authority(head)
    if flags & f.UPGRADE and first.minor == 1 and b"upgrade" in head.connection_options():
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


AUTHORITIES_MAX: Final = 1024
_authorities: Final[dict[bytes, bytes]] = {}
"""Values of Host that were found good, and how they are compared."""


def _read_authority(head: RequestHead) -> None:
    """Sets `authority` and brings `target` to origin-form (RFC 9112 sections 3.2 and 3.3)."""
    host = b""
    hosts = 0
    if head.flags & f.HOST:
        for field in head.fields:
            if field.flags & f.HOST:
                hosts += 1
                host = field.value
    if hosts > 1:
        raise BadMessage(400, f"{hosts} Host fields")
    if not hosts and head.minor == 1:
        raise BadMessage(400, "HTTP/1.1 request without Host")
    target = head.target
    known = _authorities.get(host)
    if known is not None and target.startswith(b"/") and head.method != b"CONNECT":
        head.authority = known
        return
    if host and not _is_authority(host):
        raise BadMessage(400, f"Host {host[:60]!r} is not host or host:port")
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
        if host:
            if len(_authorities) >= AUTHORITIES_MAX:
                _authorities.clear()
            _authorities[host] = head.authority
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


RESPONSES_MAX: Final = 1024
"""Response heads that are remembered, each seen twice within some thousands."""
RESPONSE_BYTES_MAX: Final = 2048
SEEN_MAX: Final = 4096
_responses: Final[dict[bytes, ResponseHead]] = {}
_responses_seen: Final[set[int]] = set()


def response_head(raw: bytes, method: bytes, header_count_max: int = 128) -> ResponseHead:
    """`parse_response_head` behind a memo of whole heads: within a second (Date) a busy upstream repeats itself. The result may be
    shared and is not to be changed. Raises `BadMessage`."""
    if method == b"HEAD" or method == b"CONNECT" or len(raw) > RESPONSE_BYTES_MAX:
        return parse_response_head(raw, method, header_count_max)
    known = _responses.get(raw)
    if known is not None and len(known.fields) <= header_count_max:
        return known
    head = parse_response_head(raw, method, header_count_max)
    if head.flags & f.SET_COOKIE:
        return head  # what one client is told should not outlive its message
    mark = hash(raw)
    if mark not in _responses_seen:
        if len(_responses_seen) >= SEEN_MAX:
            _responses_seen.clear()
        _responses_seen.add(mark)
        return head
    if len(_responses) >= RESPONSES_MAX:
        _responses.clear()
    _responses[raw] = head
    return head


def parse_response_head(raw: bytes, method: bytes, header_count_max: int = 128) -> ResponseHead:
    """A response's head from its first octet through the empty line, to a request of `method`.

    Raises `BadMessage`; its status is meaningless here, the client gets 502.
    """
    lines = raw[:-4].split(b"\r\n")
    first = read_status_line(lines[0])
    if len(lines) - 1 > header_count_max:
        raise BadMessage(502, f"{len(lines) - 1} field lines; at most {header_count_max} are accepted")
    fields: list[Field] = []
    flags = 0
    for index in range(1, len(lines)):
        field = parse_line(lines[index])
        flags |= field.flags
        fields.append(field)
    minor = first.minor
    head = ResponseHead(minor, fields, flags, first.status, first.reason)
    head.status_line = first.line
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
            head.length_line = b""
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
