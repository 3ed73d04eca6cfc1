"""Deadlines that clients send along: ``X-Request-Timeout-Ms``, and the ``grpc-timeout`` form (gRPC over HTTP/2, Requests)."""

import re
from typing import Final

from agent.core.http.head import RequestHead

_GRPC = re.compile(rb"(\d{1,8})([HMSmun])")
_UNIT_S: Final[dict[bytes, float]] = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def deadline_of(head: RequestHead) -> float | None:
    """Seconds that the client gives the request, the shorter where both fields are there; None without a usable one."""
    best: float | None = None
    value = head.get(b"x-request-timeout-ms")
    if value is not None and value.isdigit() and len(value) <= 9:
        best = int(value) / 1000.0
    value = head.get(b"grpc-timeout")
    if value is not None:
        match = _GRPC.fullmatch(value)
        if match is not None:
            seconds = int(match.group(1)) * _UNIT_S[match.group(2)]
            if best is None or seconds < best:
                best = seconds
    return best


def format_timeout_ms(seconds: float) -> bytes:
    """The value of X-Request-Timeout-Ms for what is left, at least 1."""
    return b"%d" % max(1, int(seconds * 1000.0))
