"""Dotted version vector sets (Preguiça, Baquero, Almeida, Fonte, Gonçalves 2012; Almeida et al. 2014, DVVSet).

One object's concurrent values with the causality of each, in the space of one version vector: for each replica the number `n` of its
events, and the values of the newest of them (newest first), so that the values' dots are n, n-1, … and need not be written down.
What a client read (`context`) travels back with its write; a write replaces exactly what its writer had read.
"""

from typing import Any

from msgspec import Struct

from agent.core.clocks.vector import Vector


class Entry(Struct, frozen=True, array_like=True):
    """What is known of one replica: events 1…count have been seen; the last `len(values)` of them, newest first, still hold."""

    count: int
    values: tuple[Any, ...] = ()


class DottedSet(Struct, frozen=True, array_like=True):
    """One object as one replica has it. Never changed in place."""

    entries: dict[str, Entry] = {}

    @property
    def context(self) -> dict[str, int]:
        """What a reader of this has seen; to be handed back with a write."""
        return {replica: entry.count for replica, entry in self.entries.items()}

    @property
    def values(self) -> list[Any]:
        """The values that no write has replaced; more than one: they are concurrent."""
        return [value for _, entry in sorted(self.entries.items()) for value in entry.values]

    def dots(self) -> dict[tuple[str, int], Any]:
        """Each value by the event that wrote it."""
        return {
            (replica, entry.count - index): value for replica, entry in self.entries.items() for index, value in enumerate(entry.values)
        }


def event(clock: DottedSet, context: Vector, replica: str, value: Any) -> DottedSet:
    """A write at `replica` by a client that had read `context`: replaces what it had read, and nothing else."""
    return _append(discard(clock, context), replica, (value,))


def erase(clock: DottedSet, context: Vector) -> DottedSet:
    """A delete by a client that had read `context`. What was written concurrently stays. The context stays too: it is what keeps the
    deleted from coming back; see `prune` for when it may go."""
    return discard(clock, context)


def discard(clock: DottedSet, context: Vector) -> DottedSet:
    """Without the values that `context` has seen, and knowing of all that it knows."""
    entries: dict[str, Entry] = {}
    for replica, entry in clock.entries.items():
        seen = context.get(replica, 0)
        entries[replica] = Entry(max(entry.count, seen), entry.values[: max(entry.count - seen, 0)])
    for replica, seen in context.items():
        if seen > 0 and replica not in entries:
            entries[replica] = Entry(seen)
    return DottedSet(entries)


def sync(a: DottedSet, b: DottedSet) -> DottedSet:
    """Both together: a value survives unless one side has seen its event and no longer holds it. Commutative, associative, idempotent."""
    entries = dict(a.entries)
    for replica, theirs in b.entries.items():
        ours = entries.get(replica)
        entries[replica] = theirs if ours is None else _sync_entry(ours, theirs)
    return DottedSet(entries)


def descends(a: DottedSet, b: DottedSet) -> bool:
    """Whether `a` has seen all of `b`: every event, and every replacement."""
    return sync(a, b) == a


def concurrent(a: DottedSet, b: DottedSet) -> bool:
    """Whether each has something that the other has not seen."""
    return not descends(a, b) and not descends(b, a)


def _append(clock: DottedSet, replica: str, values: tuple[Any, ...]) -> DottedSet:
    entry = clock.entries.get(replica, Entry(0))
    return DottedSet({**clock.entries, replica: Entry(entry.count + len(values), values + entry.values)})


def _sync_entry(a: Entry, b: Entry) -> Entry:
    if a.count < b.count:
        a, b = b, a
    # Of the events that both have seen, what both still hold; what only `a` has seen, as `a` has it.
    oldest_held_by_b = b.count - len(b.values)
    return Entry(a.count, a.values[: max(a.count - max(oldest_held_by_b, a.count - len(a.values)), 0)])
