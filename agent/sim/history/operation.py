"""An operation as its client saw it, and the recorder of a history."""

import json
from collections.abc import Callable, Iterable
from math import inf
from typing import Any


class Operation:
    """What a client (`process`) asked, from when to when, and what it was told.

    `end` is infinite while no answer has come: whether it took effect is unknown, and it may do so at any later time. Arguments and
    outputs must be hashable. Times are of one clock; only their order matters.
    """

    __slots__ = ("args", "end", "key", "name", "output", "process", "start")

    def __init__(
        self, process: int | str, name: str, key: Any, args: tuple[Any, ...], output: Any = None, start: float = 0.0, end: float = inf
    ) -> None:
        self.process = process
        self.name = name
        self.key = key
        self.args = args
        self.output = output
        self.start = start
        self.end = end

    @property
    def known(self) -> bool:
        """An answer came."""
        return self.end != inf

    def __repr__(self) -> str:
        words = " ".join(map(short, self.args))
        told = short(self.output) if self.known else "?"
        return f"{self.name}({words}) → {told}"


def short(value: Any, most: int = 60) -> str:
    """Its text, the middle left out where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


class Recorder:
    """A history under way. One at a time may use it (threads hold a lock around it)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.operations: list[Operation] = []

    def begin(self, process: int | str, name: str, key: Any = None, *args: Any) -> Operation:
        """Call it before the request can leave. Until `ok` or `fail`, the outcome is unknown."""
        operation = Operation(process, name, key, args, start=self._clock())
        self.operations.append(operation)
        return operation

    def ok(self, operation: Operation, output: Any = None) -> None:
        """Call it after the answer came."""
        operation.output = output
        operation.end = self._clock()

    def fail(self, operation: Operation) -> None:
        """It certainly took no effect, and never will: as if it had not been asked."""
        self.operations.remove(operation)


def dump(operations: Iterable[Operation]) -> str:
    """One JSON object a line, in the order of their starts."""
    lines = []
    for one in sorted(operations, key=lambda one: one.start):
        fields = {name: getattr(one, name) for name in ("process", "name", "key", "args", "output", "start")}
        lines.append(json.dumps({**fields, "end": one.end if one.known else None}) + "\n")
    return "".join(lines)


def load(text: str) -> list[Operation]:
    """What `dump` wrote. Raises ValueError (json's, or naming the line) for anything else."""
    operations = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = _hashable(json.loads(line))
        if not isinstance(fields, dict) or set(fields) != set(Operation.__slots__):
            raise ValueError(f"line {number}: expected an object with the fields {', '.join(Operation.__slots__)}")
        fields["end"] = inf if fields["end"] is None else fields["end"]
        operations.append(Operation(**fields))
    return operations


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return {name: _hashable(one) for name, one in value.items()} if isinstance(value, dict) else value
