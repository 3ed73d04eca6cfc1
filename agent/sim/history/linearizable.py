"""Is a history linearizable?

Wing and Gong's search (1993) for an order of the operations that a sequential system could have followed, with two improvements.
Lowe's just-in-time linearization (Testing for Linearizability, 2017): operations are put in order no sooner than a return asks for it.
And the memory of configurations that led nowhere, as in his and in Porcupine: a configuration is the place in the history, the state,
and the bit set of the open operations that are already in order; those that have returned are in order anyway. The search goes on where
it has come furthest, and there with the least that was put in order before it had to be.

Prunings, none of which loses an order:
- An operation that cannot change the state is put in order at the first state that allows its output: whatever order comes after can
  do without it later.
- Of open operations that ask the same and were told the same, the one that returns first comes first: they could change places.
- One whose outcome is unknown is never put where it changes nothing: it might as well not have happened. And a configuration that has
  spent more of the unknown ones than another, and is else the same, can do nothing that the other cannot.
- What the whole history says beforehand (`Model.narrowed`).
- Before a return, only what has to do with the returning operation, by way of others or straight, is put in order (`Model.touches`).

Deciding this is NP-complete (Gibbons and Korach, 1997), so that the search has a bound, and a third verdict.
"""

from bisect import insort
from collections.abc import Hashable, Iterable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

from agent.sim.history.models import REFUSED, Model
from agent.sim.history.operation import Operation

STEPS_MAX: Final = 5_000_000
"""Of the model: some ten seconds, and a few hundred MB. The histories of our tests need thousands."""
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
        """The history up to just before this operation's return is linearizable, and with the return it is not (of transactions: with
        the return, and all that comes later, it is not)."""
        self.ends: list[tuple[Hashable, list[Operation]]] = []
        """States that were reached before `stuck`, each with its order (a few of them)."""
        self.configurations = 0


def check(operations: Iterable[Operation], model: Model, steps_max: int = STEPS_MAX) -> list[Verdict]:
    """A verdict for each key, those that are not linearizable first. Raises nothing for any history."""
    parts: dict[Any, list[Operation]] = {}
    for operation in operations:
        parts.setdefault(operation.key if model.by_key else None, []).append(operation)
    verdicts = [_search(key, part, model, steps_max) for key, part in parts.items()]
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
        events.append((operation, bit, _relevant(operation, [writer[2] for writer in writers], model), tuple(readers)))
        if reads[number]:
            readers.remove((operation, bit))
        else:
            del writers[next(at for at, writer in enumerate(writers) if writer[1] == number)]
        free.append(bit.bit_length() - 1)
    return events, (1 << unknown_from) - 1


def _relevant(operation: Operation, writers: list[tuple[Operation, int, int]], model: Model) -> tuple[tuple[Operation, int, int], ...]:
    """Those of the open writers that the operation's place in the order may depend on; the others can as well come after it."""
    touched = model.touches(operation)
    if touched is None:
        return tuple(writers)
    sets = [(writer, model.touches(writer[0]) or frozenset()) for writer in writers]
    found: set[int] = set()
    while True:
        more = [(writer[1], keys) for writer, keys in sets if writer[1] not in found and keys & touched]
        if not more:
            return tuple(writer for writer in writers if writer[1] in found)
        for bit, keys in more:
            found.add(bit)
            touched |= keys


def _most_at_once(moments: list[tuple[float, int, int]], operations: list[Operation]) -> int:
    """How many operations that return are open at the same time, at most."""
    now = most = 0
    for _, is_return, number in moments:
        if operations[number].known:
            now += -1 if is_return else 1
            most = max(most, now)
    return most


class _Search:
    def __init__(self, verdict: Verdict, steps_max: int) -> None:
        self._verdict = verdict
        model, operations = verdict.model.narrowed(verdict.operations)
        self._step = model.step
        self._events, self._returning = _events(operations, model)
        self._heap: list[tuple[int, int, int, Any, int, Order]] = []
        """-(place in the history), how many open operations are in order, number, state, which open ones are in order, order."""
        self._pushed = 0
        self._steps_left = steps_max
        self._deepest = -1
        self._ends: list[tuple[Hashable, Order]] = []

    def run(self) -> None:
        verdict = self._verdict
        count = len(self._events)
        returning = self._returning
        seen: dict[tuple[int, Hashable, int], list[int]] = {}
        """For what is else the same: the sets of unknown operations that were spent."""
        self._push(0, verdict.model.initial, 0, None)
        while self._heap and self._steps_left > 0:
            place, _, _, state, marks, order = heappop(self._heap)
            at = -place
            if at == count:
                verdict.linearizable = True
                verdict.order = _listed(order)
                return
            spent = marks & ~returning
            others = seen.setdefault((at, state, marks & returning), [])
            if any(other & spent == other for other in others):
                continue
            others.append(spent)
            verdict.configurations += 1
            if at > self._deepest:
                self._deepest, self._ends = at, []
            if at == self._deepest and len(self._ends) < STUCK_KEPT:
                self._ends.append((state, order))
            self._branch(at, state, marks, order)
        if not self._heap:
            verdict.linearizable = False
        verdict.stuck = self._events[self._deepest][0]
        verdict.ends = [(state, _listed(order)) for state, order in self._ends]
        verdict.order = max((listed for _, listed in verdict.ends), key=len)

    def _push(self, at: int, state: Any, marks: int, order: Order) -> None:
        """Go on to the next return of an operation that is not in order yet."""
        events = self._events
        while at < len(events):
            operation, bit, writers, _ = events[at]
            if writers is None:
                if self._step(state, operation) is not REFUSED:
                    marks |= bit
                    order = (order, operation)
            elif marks & bit:
                marks ^= bit
            else:
                break
            at += 1
        self._pushed += 1
        heappush(self._heap, (-at, marks.bit_count(), self._pushed, state, marks, order))

    def _branch(self, at: int, state: Any, marks: int, order: Order) -> None:
        """Put one more open operation in order, in every way that may lead on, the one that returns first first."""
        step = self._step
        _, _, writers, readers = self._events[at]
        assert writers is not None
        self._steps_left -= len(writers) + 1
        tried = 0
        for operation, bit, alike in writers:
            if marks & bit or tried >> alike & 1:
                continue
            tried |= 1 << alike
            after = step(state, operation)
            if after is REFUSED:
                continue
            changed = after != state
            if operation.end == inf and not changed:
                continue
            now = marks | bit
            longer: Order = (order, operation)
            if changed:
                for reader, read_bit in readers:
                    if not now & read_bit and step(after, reader) is not REFUSED:
                        now |= read_bit
                        longer = (longer, reader)
            self._push(at, after, now, longer)


def _search(key: Any, operations: list[Operation], model: Model, steps_max: int) -> Verdict:
    verdict = Verdict(key, model, operations)
    _Search(verdict, steps_max).run()
    return verdict


def _listed(order: Order) -> list[Operation]:
    listed = []
    while order is not None:
        order, operation = order
        listed.append(operation)
    listed.reverse()
    return listed
