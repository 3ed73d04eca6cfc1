"""What plugins decide about a request, checked and put together."""

from collections.abc import Mapping
from typing import Any, Final

from agent.core.http.fields import Field, make_field
from agent.core.http.head import RequestHead
from agent.hooks import REQUEST_RESERVED, RESPONSE_RESERVED, Answer, RequestChanges

_REQUEST_RESERVED: Final = frozenset(name.encode("ascii") for name in REQUEST_RESERVED)
_RESPONSE_RESERVED: Final = frozenset(name.encode("ascii") for name in RESPONSE_RESERVED)


def request_fields(headers: Mapping[str, str]) -> list[Field]:
    """Fields that a plugin sets on a request. Raises ValueError (or what a wrong type raises) on one that may not be."""
    return _fields(headers, _REQUEST_RESERVED)


def response_fields(headers: Mapping[str, str]) -> list[Field]:
    """The same for a response."""
    return _fields(headers, _RESPONSE_RESERVED)


def _fields(headers: Mapping[str, str], reserved: frozenset[bytes]) -> list[Field]:
    found = []
    for name, value in headers.items():
        field = make_field(name.encode("latin-1"), value.encode("latin-1"))
        if field.name in reserved:
            raise ValueError(f"header {name} is the agent's own to write")
        found.append(field)
    return found


def names(headers: tuple[str, ...]) -> frozenset[bytes]:
    """Names to remove, as fields have them."""
    return frozenset([name.lower().encode("latin-1") for name in headers])


def changed_head(head: RequestHead, fields: list[Field], removed: frozenset[bytes]) -> RequestHead:
    """The head as it is after the changes; the one given may be shared and is not touched. What the agent parsed out of the
    first one (authority, framing, upgrade) stays."""
    dropped = removed | {field.name for field in fields}
    kept = [field for field in head.fields if field.name not in dropped]
    kept.extend(fields)
    flags = 0
    for field in kept:
        flags |= field.flags
    fresh = RequestHead(head.minor, kept, flags, head.method, head.target)
    fresh.authority = head.authority
    fresh.absolute = head.absolute
    fresh.chunked = head.chunked
    fresh.upgrade = head.upgrade
    fresh.content_length = head.content_length
    fresh.keep_alive = head.keep_alive
    return fresh


class Decision:
    """What all plugins together made of one request."""

    __slots__ = ("answer", "body_bytes_max", "cache_suffix", "fields", "head", "reason", "removed", "service", "view", "wants")

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        """As changed so far."""
        self.answer: tuple[int, list[tuple[bytes, bytes]], bytes] | None = None
        """Status, fields and body in place of what would have come."""
        self.reason = ""
        self.fields: list[Field] = []
        self.removed: frozenset[bytes] = frozenset()
        self.service = ""
        self.cache_suffix = b""
        self.body_bytes_max = 0
        self.wants: list[tuple[Any, int]] = []
        """Who is to be called with the body, and how much of it at most."""
        self.view: Any = None

    def take_answer(self, answer: Answer) -> None:
        """Raises ValueError or TypeError where it is no response."""
        status, body = answer.status, answer.body
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"answered with status {status!r}, expected 200 to 599")
        if not isinstance(body, bytes):
            raise TypeError(f"answered with a body of type {type(body).__name__}, expected bytes")
        fields = [(field.line.partition(b":")[0], field.value) for field in response_fields(answer.headers)]
        self.reason = str(answer.reason)
        self.answer = (status, fields, body)

    def take_changes(self, entry: Any, changes: RequestChanges, services: Mapping[str, object]) -> bool:
        """True where they change fields. Nothing is taken where they raise ValueError or TypeError."""
        fields = request_fields(changes.set_headers)
        removed = names(tuple(changes.remove_headers))
        if reserved := removed & _REQUEST_RESERVED & _FRAMING:
            raise ValueError(f"header {sorted(reserved)[0].decode()} is the agent's own to remove")
        if changes.service and changes.service not in services:
            raise ValueError(f"chose the service {changes.service!r}, which is not configured")
        suffix = b"\x00" + changes.cache_key.encode("utf-8") if changes.cache_key else b""
        limit, wanted = int(changes.body_bytes_max), int(changes.copy_body_bytes)
        self.service = changes.service or self.service
        self.cache_suffix += suffix
        if limit > 0 and (self.body_bytes_max == 0 or limit < self.body_bytes_max):
            self.body_bytes_max = limit
        if wanted >= 0:
            self.wants.append((entry, wanted))
        if not fields and not removed:
            return False
        self.head = changed_head(self.head, fields, removed)
        replaced = removed | {field.name for field in fields}
        self.fields = [field for field in self.fields if field.name not in replaced] + fields
        self.removed |= removed
        return True


_FRAMING: Final = frozenset({b"host", b"connection", b"proxy-connection", b"content-length", b"transfer-encoding", b"upgrade", b"te"})


class BodyCopy:
    """A request's body on its way, kept for the plugins that asked for it as far as the largest of them wants it."""

    __slots__ = ("_host", "_most", "_pieces", "_size", "_view", "_wants")

    def __init__(self, host: Any, view: Any, wants: list[tuple[Any, int]]) -> None:
        self._host = host
        self._view = view
        self._wants = wants
        self._most = max(most for _, most in wants)
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Some more octets."""
        self._size += len(piece)
        if self._size <= self._most:
            self._pieces.append(piece)
        else:
            self._pieces = []

    def end(self) -> None:
        """The body is whole."""
        body = b"".join(self._pieces)
        for entry, most in self._wants:
            self._host.request_body(entry, self._view, body if self._size <= most else None)
