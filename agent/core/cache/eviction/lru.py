"""Least recently used, for comparison: one scan empties it."""

from agent.core.cache.eviction.base import Node, NodeList, Policy


class Lru(Policy):
    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.nodes = NodeList(1)

    def hit(self, node: Node) -> None:
        self.nodes.refresh(node)

    def insert(self, node: Node) -> list[Node]:
        self.nodes.push(node)
        self.used += node.size
        return self._make_room()

    def remove(self, node: Node) -> None:
        if node.queue:
            self.nodes.remove(node)
            self.used -= node.size

    def lists(self) -> list[NodeList]:
        return [self.nodes]

    def resize(self, capacity: int) -> list[Node]:
        self.capacity = capacity
        return self._make_room()

    def _make_room(self) -> list[Node]:
        gone: list[Node] = []
        while self.used > self.capacity:
            node = self.nodes.oldest
            if node is None:
                break
            self.remove(node)
            gone.append(node)
        return gone
