"""Handler of transactions: compares, then one list of operations or the other, all in one revision."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.ordered import end_of_prefix
from agent.core.machine.outcome import Outcome
from agent.state.bodies import NUMBERS, OPERATORS, CompareBody, OpBody, RangeOp, TxnBody, octets
from agent.state.call import Call, value_of
from agent.state.errors import bad
from agent.state.kv import counted
from agent.state.texts import item_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

_TXN: Final = msgspec.json.Decoder(TxnBody)


def txn(api: "StateApi", call: Call) -> None:
    body = call.read_body(_TXN)
    compares = tuple(_compare(f"if[{at}]", one) for at, one in enumerate(body.compares))
    then = tuple(_operation(f"then[{at}]", one) for at, one in enumerate(body.then))
    otherwise = tuple(_operation(f"else[{at}]", one) for at, one in enumerate(body.otherwise))

    def done(call: Call, outcome: Outcome) -> None:
        succeeded, results = value_of(outcome)
        operations = then if succeeded else otherwise
        told = [_result(operation, result) for operation, result in zip(operations, results, strict=True)]
        call.outcome({"succeeded": succeeded, "revision": outcome.revision, "results": told}, outcome)

    api.writes.submit(call, c.Txn(compares, then, otherwise), done)


def _compare(where: str, body: CompareBody) -> c.Compare:
    op = OPERATORS.get(body.op)
    if op is None:
        raise bad(f"{where}.op", body.op, "one of " + " ".join(OPERATORS))
    key = octets(f"{where}.key", body.key, body.key_base64)
    numbers = [(name, getattr(body, name)) for name in NUMBERS if getattr(body, name) is not None]
    with_value = body.value is not None or body.value_base64 is not None
    if len(numbers) + with_value != 1:
        raise bad(where, f"{len(numbers) + with_value} things to compare", f"one of value, {', '.join(NUMBERS)}")
    if with_value:
        return c.Compare(key, c.Check(c.VALUE, op, octets=octets(f"{where}.value", body.value, body.value_base64)))
    name, number = numbers[0]
    return c.Compare(key, c.Check(NUMBERS[name], op, counted(f"{where}.{name}", number)))


def _operation(where: str, body: OpBody) -> c.Op:
    given = [name for name in ("put", "get", "delete", "range") if getattr(body, name) is not None]
    if len(given) != 1:
        raise bad(where, ", ".join(given) or "nothing", "one of put, get, delete, range")
    if body.put is not None:
        put = body.put
        key = octets(f"{where}.put.key", put.key, put.key_base64)
        return c.OpPut(key, octets(f"{where}.put.value", put.value, put.value_base64), counted(f"{where}.put.lease", put.lease))
    if body.get is not None:
        return c.OpGet(octets(f"{where}.get.key", body.get.key, body.get.key_base64))
    if body.delete is not None:
        return c.OpDelete(octets(f"{where}.delete.key", body.delete.key, body.delete.key_base64))
    assert body.range is not None
    start, end = range_of(f"{where}.range", body.range)
    return c.OpRange(start, end, counted(f"{where}.range.limit", body.range.limit))


def range_of(where: str, body: RangeOp) -> tuple[bytes, bytes]:
    """From where to before where."""
    if body.prefix is not None or body.prefix_base64 is not None:
        prefix = octets(f"{where}.prefix", body.prefix, body.prefix_base64)
        return prefix, end_of_prefix(prefix)
    return octets(f"{where}.start", body.start, body.start_base64, b""), octets(f"{where}.end", body.end, body.end_base64, b"")


def _result(operation: c.Op, result: Any) -> dict[str, Any]:
    if isinstance(operation, c.OpPut):
        return {"put": {"version": result}}
    if isinstance(operation, c.OpDelete):
        return {"delete": {"deleted": result}}
    if isinstance(operation, c.OpGet):
        return {"get": item_json(result) if result is not None else None}
    items, more = result
    return {"range": {"items": [item_json(item) for item in items], "more": more}}
