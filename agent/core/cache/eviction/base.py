"""What policies share: nodes that carry their own place, lists of them, and the face of a policy."""

from array import array
from typing import Final


class Node:
    """Something cached, as a policy sees it. A node is in at most one list of one policy."""

    __slots__ = ("after", "before", "freq", "ident", "queue", "size")

    def __init__(self, ident: int, size: int) -> None:
        self.ident = ident
        """A hash of its key; what ghosts and sketches remember it by."""
        self.size = size
        """What it costs, in the unit of the cache's capacity."""
        self.freq = 0
        self.queue = 0
        """Which of the policy's lists it is in; 0 for none."""
        self.before: Node | None = None
        self.after: Node | None = None


class NodeList:
    """A doubly linked list of nodes, newest first, that knows the sum of their sizes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.newest: Node | None = None
        self.oldest: Node | None = None
        self.size = 0
        self.count = 0

    def push(self, node: Node) -> None:
        """Put a node at the newest end."""
        newest = self.newest
        node.queue = self.number
        node.before = None
        node.after = newest
        if newest is None:
            self.oldest = node
        else:
            newest.before = node
        self.newest = node
        self.size += node.size
        self.count += 1

    def remove(self, node: Node) -> None:
        """Take a node out, wherever it stands."""
        before = node.before
        after = node.after
        if before is None:
            self.newest = after
        else:
            before.after = after
        if after is None:
            self.oldest = before
        else:
            after.before = before
        node.before = None
        node.after = None
        node.queue = 0
        self.size -= node.size
        self.count -= 1

    def refresh(self, node: Node) -> None:
        """Move a node to the newest end."""
        if self.newest is not node:
            self.remove(node)
            self.push(node)


class Policy:
    """A cache of `capacity`. The store calls `hit` for each use, `insert` for each new node and `remove` for each that goes
    for another reason; it drops what `insert` returns."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0

    def hit(self, node: Node) -> None:
        """A node was used."""
        raise NotImplementedError

    def insert(self, node: Node) -> list[Node]:
        """A new node; returns the nodes that had to go, which may be the new one itself."""
        raise NotImplementedError

    def remove(self, node: Node) -> None:
        """A node goes, not for want of room."""
        raise NotImplementedError

    def lists(self) -> list[NodeList]:
        """Its lists of nodes, those that are used most first."""
        raise NotImplementedError

    def resize(self, capacity: int) -> list[Node]:
        """Take another capacity; returns what had to go."""
        raise NotImplementedError


WAYS: Final = 4
GHOST_SLOTS_MIN: Final = 64


class Ghosts:
    """Identities of what went lately, forgotten when as many others as the limit have come since.

    A table of buckets of four places, each an identity and the number of its coming: 16 bytes a place and no object, where a
    dictionary in order would take 200. A full bucket forgets its oldest a little early.
    """

    def __init__(self) -> None:
        self._resize(GHOST_SLOTS_MIN)
        self._clock = 0
        self._limit = 0

    def add(self, ident: int, limit: int) -> None:
        self._clock += 1
        self._limit = limit
        if limit * 3 > (self._mask + 1) * WAYS * 2:
            self._grow(limit)
        self._place(ident, self._clock)

    def take(self, ident: int) -> bool:
        """Whether it was there; it is not any more."""
        idents = self._idents
        base = self._bucket(ident)
        for index in range(base, base + WAYS):
            if idents[index] == ident:
                came = self._came[index]
                if came == 0:
                    continue
                self._came[index] = 0
                return self._clock - came < self._limit
        return False

    def __len__(self) -> int:
        return sum([1 for came in self._came if came and self._clock - came < self._limit])

    def _bucket(self, ident: int) -> int:
        return ((ident ^ (ident >> 15)) & self._mask) * WAYS

    def _place(self, ident: int, came: int) -> None:
        table = self._came
        best = self._bucket(ident)
        for index in range(best, best + WAYS):
            if self._idents[index] == ident and table[index]:
                best = index
                break
            if table[index] < table[best]:
                best = index
        self._idents[best] = ident
        table[best] = came

    def _grow(self, limit: int) -> None:
        idents, table = self._idents, self._came
        self._resize(limit * 2)
        for index in range(len(table)):
            if table[index]:
                self._place(idents[index], table[index])

    def _resize(self, places: int) -> None:
        buckets = GHOST_SLOTS_MIN // WAYS
        while buckets * WAYS < places:
            buckets *= 2
        self._mask = buckets - 1
        self._idents = array("q", bytes(8 * WAYS * buckets))
        self._came = array("q", bytes(8 * WAYS * buckets))
