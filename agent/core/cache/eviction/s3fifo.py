"""S3-FIFO (Yang et al., FIFO queues are all you need for cache eviction, SOSP 2023).

A small queue for what is new, a main queue for what was used again, and ghosts of what left the small one. A hit only
counts; queues move when room is needed.
"""

from typing import Final

from agent.core.cache.eviction.base import Ghosts, Node, NodeList, Policy

SMALL: Final = 1
MAIN: Final = 2
FREQ_MAX: Final = 3
SMALL_SHARE: Final = 0.1
PROMOTE_FREQ: Final = 2
"""Uses in the small queue that let a node into the main one (the paper's evaluation counts likewise)."""
GHOSTS_MIN: Final = 64


class S3Fifo(Policy):
    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.small = NodeList(SMALL)
        self.main = NodeList(MAIN)
        self.ghosts = Ghosts()
        self._small_max = max(1, int(capacity * SMALL_SHARE))

    def hit(self, node: Node) -> None:
        if node.freq < FREQ_MAX:
            node.freq += 1

    def insert(self, node: Node) -> list[Node]:
        node.freq = 0
        if self.ghosts.take(node.ident):
            self.main.push(node)
        else:
            self.small.push(node)
        self.used += node.size
        if self.used <= self.capacity:
            return []
        return self._make_room()

    def remove(self, node: Node) -> None:
        if node.queue == SMALL:
            self.small.remove(node)
        elif node.queue == MAIN:
            self.main.remove(node)
        else:
            return
        self.used -= node.size

    def lists(self) -> list[NodeList]:
        return [self.main, self.small]

    def resize(self, capacity: int) -> list[Node]:
        self.capacity = capacity
        self._small_max = max(1, int(capacity * SMALL_SHARE))
        return self._make_room()

    def _make_room(self) -> list[Node]:
        gone: list[Node] = []
        while self.used > self.capacity:
            if self.small.size > self._small_max or self.main.count == 0:
                self._from_small(gone)
            else:
                self._from_main(gone)
        return gone

    def _from_small(self, gone: list[Node]) -> None:
        node = self.small.oldest
        if node is None:
            return
        self.small.remove(node)
        if node.freq >= PROMOTE_FREQ:
            node.freq = 0
            self.main.push(node)
            return
        self.used -= node.size
        self.ghosts.add(node.ident, max(GHOSTS_MIN, self.main.count + self.small.count))
        gone.append(node)

    def _from_main(self, gone: list[Node]) -> None:
        node = self.main.oldest
        if node is None:
            return
        if node.freq > 0:
            node.freq -= 1
            self.main.refresh(node)
            return
        self.main.remove(node)
        self.used -= node.size
        gone.append(node)
