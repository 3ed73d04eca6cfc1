"""Deadlines that clients send along: ``X-Request-Timeout-Ms``, and the ``grpc-timeout`` form (gRPC over HTTP/2, Requests)."""

import re
from typing import Final

from agent.core.http.head import RequestHead

_GRPC: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_LINES: Final = re.compile(rb"(\r\n(?:X-Request-Timeout-Ms|grpc-timeout): )(\d+)")
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


def deadline_lines(head: RequestHead, left_s: float) -> bytes:
    """What is left, for the upstream, in the form or forms that the client used; at least 1 ms."""
    left_ms = max(1, int(left_s * 1000.0))
    lines = b"X-Request-Timeout-Ms: %d\r\n" % left_ms
    if head.get(b"grpc-timeout") is not None:
        lines += b"grpc-timeout: %dm\r\n" % min(left_ms, 99_999_999)
    return lines


def with_less_time(wire: bytes, spent_s: float) -> bytes:
    """A head that `deadline_lines` went into, for a later try: with the time that the earlier ones took taken off."""
    spent_ms = int(spent_s * 1000.0)
    return _LINES.sub(lambda found: found.group(1) + b"%d" % max(1, int(found.group(2)) - spent_ms), wire)
