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
    base = "http://" + request.authority.decode("latin-1") + request.target.decode("latin-1")
    for name in (b"location", b"content-location"):
        value = response.get(name)
        if not value:
            continue
        try:
            parts = urlsplit(urljoin(base, value.decode("latin-1")))
        except ValueError:
            continue
        if parts.netloc.lower().encode("latin-1") == request.authority:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            pair = (request.authority, target.encode("latin-1"))
            if pair not in found:
                found.append(pair)
    return found
