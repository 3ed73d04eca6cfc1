"""The state machine of simulated replicas, and the commands and questions of simulated clients."""

from typing import Any, Final

from msgspec import Struct

from agent.core.machine.commands import EQUAL, VALUE, VERSION, Check, CounterAdd, OpGet, Put, SessionOpen, Txn
from agent.core.machine.envelope import encode_command, seal
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.outcome import Outcome

REGISTRY: Final = built_in()
NOT_THERE: Final = (Check(VERSION, EQUAL, 0),)


class Command(Struct, frozen=True):
    """A client's command: executed once however often it comes (`session`, `request`). `acked`: those up to this one are answered."""

    session: int
    request: int
    acked: int
    data: bytes


class Query(Struct, frozen=True):
    """What a client reads: a `key`'s value, or a counter's (`counter`)."""

    key: str
    counter: bool = False


def new_machine() -> Machine:
    return Machine(REGISTRY)


def state_of(machine: Machine) -> bytes:
    """A snapshot."""
    return b"".join(machine.snapshot())


def envelope(command: Command, time_ms: int) -> bytes:
    """As it stands in the log."""
    return seal(time_ms, command.session, command.request, command.acked, command.data)


def open_session(ttl_ms: int) -> bytes:
    return encode_command(SessionOpen(ttl_ms, 8))


def put(key: str, value: str) -> bytes:
    return encode_command(Put(key.encode(), value.encode()))


def exchange(key: str, old: str | None, new: str) -> bytes:
    """Compare and set."""
    checks = NOT_THERE if old is None else (Check(VALUE, EQUAL, 0, old.encode()),)
    return encode_command(Put(key.encode(), new.encode(), checks=checks))


def add(key: str, number: int) -> bytes:
    return encode_command(CounterAdd(key.encode(), number))


def read(machine: Machine, query: Query) -> str | int | None:
    name = query.key.encode()
    if query.counter:
        return machine.counters.table.get(name, 0)
    record = machine.kv.records.get(name)
    return None if record is None else record.value.decode()


def told(name: str, outcome: Outcome) -> object:
    """What an operation of a history is told (`agent/sim/history/models.py`). Raises ValueError for an outcome that cannot be."""
    if name == "cas" and outcome.error in ("", "compare_failed"):
        return not outcome.error
    if outcome.error:
        raise ValueError(f"{name}: {outcome}")
    return outcome.value if name in ("add", "open") else None


def fetch(query: Query) -> bytes:
    """A command that reads, and changes nothing."""
    name = query.key.encode()
    return encode_command(CounterAdd(name, 0) if query.counter else Txn((), (OpGet(name),)))


def fetched(query: Query, outcome: Outcome) -> str | int | None:
    """What `fetch` was told."""
    value: Any = outcome.value
    if not query.counter:
        item = value[1][0]
        return None if item is None else str(item[1].decode())
    return int(value)
