"""SIEVE (Zhang et al., NSDI 2024): one queue, one bit, a hand. Simple and good on skewed traffic; scans defeat it."""

from agent.core.cache.eviction.base import Node, NodeList, Policy


class Sieve(Policy):
    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.nodes = NodeList(1)
        self._hand: Node | None = None

    def hit(self, node: Node) -> None:
        node.freq = 1

    def insert(self, node: Node) -> list[Node]:
        node.freq = 0
        gone: list[Node] = []
        while self.used + node.size > self.capacity and self.nodes.count:
            self._evict(gone)
        self.nodes.push(node)
        self.used += node.size
        if self.used > self.capacity:
            self.remove(node)
            gone.append(node)
        return gone

    def remove(self, node: Node) -> None:
        if node.queue:
            if self._hand is node:
                self._hand = node.before
            self.nodes.remove(node)
            self.used -= node.size

    def lists(self) -> list[NodeList]:
        return [self.nodes]

    def resize(self, capacity: int) -> list[Node]:
        self.capacity = capacity
        gone: list[Node] = []
        while self.used > self.capacity and self.nodes.count:
            self._evict(gone)
        return gone

    def _evict(self, gone: list[Node]) -> None:
        node = self._hand or self.nodes.oldest
        while node is not None and node.freq:
            node.freq = 0
            node = node.before or self.nodes.oldest
        if node is not None:
            self._hand = node
            self.remove(node)
            gone.append(node)
