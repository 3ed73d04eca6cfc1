"""What messages repeat from one to the next, read once and remembered within bounds: request lines, status lines, and the options
of Connection."""

import re
from typing import Final

from agent.core.http.errors import BadMessage

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[!\"$-;=?-~]+")  # visible ASCII without # < >
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")


class RequestLine:
    """A request line that was found good."""

    __slots__ = ("method", "minor", "target")

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor


REQUEST_LINES_MAX: Final = 2048
REQUEST_LINE_BYTES_MAX: Final = 512
_request_lines: Final[dict[bytes, RequestLine]] = {}


def read_request_line(line: bytes, target_bytes_max: int) -> RequestLine:
    """Parsed, or remembered. Raises `BadMessage`."""
    known = _request_lines.get(line)
    if known is not None and len(known.target) <= target_bytes_max:
        return known
    method, target, minor = _request_line(line, target_bytes_max)
    read = RequestLine(method, target, minor)
    if len(line) <= REQUEST_LINE_BYTES_MAX:
        if len(_request_lines) >= REQUEST_LINES_MAX:
            _request_lines.clear()
        _request_lines[line] = read
    return read


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


class StatusLine:
    """A status line: HTTP minor version, status, reason, and the line as the agent sends it on."""

    __slots__ = ("line", "minor", "reason", "status")

    def __init__(self, minor: int, status: int, reason: bytes) -> None:
        self.minor = minor
        self.status = status
        self.reason = reason
        self.line = b"HTTP/1.1 %d %s" % (status, reason)


STATUS_LINES_MAX: Final = 256
_status_lines: Final[dict[bytes, StatusLine]] = {}


def read_status_line(line: bytes) -> StatusLine:
    """Parsed, or remembered: there are few of them. Raises `BadMessage`."""
    known = _status_lines.get(line)
    if known is not None:
        return known
    match = _STATUS.fullmatch(line)
    if match is None:
        raise BadMessage(502, f"status line {line[:60]!r} is not HTTP/1.1 STATUS REASON")
    known = StatusLine(1 if match.group(1) == b"1" else 0, int(match.group(2)), match.group(3) or b"")
    if len(line) <= STATUS_LINES_MAX:
        if len(_status_lines) >= STATUS_LINES_MAX:
            _status_lines.clear()
        _status_lines[line] = known
    return known


OPTIONS_MAX: Final = 256
"""Values of Connection that are remembered."""
NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_options: Final[dict[bytes, frozenset[bytes]]] = {}


def options_of(value: bytes) -> frozenset[bytes]:
    """The lower-case options in a value of Connection."""
    found = _options.get(value)
    if found is None:
        options = {option.strip() for option in value.lower().split(b",")}
        options.discard(b"")
        found = frozenset(options)
        if len(value) <= OPTIONS_MAX:
            if len(_options) >= OPTIONS_MAX:
                _options.clear()
            _options[value] = found
    return found
