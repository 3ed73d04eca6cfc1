"""Is a history linearizable?

Wing and Gong's search (1993) for an order of the operations that a sequential system could have followed, with two improvements.
Lowe's just-in-time linearization (Testing for Linearizability, 2017): operations are put in order no sooner than a return asks for it.
And the memory of configurations that led nowhere, as in his and in Porcupine: a configuration is the place in the history, the state,
and the bit set of the open operations that are already in order; those that have returned are in order anyway.

Prunings, none of which loses an order:
- An operation that cannot change the state is put in order at the first state that allows its output: whatever order comes after can
  do without it later.
- Of open operations that ask the same and were told the same, the one that returns first comes first: they could change places.
- One whose outcome is unknown is never put where it changes nothing: it might as well not have happened. And a configuration that has
  spent more of the unknown ones than another, and is else the same, can do nothing that the other cannot.

Deciding this is NP-complete (Gibbons and Korach, 1997), so that the search has a bound, and a third verdict.
"""

from bisect import insort
from collections.abc import Hashable, Iterable
from math import inf
from typing import Any, Final

from agent.sim.history.models import REFUSED, Model
from agent.sim.history.operation import Operation

CONFIGURATIONS_MAX: Final = 2_000_000
"""A few hundred MB and some ten seconds; the histories of our tests need thousands."""
STUCK_KEPT: Final = 4

Order = tuple[Any, Operation] | None
"""Operations in order, the last first: (those before, operation)."""


class Verdict:
    """What was found for one key (None where the model does not go by key)."""

    def __init__(self, key: Any, model: Model, operations: list[Operation]) -> None:
        self.key = key
        self.model = model
        self.operations = operations
        self.linearizable: bool | None = None
        """None: the bound was reached first."""
        self.order: list[Operation] = []
        """An order that explains the history; where there is none, the longest that explains the history before `stuck` returned."""
        self.stuck: Operation | None = None
        """The history up to just before this operation's return is linearizable, and with the return it is not."""
        self.ends: list[tuple[Hashable, list[Operation]]] = []
        """States that were reached before `stuck`, each with its order (a few of them)."""
        self.configurations = 0


def check(operations: Iterable[Operation], model: Model, configurations_max: int = CONFIGURATIONS_MAX) -> list[Verdict]:
    """A verdict for each key, those that are not linearizable first. Raises nothing for any history."""
    parts: dict[Any, list[Operation]] = {}
    for operation in operations:
        parts.setdefault(operation.key if model.by_key else None, []).append(operation)
    verdicts = [_search(key, part, model, configurations_max) for key, part in parts.items()]
    return sorted(verdicts, key=lambda verdict: {False: 0, None: 1, True: 2}[verdict.linearizable])


def linearizable(operations: Iterable[Operation], model: Model) -> bool | None:
    """For all keys: False if one is not, None if that is not known of one."""
    verdicts = check(operations, model)
    return verdicts[0].linearizable if verdicts else True


Event = tuple[Operation, int, tuple[tuple[Operation, int, int], ...] | None, tuple[tuple[Operation, int], ...]]
"""The operation and its bit; for a return the open operations that may change the state (with bits and classes) and those that do not.
None in place of the former: a call of one that does not. Calls of the others change no configuration and are no events."""


