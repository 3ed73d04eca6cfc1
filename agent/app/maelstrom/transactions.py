"""The txn workloads' part of the state machine: a map of keys to lists or registers, and transactions of reads, writes and appends."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from agent.app.maelstrom.texts import MALFORMED_REQUEST, RequestError, octets
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Footprint, Part, PartType
from agent.core.machine.shared import Shared

READ: Final = "r"
WRITE: Final = "w"
APPEND: Final = "append"


class Transact(Struct, frozen=True, array_like=True, gc=False, tag="maelstrom.txn", forbid_unknown_fields=True):
    """Micro-operations in order. The outcome's value: for each what a read saw (JSON text; a list of them for a list), else None.
    invalid: an append to a key that was written, which does not change anything."""

    operations: tuple[tuple[str, bytes, bytes], ...]


class Transactions(Part):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.values: dict[bytes, bytes | tuple[bytes, ...]] = {}

    def on_transact(self, command: Transact) -> Outcome:
        changes: dict[bytes, bytes | tuple[bytes, ...]] = {}
        seen: list[bytes | tuple[bytes, ...] | None] = []
        for what, key, value in command.operations:
            before = changes[key] if key in changes else self.values.get(key)
            seen.append(before if what == READ else None)
            if what == WRITE:
                changes[key] = value
            elif what == APPEND:
                if isinstance(before, bytes):
                    return Outcome("invalid", self.shared.revision, "append")
                changes[key] = (*(before or ()), value)
        self.values.update(changes)
        return Outcome("", self.shared.revision, seen)

    def freeze(self) -> Iterator[Any]:
        return iter(sorted(self.values.items()))

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            key, value = msgspec.convert(row, tuple[bytes, bytes | tuple[bytes, ...]])
            self.values[key] = value


def _of(command: Transact) -> Footprint:
    return frozenset(b"maelstrom/" + key for _, key, _ in command.operations)


TRANSACTIONS: Final = PartType("maelstrom.txn", 1, Transactions, (CommandType(Transact, Transactions.on_transact, keys=_of),))


def transact(micro_operations: list[Any]) -> Transact:
    """From a request's `txn`. Raises RequestError."""
    made = []
    for one in micro_operations:
        if not (isinstance(one, list) and len(one) == 3 and one[0] in (READ, WRITE, APPEND)):
            raise RequestError(MALFORMED_REQUEST, f"txn: found {one!r}, expected [r|w|append, key, value]")
        made.append((one[0], octets(one[1]), octets(one[2])))
    return Transact(tuple(made))


def completed(micro_operations: list[Any], seen: Any) -> list[Any]:
    """The request's `txn` with what its reads saw."""
    return [[what, key, _shown(read) if what == READ else value] for (what, key, value), read in zip(micro_operations, seen, strict=True)]


def _shown(read: Any) -> Any:
    if read is None:
        return None
    return msgspec.json.decode(read) if isinstance(read, bytes) else [msgspec.json.decode(one) for one in read]
