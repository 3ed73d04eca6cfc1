"""The way of a request, top to bottom. Each layer may answer; what none answers goes to the cache or to an upstream.

The commonest case, a plain request for a fresh stored response, is answered by `agent.proxy.client` before it gets here,
from the plan that `plan_for` left on the head.
"""

from typing import Any, Final

from agent.core.cache.rules import may_lookup, primary_key
from agent.core.http import fields as f
from agent.core.http.errors import BadMessage
from agent.core.http.forwarding import via_count
from agent.core.http.head import RequestHead, read_port
from agent.core.routing.deadline import deadline_of
from agent.core.routing.endpoint import hash_of
from agent.core.routing.table import RouteTarget
from agent.proxy import counters, flags
from agent.proxy.datapath import RoutePolicy
from agent.proxy.exchange import Exchange
from agent.proxy.gate import KIND_NAMES, TRANSPARENT, Gate, Plan
from agent.proxy.lookup import Lookup, start_forward
from agent.proxy.plugins import RequiredPluginFault
from agent.proxy.reply import Downstream
from agent.proxy.sink import Failure
from agent.proxy.story import Story, note_look

LOOP_MAX: Final = 8
"""A request that has passed this agent's pseudonym so often goes in circles."""

_NOT_PLAIN: Final = f.CACHE_CONTROL | f.PRAGMA | f.RANGE | f.CONDITIONAL | f.WHY | f.EXPECT | f.HOP | f.CONTENT_LENGTH | f.TRANSFER_ENCODING
_OF_ITS_OWN: Final = _NOT_PLAIN | f.CONNECTION | f.UPGRADE
"""Fields by which the plan of a head may differ from that of another with the same request line and authority."""
PLANS_MAX: Final = 2048
PLAN_LINE_BYTES_MAX: Final = 512
_LOOKUP: Final = Lookup()


def plan_for(gate: Gate, head: RequestHead) -> Plan:
    """The plan of a head under the gate's table, worked out once for a remembered head."""
    plan = head.memo
    if head.memo_of is gate.table and isinstance(plan, Plan):
        return plan
    table = gate.table
    known: Plan | None = None
    simple = not head.flags & _OF_ITS_OWN and head.keep_alive and head.minor == 1
    if simple and not table.by_fields and len(head.line) <= PLAN_LINE_BYTES_MAX:
        if gate.plans_of is not table or len(gate.plans) >= PLANS_MAX:
            gate.plans = {}
            gate.plans_of = table
        key = head.line + b" " + head.authority
        known = gate.plans.get(key)
        if known is None:
            known = _plan(gate, head)
            gate.plans[key] = known
    else:
        known = _plan(gate, head)
    head.prefix = b""
    head.memo = known
    head.memo_of = table
    return known


def _plan(gate: Gate, head: RequestHead) -> Plan:
    path = gate.path
    target = gate.table.match(head)
    policy: RoutePolicy | None = None
    if target is not None and target.split is None:
        policy = path.policy_for(target, target.service)
    plan = Plan(target, policy)
    if target is None or policy is None:
        return plan
    cache = policy.cache
    if cache.enabled and not head.has_body and may_lookup(head, cache):
        plan.cacheable = True
        plan.key = primary_key(target.service + target.key_space, head, cache)
        plan.plain = (
            head.method == b"GET"
            and head.minor == 1
            and head.keep_alive
            and not head.flags & _NOT_PLAIN
            and not target.limits
            and target.fault is None
            and target.response_edits is None
            and target.redirect is None
            and target.direct is None
            and not path.plugins.request_hooks
            and not path.plugins.response_hooks
            and not path.plugins.route_hooks
        )
    return plan


def start(connection: Downstream, head: RequestHead, plan: Plan, started: float) -> Exchange:
    """Begin an exchange and take it through the layers. It may be over when this returns."""
    exchange = Exchange(connection, head, plan, started)
    path = exchange.path
    if path.tells:
        exchange.story = Story(head, connection.gate.table, started)
    if head.flags & f.WHY and path.why.header and not head.upgrade and head.method != b"CONNECT":
        if head.get(b"x-pilotfish-why") == b"1":
            exchange.answer_why()
    if head.flags & f.REQUEST_ID:
        exchange.request_id = head.get(b"x-request-id") or b""
    return exchange


def run(exchange: Exchange) -> None:
    """The layers, in order."""
    if _plugins_answered(exchange):
        return
    if _no_route(exchange) or _looped(exchange):
        return
    target = exchange.plan.target
    assert target is not None
    policy = _choose_service(exchange, target)
    if policy is None:
        return
    exchange.policy = policy
    policy.counters.in_flight += 1
    exchange.path.in_flight += 1
    exchange.counted = True
    if _configured_answer(exchange, target) or _rate_limited(exchange, target) or _faulted(exchange, target, policy):
        return
    dispatch(exchange, target, policy)