def _events(operations: list[Operation], model: Model) -> tuple[list[Event], int]:
    """The events, and which bits are those of operations that return. The bits of these are used again."""
    moments: list[tuple[float, int, int]] = []
    reads = [model.reads_only(operation) for operation in operations]
    for number, operation in enumerate(operations):
        if operation.known or not reads[number]:
            moments.append((operation.start, 0, number))
            if operation.known:
                moments.append((operation.end, 1, number))
    # At equal times calls come first: whatever may be concurrent is.
    moments.sort()
    unknown_from = _most_at_once(moments, operations)
    free: list[int] = []
    highest = 0
    lasting = unknown_from
    bits: dict[int, int] = {}
    classes: dict[tuple[Any, ...], int] = {}
    writers: list[tuple[float, int, tuple[Operation, int, int]]] = []
    readers: list[tuple[Operation, int]] = []
    events: list[Event] = []
    for _, is_return, number in moments:
        operation = operations[number]
        if not is_return:
            if not operation.known:
                place, lasting = lasting, lasting + 1
            elif free:
                place = free.pop()
            else:
                place, highest = highest, highest + 1
            bit = bits[number] = 1 << place
            if reads[number]:
                readers.append((operation, bit))
                events.append((operation, bit, None, ()))
            else:
                alike = (operation.name, operation.args, operation.known, operation.output if operation.known else None)
                insort(writers, (operation.end, number, (operation, bit, classes.setdefault(alike, len(classes)))))
            continue
        bit = bits[number]
        events.append((operation, bit, tuple(writer[2] for writer in writers), tuple(readers)))
        if reads[number]:
            readers.remove((operation, bit))
        else:
            del writers[next(at for at, writer in enumerate(writers) if writer[1] == number)]
        free.append(bit.bit_length() - 1)
    return events, (1 << unknown_from) - 1


def _most_at_once(moments: list[tuple[float, int, int]], operations: list[Operation]) -> int:
    """How many operations that return are open at the same time, at most."""
    now = most = 0
    for _, is_return, number in moments:
        if operations[number].known:
            now += -1 if is_return else 1
            most = max(most, now)
    return most


def _search(key: Any, operations: list[Operation], model: Model, configurations_max: int) -> Verdict:
    verdict = Verdict(key, model, operations)
    events, returning = _events(operations, model)
    step = model.step
    count = len(events)
    seen: dict[tuple[int, Hashable, int], list[int]] = {}
    """For what is else the same: the sets of unknown operations that were spent."""
    configurations = 0
    stack: list[tuple[int, Any, int, Order]] = [(0, model.initial, 0, None)]
    deepest = -1
    ends: list[tuple[Hashable, Order]] = []
    while stack:
        at, state, marks, order = stack.pop()
        while at < count:
            operation, bit, writers, readers = events[at]
            if writers is None:
                if step(state, operation) is not REFUSED:
                    marks |= bit
                    order = (order, operation)
            elif marks & bit:
                marks ^= bit
            else:
                break
            at += 1
        else:
            verdict.linearizable = True
            verdict.order = _listed(order)
            verdict.configurations = configurations
            return verdict
        spent = marks & ~returning
        others = seen.setdefault((at, state, marks & returning), [])
        if any(other & spent == other for other in others):
            continue
        others.append(spent)
        if configurations >= configurations_max:
            break
        configurations += 1
        if at > deepest:
            deepest, ends = at, []
        if at == deepest and len(ends) < STUCK_KEPT:
            ends.append((state, order))
        stack.extend(_branches(step, at, state, marks, order, writers, readers))
    else:
        verdict.linearizable = False
    verdict.configurations = configurations
    verdict.stuck = events[deepest][0]
    verdict.ends = [(state, _listed(order)) for state, order in ends]
    verdict.order = max((listed for _, listed in verdict.ends), key=len)
    return verdict


def _branches(
    step: Any,
    at: int,
    state: Any,
    marks: int,
    order: Order,
    writers: tuple[tuple[Operation, int, int], ...],
    readers: tuple[tuple[Operation, int], ...],
) -> list[tuple[int, Any, int, Order]]:
    """Every way to put one more open operation in order, the one that returns first at the end, to be tried first."""
    branches: list[tuple[int, Any, int, Order]] = []
    tried = 0
    for operation, bit, alike in writers:
        if marks & bit or tried >> alike & 1:
            continue
        tried |= 1 << alike
        after = step(state, operation)
        if after is REFUSED:
            continue
        if operation.end == inf and after == state:
            continue
        now = marks | bit
        longer: Order = (order, operation)
        if after != state:
            for reader, read_bit in readers:
                if not now & read_bit and step(after, reader) is not REFUSED:
                    now |= read_bit
                    longer = (longer, reader)
        branches.append((at, after, now, longer))
    branches.reverse()
    return branches


def _listed(order: Order) -> list[Operation]:
    listed = []
    while order is not None:
        order, operation = order
        listed.append(operation)
    listed.reverse()
    return listed
