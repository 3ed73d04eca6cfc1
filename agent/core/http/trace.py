"""Trace context (W3C Trace Context, level 1, sections 3.2 and 3.3): whether what a request carries may be passed on."""

import re
from typing import Final

from agent.core.http import fields as f
from agent.core.http.head import RequestHead

_TRACE_PARENT: Final = re.compile(rb"([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")

_VERSION_00: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


def is_trace_parent(value: bytes) -> bool:
    """A traceparent of version 00, or of a later one as far as it can be understood. Neither id may be all zeros."""
    if _VERSION_00.fullmatch(value) is not None:  # nearly all there are
        return value[3:35] != _NO_TRACE and value[36:52] != _NO_PARENT
    match = _TRACE_PARENT.fullmatch(value)
    if match is None:
        return False
    version = match.group(1)
    return version != b"ff" and (version != b"00" or match.group(2) is None)


def has_trace(head: RequestHead) -> bool:
    """Whether the request belongs to a trace: exactly one traceparent, and a good one.

    Where it does not, neither its traceparent nor its tracestate goes on (section 4.3: tracestate means nothing without it).
    """
    if not head.flags & f.TRACEPARENT:
        return False
    value = head.get(b"traceparent")
    return value is not None and is_trace_parent(value)
