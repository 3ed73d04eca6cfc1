"""Heads as they leave the agent: hop-by-hop fields removed, Via and forwarding fields added (RFC 9110 section 7.6)."""

from typing import Final

from agent.core.http import fields as f
from agent.core.http.config import HeaderPolicy
from agent.core.http.edits import HeaderEdits
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead, ResponseHead
from agent.core.http.trace import has_trace

FRAME_NONE: Final = 0
"""Nothing said about a body: there is none (1xx, 204, 304, or HEAD of a message without a length)."""
FRAME_LENGTH: Final = 1
"""Content-Length as the message has it, or 0."""
FRAME_CHUNKED: Final = 2
FRAME_CLOSE: Final = 3

_CRLF: Final = b"\r\n"
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_CONDITIONALS: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"})

_FRAMING: Final = f.CONTENT_LENGTH | f.TRANSFER_ENCODING
"""Written anew from what the parser made of them: no Connection option, rule or plugin may take a body's framing away."""
_REQUEST_DROPS: Final = f.HOST | f.CONNECTION | f.HOP | _FRAMING | f.VIA | f.FORWARDED | f.DEADLINE | f.WHY | f.TE | f.TRAILER
_TRACE: Final = f.TRACEPARENT | f.TRACESTATE
_RESPONSE_DROPS: Final = f.CONNECTION | f.HOP | _FRAMING | f.VIA | f.CACHE_STATUS | f.SERVER | f.TRAILER


def request_prefix(
    head: RequestHead,
    policy: HeaderPolicy,
    target: bytes,
    authority: bytes,
    client: bytes,
    edits: HeaderEdits | None,
    extra: list[Field],
    strip_conditionals: bool,
    removed: frozenset[bytes] = _NO_OPTIONS,
) -> bytes:
    """Request line and fields for the upstream, each ending in CRLF, without the empty line: the caller adds what differs
    from request to request.

    target, authority: after any rewrite; client: its address, empty where unknown; extra: fields of plugins, which take the
    place of the client's of the same name, as `removed` ones are left out;
    strip_conditionals: leave out If-* and Range (the agent validates for itself).
    """
    lines = [b"%b %b HTTP/1.1" % (head.method, target), b"Host: " + authority]
    fields = head.fields
    if edits is not None:
        fields = edits.apply(fields)
    named = head.named_by_connection()
    replaced = removed
    if extra:
        replaced = replaced | frozenset([field.name for field in extra])
    drops = _REQUEST_DROPS
    if head.flags & _TRACE and not has_trace(head):
        drops |= _TRACE
    unplain = strip_conditionals or len(named) > 0 or len(replaced) > 0
    for field in fields:
        if field.flags & drops and not _kept_in_request(field, policy):
            continue
        if unplain:
            name = field.name
            if name in named or name in replaced or (strip_conditionals and name in _CONDITIONALS):
                continue
        lines.append(field.line)
    for field in extra:
        if not field.flags & _FRAMING:
            lines.append(field.line)
    if head.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.content_length >= 0:
        lines.append(b"Content-Length: %d" % head.content_length)
    if head.upgrade:
        lines.append(b"Connection: upgrade")
        lines.append(b"Upgrade: " + head.upgrade)
    elif head.flags & f.TE and b"trailers" in (head.get(b"te") or b"").lower():
        lines.append(b"Connection: TE")
        lines.append(b"TE: trailers")
    if head.minor == 1 and not head.flags & (f.VIA | f.FORWARDED):
        return _CRLF.join(lines) + _CRLF + _tails.tail(head, policy, client)
    _add_tail(lines, head, policy, client)
    lines.append(b"")
    return _CRLF.join(lines)


def _add_tail(lines: list[bytes], head: RequestHead, policy: HeaderPolicy, client: bytes) -> None:
    if policy.via:
        lines.append(_via(head.get(b"via") if head.flags & f.VIA else None, head.minor, policy.via))
    elif head.flags & f.VIA:
        lines.append(b"Via: " + (head.get(b"via") or b""))
    _forwarded(lines, head, policy, client)


TAILS_MAX: Final = 1024


class Tails:
    """What is added to requests over HTTP/1.1 that come without Via and forwarding fields: it depends on the client and the
    authority alone, and is remembered for the policy in force."""

    def __init__(self) -> None:
        self.policy: HeaderPolicy | None = None
        self.known: dict[bytes, bytes] = {}

    def tail(self, head: RequestHead, policy: HeaderPolicy, client: bytes) -> bytes:
        if policy is not self.policy or len(self.known) >= TAILS_MAX:
            self.policy = policy
            self.known = {}
        key = client + b" " + head.authority
        tail = self.known.get(key)
        if tail is None:
            lines: list[bytes] = []
            _add_tail(lines, head, policy, client)
            lines.append(b"")
            tail = _CRLF.join(lines)
            self.known[key] = tail
        return tail


_tails: Final = Tails()


def _kept_in_request(field: Field, policy: HeaderPolicy) -> bool:
    """Dropped fields that are written anew below are not kept; X-Forwarded-Port has no new form and is, when trusted."""
    return field.name == b"x-forwarded-port" and policy.trust_forwarded


def _via(earlier: bytes | None, minor: int, pseudonym: str) -> bytes:
    own = b"1.%d %b" % (minor, pseudonym.encode("latin-1"))
    return b"Via: " + (earlier + b", " + own if earlier else own)


