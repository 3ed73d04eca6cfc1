"""Sequential specifications: what a system without concurrency and faults would answer.

A model is a state, and `step`: the state after an operation, or `REFUSED` where the operation cannot have given its output in this
state. An operation without a known outcome has no output to disagree with. States are hashable and compare by value.
"""

from collections.abc import Hashable
from typing import Any, Final, Protocol, cast

from agent.sim.history.operation import Operation


class Refused:
    """The type of `REFUSED`."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = Refused()


class Model(Protocol):
    name: str
    by_key: bool
    """Operations on different keys have nothing to do with each other, so that each key's history is checked alone (Herlihy and Wing,
    1990: linearizability is local)."""

    @property
    def initial(self) -> Hashable: ...

    def step(self, state: Any, operation: Operation) -> Any: ...

    def reads_only(self, operation: Operation) -> bool:
        """In no state does it change the state and give this output. It may then be put in order as soon as its output is right."""

    def touches(self, operation: Operation) -> frozenset[Any] | None:
        """Operations whose sets have nothing in common can change places. None: with everything."""

    def narrowed(self, operations: list[Operation]) -> tuple["Model", list[Operation]]:
        """What a look at the whole history says beforehand: a model that refuses more of what cannot lead to an order of all, and the
        operations that matter."""


class OneKey:
    """What models have in common that go by key."""

    by_key = True

    def touches(self, operation: Operation) -> frozenset[Any] | None:
        return None

    def narrowed(self, operations: list[Operation]) -> tuple["Model", list[Operation]]:
        return cast(Model, self), operations


class Register(OneKey):
    """`read` → value, `write v`, `cas old new` → whether it was exchanged. A key that is absent reads None; write None deletes it."""

    name = "register"
    initial = None

    def step(self, state: Any, operation: Operation) -> Any:
        name = operation.name
        if name == "read":
            return state if operation.output == state or not operation.known else REFUSED
        if name == "write":
            return operation.args[0]
        old, new = operation.args
        if not operation.known:
            return new if old == state else state
        if (old == state) != operation.output:
            return REFUSED
        return new if operation.output else state

    def reads_only(self, operation: Operation) -> bool:
        return operation.name == "read" or (operation.name == "cas" and operation.known and not operation.output)


class Text(OneKey):
    """`get` → text, `put text`, `append text`: a key's text, at first empty."""

    name = "text"
    initial = ""

    def step(self, state: Any, operation: Operation) -> Any:
        name = operation.name
        if name == "get":
            return state if operation.output == state or not operation.known else REFUSED
        return operation.args[0] if name == "put" else state + operation.args[0]

    def reads_only(self, operation: Operation) -> bool:
        return operation.name == "get"


class Counter(OneKey):
    """`add n` → the sum after it (None where the client was told only that it was done), `read` → the sum."""

    name = "counter"
    initial = 0

    def step(self, state: Any, operation: Operation) -> Any:
        after = state + operation.args[0] if operation.name == "add" else state
        told = operation.output
        if not operation.known or told == after or (told is None and operation.name == "add"):
            return after
        return REFUSED

    def reads_only(self, operation: Operation) -> bool:
        return operation.name == "read"


class Lock(OneKey):
    """`acquire owner` → a fencing token, greater than all before, or False where another holds it; `release owner` → whether it was
    held by this owner. Nothing expires here: a history with leases that run out is none of this model's."""

    name = "lock"
    initial = (None, 0)

    def step(self, state: Any, operation: Operation) -> Any:
        holder, last = state
        owner, told, known = operation.args[0], operation.output, operation.known
        if operation.name == "release":
            if not known:
                return (None, last) if holder == owner else state
            if (holder == owner) != bool(told):
                return REFUSED
            return (None, last) if told else state
        if not known:
            return (owner, last) if holder is None else state
        if told is False:
            return state if holder is not None else REFUSED
        return (owner, told) if holder is None and told > last else REFUSED

    def reads_only(self, operation: Operation) -> bool:
        return operation.known and operation.output is False


class Values:
    """A map that compares by value and knows its hash: the state of all keys, of which a transaction changes a few."""

    __slots__ = ("_mark", "table")

    def __init__(self, table: dict[Any, Any], mark: int) -> None:
        self.table = table
        self._mark = mark

    def __hash__(self) -> int:
        return self._mark

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self._mark == other._mark and self.table == other.table

    def __repr__(self) -> str:
        return repr(self.table)

    def with_changes(self, changes: dict[Any, Any]) -> "Values":
        mark = self._mark
        for key, value in changes.items():
            before = self.table.get(key)
            mark ^= hash((key, value)) ^ (hash((key, before)) if before is not None else 0)
        return Values({**self.table, **changes}, mark)


class Transactions:
    """`txn` of micro-operations ("r", key, None), ("w", key, value), ("append", key, value) → the same with what was read filled in.

    The state is all keys at once, so this checks strict serializability. A list that is absent reads None.
    """

    name = "map of transactions"
    initial: Hashable = Values({}, 0)
    by_key = False

    def __init__(self) -> None:
        self._longest: dict[Any, tuple[Any, ...]] = {}
        """Of keys that are only ever appended to: the longest list that was read. Every list of the key begins with it, or begins it."""

    def narrowed(self, operations: list[Operation]) -> tuple[Model, list[Operation]]:
        """A transaction of unknown outcome of whose writes none was ever read might as well not have happened."""
        model = Transactions()
        seen: set[Any] = set()
        written = {key for one in operations for what, key, _ in one.args[0] if what == "w"}
        for one in operations:
            for what, key, value in one.output if one.known else ():
                if what != "r" or value is None:
                    continue
                seen.update((key, item) for item in (value if isinstance(value, tuple) else (value,)))
                if key not in written and isinstance(value, tuple) and len(value) > len(model._longest.get(key, ())):
                    model._longest[key] = value
        return model, [one for one in operations if one.known or any((key, value) in seen for _, key, value in one.args[0])]

    def step(self, state: Any, operation: Operation) -> Any:
        table = state.table
        changes: dict[Any, Any] = {}
        told = operation.output if operation.known else operation.args[0]
        for (what, key, value), (_, _, seen) in zip(operation.args[0], told, strict=True):
            before = changes[key] if key in changes else table.get(key)
            if what == "r":
                if operation.known and before != seen:
                    return REFUSED
            elif what == "w":
                changes[key] = value
            else:
                listed = changes[key] = (*(before or ()), value)
                longest = self._longest.get(key, ())
                if len(listed) <= len(longest) and longest[len(listed) - 1] != value:
                    return REFUSED
        return state.with_changes(changes) if changes else state

    def reads_only(self, operation: Operation) -> bool:
        return all(what == "r" for what, _, _ in operation.args[0])

    def touches(self, operation: Operation) -> frozenset[Any] | None:
        return frozenset(key for _, key, _ in operation.args[0])