def dispatch(exchange: Exchange, target: RouteTarget, policy: RoutePolicy) -> None:
    """To the cache where the request may be answered from it, else to the upstream."""
    if exchange.over:
        return
    head = exchange.head
    if head.flags & f.DEADLINE:
        left_s = deadline_of(head)
        if left_s is not None and left_s <= 0.0:
            exchange.fail(Failure(504, flags.DEADLINE, "the request came when its deadline had passed"))
            return
        if left_s is not None:
            exchange.deadline = exchange.path.now + left_s
    if policy.cluster.in_flight >= policy.priority_from:
        exchange.priority = _priority(head, policy)
    if policy.hash_on:
        exchange.hash_key = _hash_key(exchange, policy.hash_on)
    if target.rewrite is not None:
        exchange.rewritten = target.rewrite.apply(head.target, head.authority)
    if head.method == b"CONNECT":
        start_forward(exchange, policy, [], False)
        return
    plan = exchange.plan
    if plan.cacheable and plan.policy is policy and not exchange.cache_suffix:
        _LOOKUP.run(exchange, policy)
        return
    if policy.cache.enabled:
        if not head.has_body and may_lookup(head, policy.cache):
            # A split or a plugin chose the service or the key, so that the plan of the head does not hold: one of its own.
            lone = Plan(target, policy)
            lone.cacheable = True
            lone.key = primary_key(policy.cluster.name + target.key_space, head, policy.cache) + exchange.cache_suffix
            exchange.plan = lone
            _LOOKUP.run(exchange, policy)
            return
        exchange.outcome = counters.BYPASS
        if exchange.story is not None:
            note_look(exchange.story, exchange.started, "the cache answers GET and HEAD without a body", "RFC 9111 4")
        exchange.cache_status = b"pilotfish; fwd=method" if head.method not in (b"GET", b"HEAD") else b"pilotfish; fwd=bypass"
    start_forward(exchange, policy, [], False)


def _plugins_answered(exchange: Exchange) -> bool:
    path = exchange.path
    plugins = path.plugins
    if not plugins.request_hooks and not plugins.route_hooks:
        return False
    target = exchange.plan.target
    service = target.service if target is not None else ""
    route = target.route if target is not None else ""
    try:
        decision = plugins.decide(exchange.head, exchange.connection.client, service, route, KIND_NAMES[exchange.gate.kind], exchange.story)
    except RequiredPluginFault as fault:
        exchange.fail(Failure(500, flags.PLUGIN, str(fault)))
        return True
    if decision.answer is not None:
        status, fields, body = decision.answer
        exchange.detail = decision.reason
        exchange.answer(status, fields, body, flags.PLUGIN)
        return True
    exchange.head = decision.head
    exchange.extra_request_fields = decision.fields
    exchange.removed_request_fields = decision.removed
    exchange.chosen_service = decision.service
    exchange.cache_suffix = decision.cache_suffix
    limit = decision.body_bytes_max
    exchange.body_bytes_max = limit
    if limit and (exchange.head.content_length > limit or exchange.body_bytes > limit):
        size = exchange.head.content_length
        exchange.fail(Failure(413, flags.BODY_TOO_LARGE, f"body of {max(size, exchange.body_bytes)} octets; a plugin allows {limit}"))
        return True
    if decision.wants:
        _copy_body(exchange, plugins.copy_of_body(decision))
    return exchange.over


def _copy_body(exchange: Exchange, copy: Any) -> None:
    for piece in exchange.held_body:
        copy.add(piece)
    if exchange.connection.body_complete:
        copy.end()
    else:
        exchange.body_copy = copy


def _no_route(exchange: Exchange) -> bool:
    if exchange.plan.target is not None:
        return False
    target = _pass_target(exchange)
    if target is not None:
        return False
    if not exchange.over:
        head = exchange.head
        authority = head.authority.decode("latin-1")
        claimed = exchange.gate.table.service_of(authority)
        who = f"no route of service {claimed.name}" if claimed is not None else "no service"
        text = f"{who} claims host {authority or '(none)'} with path {head.path.decode('latin-1')}"
        exchange.fail(Failure(404, flags.NO_ROUTE, text))
    return True


