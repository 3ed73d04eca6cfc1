"""What an unsafe request makes stale (RFC 9111 section 4.4)."""

from typing import Final
from urllib.parse import urljoin, urlsplit

from agent.core.http.head import RequestHead, ResponseHead

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT"})


def invalidated_targets(request: RequestHead, response: ResponseHead) -> list[tuple[bytes, bytes]]:
    """(host, target) of every URL whose stored responses no longer hold: the request's, and those in Location and
    Content-Location on the same origin. Empty for safe methods and for errors."""
    if request.method in SAFE or not 200 <= response.status < 400:
        return []
    found = [(request.authority, request.target)]
    for name in (b"location", b"content-location"):
        value = response.get(name)
        target = same_origin_target(request, value) if value else None
        if target is not None and target != request.target and (request.authority, target) not in found:
            found.append((request.authority, target))
    return found


def same_origin_target(request: RequestHead, reference: bytes) -> bytes | None:
    """The target of a reference in a response (Location and the like), where it is on the request's origin."""
    base = "http://" + request.authority.decode("latin-1") + request.target.decode("latin-1")
    try:
        parts = urlsplit(urljoin(base, reference.decode("latin-1")))
    except ValueError:
        return None
    if parts.netloc.lower().encode("latin-1") != request.authority:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target.encode("latin-1")
