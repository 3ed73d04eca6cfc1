"""Handlers of the key-value store: one key as octets, ranges, compare-and-set."""

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.machine import Machine
from agent.core.machine.ordered import end_of_prefix
from agent.core.machine.outcome import Outcome
from agent.state import wire
from agent.state.bodies import CasBody, Condition, octets
from agent.state.call import Call, value_of
from agent.state.errors import ApiError, bad
from agent.state.plan import Plan, duration, whole
from agent.state.texts import from_base64, record_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

LIMIT: Final = 100
LIMIT_MAX: Final = 1_000
PAGE_BYTES: Final = 1_048_576
TTL_S_MAX: Final = 30 * 86_400.0
_CAS: Final = msgspec.json.Decoder(CasBody)
CONDITIONS: Final = ("if_revision", "if_version", "if_value", "if_absent")


def get(api: "StateApi", call: Call) -> None:
    api.reads.add(call, _got)


def _got(machine: Machine, call: Call) -> None:
    plan = call.plan
    record = machine.kv.records.get(plan.name)
    revision = machine.revision
    if record is None:
        raise ApiError(404, "not_found", "there is no such key", revision=revision)
    if plan.sender.json:
        call.answer({**record_json(plan.name, record), "revision": revision}, revision)
        return
    fields = b'ETag: "%d"\r\nPilotfish-Create: %d\r\nPilotfish-Version: %d\r\nPilotfish-Revision: %d\r\n' % (
        record.mod,
        record.create,
        record.version,
        revision,
    )
    if record.lease:
        fields += b"Pilotfish-Lease: %d\r\n" % record.lease
    call.reply(200, wire.OCTETS, record.value, fields)


def put(api: "StateApi", call: Call) -> None:
    plan = call.plan
    parameters = plan.parameters
    if not parameters and not plan.sender.conditional:
        api.writes.submit(call, c.Put(plan.name, call.body), _put_done)
        return
    ttl_ms = ttl_of(plan.text("ttl")) if "ttl" in parameters else 0
    api.writes.submit(call, c.Put(plan.name, call.body, plan.number("lease", 0), ttl_ms, _checks(plan)), _put_done)


def _put_done(call: Call, outcome: Outcome) -> None:
    # By the fast path it is answered before its place in the log, and so its revision and version, are known: both are 0.
    version = outcome.value if outcome.value is not None else 0
    fields = b'ETag: "%d"\r\n' % outcome.revision if outcome.revision else b""
    call.outcome({"revision": outcome.revision, "version": version}, outcome, fields=fields)


def delete(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.Delete(call.plan.name, _checks(call.plan)), _deleted)


def _deleted(call: Call, outcome: Outcome) -> None:
    call.outcome({"revision": outcome.revision, "deleted": outcome.value}, outcome)


def cas(api: "StateApi", call: Call) -> None:
    body = call.read_body(_CAS)
    condition = body.condition or Condition()
    checks: list[c.Check] = []
    if condition.revision is not None:
        checks.append(c.Check(c.MOD_REVISION, number=counted("if.revision", condition.revision)))
    if condition.version is not None:
        checks.append(c.Check(c.VERSION, number=counted("if.version", condition.version)))
    if condition.value is not None or condition.value_base64 is not None:
        checks.append(c.Check(c.VALUE, octets=octets("if.value", condition.value, condition.value_base64)))
    if condition.absent is not None:
        checks.append(c.Check(c.VERSION, c.EQUAL if condition.absent else c.UNEQUAL))
    if not checks:
        raise bad("if", "nothing", "revision, version, value or absent")
    key = octets("key", body.key, body.key_base64)
    value = octets("value", body.value, body.value_base64)
    ttl_ms = ttl_of(body.ttl) if body.ttl is not None else 0
    api.writes.submit(call, c.Put(key, value, counted("lease", body.lease), ttl_ms, tuple(checks)), _put_done)


def ttl_of(value: Any) -> int:
    """A time to live in ms. Raises ApiError (400)."""
    return round(duration("ttl", value, TTL_S_MAX) * 1000)