def _pass_target(exchange: Exchange) -> Plan | None:
    """Where an unmatched request goes when configuration lets it: its authority, or the original destination."""
    gate = exchange.gate
    path = exchange.path
    original = exchange.connection.original_destination
    if gate.kind == TRANSPARENT and original is not None:
        if original in gate.own_addresses:
            exchange.fail(Failure(508, flags.LOOP, "the connection was made to the agent's own listener"))
            return None
        host, port = original
    elif path.unmatched_pass and exchange.head.authority:
        try:
            host, port = read_port(exchange.head.authority, 80)
        except BadMessage as error:
            exchange.fail(Failure(error.status, flags.DOWNSTREAM_PROTOCOL_ERROR, error.reason))
            return None
        if (host, port) in gate.own_addresses:
            exchange.fail(Failure(508, flags.LOOP, "the request names the agent's own listener as its destination"))
            return None
    else:
        return None
    policy = path.passthrough.policy(host, port)
    exchange.plan = Plan(policy.target, policy)
    return exchange.plan


def _looped(exchange: Exchange) -> bool:
    if exchange.head.flags & f.VIA and via_count(exchange.head, exchange.path.headers.via) > LOOP_MAX:
        exchange.fail(Failure(508, flags.LOOP, f"the request has passed this agent more than {LOOP_MAX} times"))
        return True
    return False


def _choose_service(exchange: Exchange, target: RouteTarget) -> RoutePolicy | None:
    path = exchange.path
    service = exchange.chosen_service
    if service:
        if service not in path.clusters:
            exchange.fail(Failure(503, flags.PLUGIN, f"a plugin chose the service {service!r}, which is not configured"))
            return None
        return path.policy_for(target, service)
    policy = exchange.plan.policy
    if policy is not None:
        return policy
    chosen = target.pick_service(path.random_u32())
    if exchange.story is not None:
        exchange.story.note("split", chosen)
    return path.policy_for(target, chosen)


def _configured_answer(exchange: Exchange, target: RouteTarget) -> bool:
    if target.redirect is not None:
        status, fields, body = target.redirect_response(exchange.head)
        exchange.answer(status, fields, body)
        return True
    if target.direct is not None:
        status, fields, body = target.direct
        exchange.answer(status, fields, body)
        return True
    return False


def _rate_limited(exchange: Exchange, target: RouteTarget) -> bool:
    for limiter in target.limits:
        key = limiter.key_of(exchange.head, exchange.connection.client)
        wait_s = limiter.take(key, exchange.path.now)
        if exchange.story is not None:
            exchange.story.note("rate limit", limiter.text, wait_s <= 0.0, limiter.level(key))
        if wait_s > 0.0:
            exchange.fail(Failure(429, flags.RATE_LIMITED, f"rate limit of {limiter.text} is used up", wait_s))
            return True
    return False


def _faulted(exchange: Exchange, target: RouteTarget, policy: RoutePolicy) -> bool:
    fault = target.fault
    if fault is None:
        return False
    path = exchange.path
    if not fault.applies(exchange.head):
        return False
    abort = fault.abort(path.random_u32())
    delay_s = fault.delay(path.random_u32())
    if exchange.story is not None and (abort or delay_s > 0.0):
        exchange.story.note("fault", abort, delay_s)
    if delay_s > 0.0:
        path.loop.call_later(delay_s, _after_fault, exchange, target, policy, abort)
        return True
    if abort:
        exchange.fail(Failure(abort, flags.FAULT_INJECTED, "fault injected by configuration"))
        return True
    return False


def _after_fault(exchange: Exchange, target: RouteTarget, policy: RoutePolicy, abort: int) -> None:
    if exchange.over:
        return
    exchange.path.clock()
    if abort:
        exchange.fail(Failure(abort, flags.FAULT_INJECTED, "fault injected by configuration"))
    else:
        dispatch(exchange, target, policy)


def _priority(head: RequestHead, policy: RoutePolicy) -> int:
    value = head.get(policy.priority_header)
    if value is None or len(value) != 1 or not value.isdigit():
        return 5
    return value[0] - 48


def _hash_key(exchange: Exchange, hash_on: str) -> int:
    kind, _, name = hash_on.partition(":")
    head = exchange.head
    value: bytes | None = None
    if kind == "header":
        value = head.get(name.lower().encode("latin-1"))
    elif kind == "cookie":
        value = cookie_value(head, name.encode("latin-1"))
    elif kind == "path":
        value = head.path
    else:
        value = exchange.connection.client
    return hash_of(value) if value else -1


def cookie_value(head: RequestHead, name: bytes) -> bytes | None:
    """The value of one cookie of the request."""
    for line in head.all(b"cookie"):
        for pair in line.split(b";"):
            key, _, value = pair.strip().partition(b"=")
            if key == name:
                return value
    return None