VIAS_MAX: Final = 64
_vias: Final[dict[str, bytes]] = {}


def _own_via(pseudonym: str) -> bytes:
    """The line for a response over HTTP/1.1 that had none, the commonest."""
    line = _vias.get(pseudonym)
    if line is None:
        line = _via(None, 1, pseudonym)
        if len(_vias) >= VIAS_MAX:
            _vias.clear()
        _vias[pseudonym] = line
    return line


def _forwarded(lines: list[bytes], head: RequestHead, policy: HeaderPolicy, client: bytes) -> None:
    """X-Forwarded-* (the names that proxies agree on) and Forwarded (RFC 7239)."""
    mode = policy.forwarded
    keep = policy.trust_forwarded and head.flags & f.FORWARDED != 0
    if mode == "off":
        if keep:
            for field in head.fields:
                if field.flags & f.FORWARDED:
                    lines.append(field.line)
        return
    if mode == "x-forwarded" or mode == "both":
        earlier = head.get(b"x-forwarded-for") if keep else None
        if client:
            lines.append(b"X-Forwarded-For: " + (earlier + b", " + client if earlier else client))
        elif earlier:
            lines.append(b"X-Forwarded-For: " + earlier)
        lines.append(b"X-Forwarded-Proto: " + ((head.get(b"x-forwarded-proto") if keep else None) or b"http"))
        host = (head.get(b"x-forwarded-host") if keep else None) or head.authority
        if host:
            lines.append(b"X-Forwarded-Host: " + host)
    if mode == "forwarded" or mode == "both":
        node = b'"[%b]"' % client if b":" in client else client or b"unknown"
        own = b"for=%b;proto=http" % node
        if head.authority:
            own += b';host="%b"' % head.authority
        earlier = head.get(b"forwarded") if keep else None
        lines.append(b"Forwarded: " + (earlier + b", " + own if earlier else own))


def forward_response_head(
    head: ResponseHead,
    policy: HeaderPolicy,
    edits: HeaderEdits | None,
    own: bytes,
    framing: int,
    client_minor: int,
    keep_alive: bool,
    date: bytes,
) -> bytes:
    """A response's head for the client, with its empty line.

    own: whole lines of the agent's (Cache-Status and the like); framing: one of FRAME_*; date: for a response without Date
    (RFC 9110 section 6.6.1).
    """
    shared = edits is None and not head.flags & f.CACHE_STATUS and head.flags & f.DATE != 0
    circumstances = framing << 2 | client_minor << 1 | keep_alive
    if shared and head.wire_policy is policy and head.wire_for == circumstances:
        return head.wire + own + _CRLF
    lines = _response_lines(head, policy, edits, framing)
    flags = head.flags
    if not flags & f.DATE and head.status >= 200:
        lines.append(b"Date: " + date)
    if framing == FRAME_CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif framing == FRAME_LENGTH:
        lines.append(head.length_line or b"Content-Length: %d" % max(head.content_length, 0))
    via = policy.via
    if via:
        if flags & f.VIA or head.minor == 0:
            lines.append(_via(head.get(b"via") if flags & f.VIA else None, head.minor, via))
        else:
            lines.append(_own_via(via))
    elif flags & f.VIA:
        lines.append(b"Via: " + (head.get(b"via") or b""))
    if flags & f.CACHE_STATUS and not own:
        lines.append(b"Cache-Status: " + (head.get(b"cache-status") or b""))
    elif flags & f.CACHE_STATUS:
        # RFC 9211 section 2: the list begins with the cache closest to the origin.
        own = b"Cache-Status: " + (head.get(b"cache-status") or b"") + _CRLF + own
    if not keep_alive:
        lines.append(b"Connection: close")
    elif client_minor == 0:
        lines.append(b"Connection: keep-alive")
    lines.append(b"")
    wire = _CRLF.join(lines)
    if shared:
        head.wire = wire
        head.wire_policy = policy
        head.wire_for = circumstances
    return wire + own + _CRLF


def _response_lines(head: ResponseHead, policy: HeaderPolicy, edits: HeaderEdits | None, framing: int) -> list[bytes]:
    """The status line and the fields that go on as they came."""
    lines = [head.status_line]
    fields = head.fields
    if edits is not None:
        fields = edits.apply(fields)
    if head.flags & _RESPONSE_DROPS:
        named = head.named_by_connection()
        for field in fields:
            if field.flags & _RESPONSE_DROPS and not _kept_in_response(field, policy, framing):
                continue
            if not named or field.name not in named:
                lines.append(field.line)
    else:
        for field in fields:
            if not field.flags & _FRAMING:
                lines.append(field.line)
    return lines


def _kept_in_response(field: Field, policy: HeaderPolicy, framing: int) -> bool:
    if field.flags & f.TRAILER:
        return framing == FRAME_CHUNKED
    return bool(field.flags & f.SERVER) and policy.server == "pass"


def via_count(head: RequestHead, pseudonym: str) -> int:
    """How often the request has passed a proxy of this name."""
    own = pseudonym.encode("latin-1")
    count = 0
    for value in head.all(b"via"):
        for hop in value.split(b","):
            words = hop.split()
            if len(words) >= 2 and words[1] == own:
                count += 1
    return count
