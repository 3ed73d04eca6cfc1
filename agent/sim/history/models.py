"""Sequential specifications: what a system without concurrency and faults would answer.

A model is a state, and `step`: the state after an operation, or `REFUSED` where the operation cannot have given its output in this
state. An operation without a known outcome has no output to disagree with. States are hashable and compare by value.
"""

from collections.abc import Hashable
from typing import Any, Final, Protocol

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


class Register:
    """`read` → value, `write v`, `cas old new` → whether it was exchanged. A key that is absent reads None; write None deletes it."""

    name = "register"
    initial = None
    by_key = True

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


class Text:
    """`get` → text, `put text`, `append text`: a key's text, at first empty."""

    name = "text"
    initial = ""
    by_key = True

    def step(self, state: Any, operation: Operation) -> Any:
        name = operation.name
        if name == "get":
            return state if operation.output == state or not operation.known else REFUSED
        return operation.args[0] if name == "put" else state + operation.args[0]

    def reads_only(self, operation: Operation) -> bool:
        return operation.name == "get"


class Counter:
    """`add n` → the sum after it (None where the client was told only that it was done), `read` → the sum."""

    name = "counter"
    initial = 0
    by_key = True

    def step(self, state: Any, operation: Operation) -> Any:
        after = state + operation.args[0] if operation.name == "add" else state
        told = operation.output
        if not operation.known or told == after or (told is None and operation.name == "add"):
            return after
        return REFUSED

    def reads_only(self, operation: Operation) -> bool:
        return operation.name == "read"


class Lock:
    """`acquire owner` → a fencing token, greater than all before, or False where another holds it; `release owner` → whether it was
    held by this owner. Nothing expires here: a history with leases that run out is none of this model's."""

    name = "lock"
    initial = (None, 0)
    by_key = True

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


class Transactions:
    """`txn` of micro-operations ("r", key, None), ("w", key, value), ("append", key, value) → the same with what was read filled in.

    The state is all keys at once, so this checks strict serializability. A list that is absent reads None.
    """

    name = "transactions"
    initial: Hashable = ()
    by_key = False

    def step(self, state: Any, operation: Operation) -> Any:
        values = dict(state)
        changed = False
        told = operation.output if operation.known else operation.args[0]
        for (what, key, value), (_, _, seen) in zip(operation.args[0], told, strict=True):
            if what == "r":
                if operation.known and values.get(key) != seen:
                    return REFUSED
            else:
                values[key] = value if what == "w" else (*values.get(key, ()), value)
                changed = True
        return tuple(sorted(values.items())) if changed else state

    def reads_only(self, operation: Operation) -> bool:
        return all(what == "r" for what, _, _ in operation.args[0])
