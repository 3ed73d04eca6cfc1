"""The head that an upstream gets, put together from what is the same for a repeated head and what is not."""

from agent.core.http import fields as f
from agent.core.http.fields import Field
from agent.core.http.forwarding import request_prefix
from agent.core.http.trace import has_trace
from agent.core.routing.deadline import deadline_lines
from agent.proxy.datapath import RoutePolicy
from agent.proxy.exchange import Exchange


def upstream_wire(exchange: Exchange, policy: RoutePolicy, extra: list[Field], strip_conditionals: bool) -> bytes:
    """Request line and fields, ending in the empty line.

    extra: validators of a stored response; strip_conditionals: leave out the client's own, which are answered from what the
    validation brings.
    """
    head = exchange.head
    if head.method == b"CONNECT":
        return b""
    path = exchange.path
    plan = exchange.plan
    special = (
        strip_conditionals or bool(exchange.extra_request_fields) or bool(exchange.removed_request_fields) or exchange.rewritten is not None
    )
    if special:
        prefix = _prefix(exchange, strip_conditionals)
    elif head.prefix and head.prefix_client == exchange.connection.client and head.memo is plan:
        prefix = head.prefix
    else:
        prefix = _prefix(exchange, False)
        if head.memo is plan:
            head.prefix = prefix
            head.prefix_client = exchange.connection.client
    flags = head.flags
    tail = b""
    policy_headers = path.headers
    if policy_headers.request_id and not flags & f.REQUEST_ID:
        if not exchange.request_id:
            exchange.request_id = path.request_id()
        tail = b"X-Request-Id: " + exchange.request_id + b"\r\n"
    if policy_headers.trace_sample > 0.0 and not has_trace(head):
        if path.random_u32() < policy_headers.trace_sample * 4294967296.0:
            tail += b"traceparent: " + path.trace_parent() + b"\r\n"
    if exchange.deadline > 0.0:
        tail += deadline_lines(head, exchange.deadline - path.now)
    for field in extra:
        tail += field.line + b"\r\n"
    return prefix + tail + b"\r\n"


def _prefix(exchange: Exchange, strip_conditionals: bool) -> bytes:
    target = exchange.plan.target
    edits = target.request_edits if target is not None else None
    rewritten = exchange.rewritten
    return request_prefix(
        exchange.head,
        exchange.path.headers,
        rewritten[0] if rewritten is not None else exchange.head.target,
        rewritten[1] if rewritten is not None else exchange.head.authority,
        exchange.connection.client,
        edits,
        exchange.extra_request_fields,
        strip_conditionals,
        exchange.removed_request_fields,
    )
