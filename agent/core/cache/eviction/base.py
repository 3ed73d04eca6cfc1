"""What policies share: nodes that carry their own place, lists of them, and the face of a policy."""

from collections import OrderedDict


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

    def resize(self, capacity: int) -> list[Node]:
        """Take another capacity; returns what had to go."""
        raise NotImplementedError


class Ghosts:
    """Identities of what went lately, oldest forgotten first, a bounded number."""

    def __init__(self) -> None:
        # An ordinary dict would walk over all that was deleted to find its first key.
        self._seen: OrderedDict[int, None] = OrderedDict()

    def add(self, ident: int, limit: int) -> None:
        self._seen.pop(ident, None)
        self._seen[ident] = None
        while len(self._seen) > limit:
            self._seen.popitem(last=False)

    def take(self, ident: int) -> bool:
        """Whether it was there; it is not any more."""
        if ident in self._seen:
            del self._seen[ident]
            return True
        return False

    def __len__(self) -> int:
        return len(self._seen)
