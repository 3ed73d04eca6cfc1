"""The one room where errors become responses: small problem+json documents (RFC 9457) that name the agent and the reason."""

import json
from http import HTTPStatus
from typing import Final

from agent.proxy.sink import Failure

_PHRASES: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def phrase(status: int) -> bytes:
    """The reason phrase of a status code."""
    return _PHRASES.get(status, b"")


def problem(failure: Failure, agent_id: str, date: bytes, keep_alive: bool, with_body: bool = True) -> bytes:
    """The whole response to a failed request, ready to be written."""
    document = {
        "title": phrase(failure.status).decode("ascii"),
        "status": failure.status,
        "detail": failure.detail,
        "agent": agent_id,
        "reason": failure.flag,
    }
    body = json.dumps(document, ensure_ascii=True).encode("ascii") + b"\n"
    lines = [
        b"HTTP/1.1 %d %s" % (failure.status, phrase(failure.status)),
        b"Date: " + date,
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"X-Pilotfish-Reason: " + failure.flag.encode("ascii"),
    ]
    if failure.retry_after_s > 0.0:
        lines.append(b"Retry-After: %d" % max(1, int(failure.retry_after_s + 0.999)))
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if with_body else b"")


def plain(status: int, fields: list[tuple[bytes, bytes]], body: bytes, date: bytes, keep_alive: bool, with_body: bool) -> bytes:
    """A whole response of the agent's own that is no error: a redirect, a configured answer, a plugin's answer."""
    lines = [b"HTTP/1.1 %d %s" % (status, phrase(status)), b"Date: " + date]
    for name, value in fields:
        lines.append(name + b": " + value)
    if status >= 200 and status != 204 and status != 304:
        lines.append(b"Content-Length: %d" % len(body))
    else:
        body = b""
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if with_body else b"")
