"""One node's state as one agent has it: key → (value, version), and what may be concluded from it.

What the field calls scuttlebutt reconciliation (van Renesse, Dumitriu, Gough, Thomas 2008), with deletes as chitchat has them
(tombstones that are collected after a while, with a watermark). The invariant that everything rests on: **a holder whose `floor` is f
has, of every key, the newest version that is not after f** — unless it is superseded by one after f, or it is a tombstone not after
`collected`. So versions are sent oldest first within a node; *newest first* is the order among nodes.
"""

from collections.abc import Iterator
from sys import intern

from msgspec import Struct

from agent.core.gossip.messages import Item, NodeDelta, Position, item_bytes


class Held(Struct, gc=False):
    """A value as it is held. since: when it was learnt, in the host's seconds."""

    value: bytes | None
    version: int
    since: float


Change = tuple[str, bytes | None]
"""Key, and its new value; None: it is gone."""


class NodeState:
    """All that is known of one node."""

    __slots__ = ("absent_since", "changed_at", "collected", "floor", "generation", "items", "known", "name", "refill_to", "unconfirmed")

    def __init__(self, name: str, generation: int, now: float) -> None:
        self.name = name
        self.generation = generation
        self.floor = 0
        self.collected = 0
        self.items: dict[str, Held] = {}
        self.changed_at = now
        self.absent_since = -1.0
        """When the member was last known to be there, once it is not; -1 while it is."""
        self.unconfirmed: set[str] | None = None
        """During a refill: keys held from before, that the refill has not named yet."""
        self.refill_to = 0
        self.known = 0
        """During a refill: the floor that we had before. What is not after it and not here was deleted, or is superseded by what comes."""

    @property
    def refilling(self) -> bool:
        """We were so far behind that tombstones we needed are collected; until all is named again, this copy is not passed on."""
        return bool(self.refill_to)

    def position(self) -> Position:
        return Position(self.name, self.generation, self.floor, self.collected)

    def live(self) -> Iterator[tuple[str, bytes]]:
        """Keys and values, sorted."""
        for key, held in sorted(self.items.items()):
            if held.value is not None:
                yield key, held.value

    def value(self, key: str) -> bytes | None:
        """What a key is now."""
        held = self.items.get(key)
        return held.value if held is not None else None

    # -- the owner's side

    def put(self, key: str, value: bytes | None, now: float) -> bool:
        """The owner sets or (None) deletes a key. False: that is what it was already."""
        held = self.items.get(key)
        if (held.value if held is not None else None) == value:
            return False
        self.floor += 1
        self.items[key] = Held(value, self.floor, now)
        self.changed_at = now
        return True

    def reborn(self, generation: int, now: float) -> None:
        """The owner takes a higher generation: the same values, numbered anew."""
        kept = [(key, held) for key, held in self.items.items() if held.value is not None]
        self.generation = generation
        self.items = {}
        self.floor = self.collected = 0
        for key, held in kept:
            self.put(key, held.value, now)
        self.changed_at = now

    # -- sending

    def delta_for(self, known: Position | None, budget: int) -> NodeDelta | None:
        """What someone at that position lacks, oldest first, within some octets. None: nothing to give, or not a single item fits."""
        if self.refilling:
            return None
        after = known.floor if known is not None and known.generation == self.generation else 0
        if known is not None and known.generation > self.generation:
            return None
        if known is not None and known.generation == self.generation:
            if known.floor >= self.floor:
                return None
            if known.collected < self.collected and known.floor < self.collected:
                after = 0
        lacking = sorted(
            (Item(key, held.version, held.value) for key, held in self.items.items() if after < held.version <= self.floor),
            key=lambda item: item.version,
        )
        budget -= len(self.name.encode()) + 48
        fitting: list[Item] = []
        for item in lacking:
            budget -= item_bytes(item)
            if budget < 0:
                break
            fitting.append(item)
        if not fitting and lacking:
            return None
        upto = self.floor if len(fitting) == len(lacking) else fitting[-1].version
        return NodeDelta(self.name, self.generation, self.collected, after, upto, self.floor, tuple(fitting))

    # -- receiving

    def apply(self, delta: NodeDelta, now: float) -> list[Change]:
        """Take what is new in a delta; what changed by it."""
        changes: list[Change] = []
        if delta.generation < self.generation:
            return changes
        if delta.generation > self.generation:
            changes.extend((key, None) for key, _ in self.live())
            self._begin(delta.generation)
        if self.floor < self.collected and delta.have < self.collected:
            return changes  # its sender knew less than what has been collected since: it may name what is deleted
        contiguous = delta.after <= self.floor
        if self.collected < delta.collected and self.floor < delta.collected:
            contiguous = delta.after == 0
            if contiguous:
                self._begin_refill(delta)
        for item in delta.items:
            if self._take(item, contiguous, now):
                changes.append((item.key, item.value))
        if contiguous and delta.upto > self.floor:
            self.floor = delta.upto
            self.changed_at = now
            self._end_refill(changes)
        if changes:
            self.changed_at = now
        return _last_of_each(changes)

    def _take(self, item: Item, contiguous: bool, now: float) -> bool:
        held = self.items.get(item.key)
        if item.version <= self.floor or (not contiguous and item.version <= self.collected):
            return False  # known, or told too late to be believed
        if self.unconfirmed is not None:
            self.unconfirmed.discard(item.key)
        if item.version <= self.known or (held is not None and held.version >= item.version):
            return False
        before = held.value if held is not None else None
        # Every member's keys are the same few; as octets come, each would be another string.
        self.items[intern(item.key)] = Held(item.value, item.version, now)
        return before != item.value

    def _begin(self, generation: int) -> None:
        self.generation = generation
        self.floor = self.collected = self.refill_to = self.known = 0
        self.items = {}
        self.unconfirmed = None

    def _begin_refill(self, delta: NodeDelta) -> None:
        """Start over from version 0, keeping what we hold in use meanwhile: an endpoint must not flap because we were away."""
        self.collected = delta.collected
        self.known = max(self.known, self.floor)
        self.floor = 0
        self.refill_to = max(delta.have, self.refill_to)
        self.unconfirmed = {key for key, held in self.items.items() if held.version <= self.refill_to}

    def _end_refill(self, changes: list[Change]) -> None:
        if not self.refill_to or self.floor < self.refill_to:
            return
        for key in sorted(self.unconfirmed or ()):
            if self.items.pop(key).value is not None:
                changes.append((key, None))
        self.unconfirmed = None
        self.refill_to = self.known = 0

    def collect(self, before: float) -> int:
        """Drop the tombstones learnt before that time; how many."""
        if self.refilling:
            return 0
        old = [key for key, held in self.items.items() if held.value is None and held.since < before and held.version <= self.floor]
        for key in old:
            self.collected = max(self.collected, self.items.pop(key).version)
        return len(old)


def _last_of_each(changes: list[Change]) -> list[Change]:
    """One change a key, its last: a restart both removes and sets."""
    return list(dict(changes).items())
