"""Handlers of counters."""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from agent.core.machine import commands as c
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.state.bodies import CounterBody
from agent.state.call import Call
from agent.state.errors import bad
from agent.state.texts import octets_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

_COUNTER: Final = msgspec.json.Decoder(CounterBody)
SIGNED_MAX: Final = (1 << 63) - 1


def add(api: "StateApi", call: Call) -> None:
    body = call.read_body(_COUNTER)
    plan = call.plan
    delta = 1
    if body.add is not UNSET:
        assert isinstance(body.add, int)
        delta = body.add
    elif "add" in plan.parameters:
        text = plan.text("add")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise bad("add", text, "a whole number")
        delta = int(text)
    if not -SIGNED_MAX - 1 <= delta <= SIGNED_MAX:
        raise bad("add", delta, "a whole number of 64 bits")
    read = body.value if isinstance(body.value, bool) else plan.flag("value", True)
    api.writes.submit(call, c.CounterAdd(plan.name, delta, read), _added)


def _added(call: Call, outcome: Outcome) -> None:
    call.outcome({"value": outcome.value} if outcome.value is not None else {}, outcome)


def get(api: "StateApi", call: Call) -> None:
    api.reads.add(call, _got)


def _got(machine: Machine, call: Call) -> None:
    name = call.plan.name
    call.answer({**octets_json("name", name), "value": machine.counters.table.get(name, 0)}, machine.revision)


def delete(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.CounterDelete(call.plan.name), _deleted)


def _deleted(call: Call, outcome: Outcome) -> None:
    if outcome.value is None:
        call.outcome({"deleted": False, "value": 0}, outcome)
    else:
        call.outcome({"deleted": True, "value": outcome.value}, outcome)