def counted(name: str, number: int) -> int:
    """A number that cannot be below 0. Raises ApiError (400)."""
    if not 0 <= number <= 9_007_199_254_740_991:
        raise bad(name, number, "a whole number, 0 or more")
    return number


def _checks(plan: Plan) -> tuple[c.Check, ...]:
    """The conditions of a write, from If-Match, If-None-Match and the parameters."""
    checks: list[c.Check] = []
    match = plan.sender.head.get(b"if-match")
    if match is not None:
        if match == b"*":
            checks.append(c.Check(c.VERSION, c.UNEQUAL))
        else:
            checks.append(c.Check(c.MOD_REVISION, number=_tag("If-Match", match)))
    absent = plan.sender.head.get(b"if-none-match")
    if absent is not None:
        if absent == b"*":
            checks.append(c.Check(c.VERSION))
        else:
            checks.append(c.Check(c.MOD_REVISION, c.UNEQUAL, _tag("If-None-Match", absent)))
    parameters = plan.parameters
    if "if_revision" in parameters:
        checks.append(c.Check(c.MOD_REVISION, number=plan.number("if_revision", 0)))
    if "if_version" in parameters:
        checks.append(c.Check(c.VERSION, number=plan.number("if_version", 0)))
    if "if_value" in parameters:
        checks.append(c.Check(c.VALUE, octets=parameters["if_value"]))
    if "if_absent" in parameters:
        checks.append(c.Check(c.VERSION, c.EQUAL if plan.flag("if_absent") else c.UNEQUAL))
    return tuple(checks)


def _tag(name: str, value: bytes) -> int:
    if len(value) < 3 or value[:1] != b'"' or value[-1:] != b'"':
        raise bad(name, value.decode("latin-1"), 'one entity tag such as "17", or *')
    return whole(name, value[1:-1])


# -- ranges


def bounds(plan: Plan) -> tuple[bytes, bytes]:
    """From where to before where a range is; no end: empty."""
    parameters = plan.parameters
    prefix = parameters.get("prefix")
    if prefix is not None:
        if "start" in parameters or "end" in parameters:
            raise bad("prefix", "start or end beside it", "either prefix, or start and end")
        return prefix, end_of_prefix(prefix)
    return parameters.get("start", b""), parameters.get("end", b"")


def page(api: "StateApi", call: Call) -> None:
    bounds(call.plan)
    call.plan.number("limit", LIMIT, LIMIT_MAX)
    _after(call.plan)
    api.reads.add(call, _paged)


def _after(plan: Plan) -> bytes:
    """The key after which a page begins, as the page before said it."""
    text = plan.text("after")
    key = from_base64(text)
    if key is None or (text and not key):
        raise bad("after", text, "what `next` said")
    return key


def _paged(machine: Machine, call: Call) -> None:
    plan = call.plan
    start, end = bounds(plan)
    kv = machine.kv
    revision = machine.revision
    if plan.flag("count"):
        call.answer({"count": kv.order.count(start, end), "revision": revision}, revision)
        return
    after = _after(plan)
    if after:
        start = max(start, after + b"\0")
    limit = max(plan.number("limit", LIMIT, LIMIT_MAX), 1)
    found, more = kv.page(start, end, limit, PAGE_BYTES)
    values = not plan.flag("keys_only")
    document: dict[str, Any] = {
        "items": [record_json(key, record, values) for key, record in found],
        "revision": revision,
        "more": more,
    }
    if more:
        document["next"] = base64.b64encode(found[-1][0]).decode("ascii")
    call.answer(document, revision)


def delete_range(api: "StateApi", call: Call) -> None:
    plan = call.plan
    if not plan.parameters.keys() & {"prefix", "start", "end"}:
        raise bad("prefix", "nothing", "prefix, or start and end (an empty prefix is everything)")
    start, end = bounds(plan)
    api.writes.submit(call, c.DeleteRange(start, end, plan.number("limit", LIMIT_MAX, LIMIT_MAX)), _range_deleted)


def _range_deleted(call: Call, outcome: Outcome) -> None:
    deleted, more = value_of(outcome)
    call.outcome({"deleted": deleted, "more": more, "revision": outcome.revision}, outcome)
