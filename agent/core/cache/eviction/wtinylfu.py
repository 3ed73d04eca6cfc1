"""W-TinyLFU (Einziger, Friedman and Manes, ACM TOS 2017): a small LRU window, a segmented LRU behind it, and a frequency
sketch that decides who may pass from the one to the other."""

from typing import Final

from agent.core.cache.eviction.base import Node, NodeList, Policy

WINDOW: Final = 1
PROBATION: Final = 2
PROTECTED: Final = 3
WINDOW_SHARE: Final = 0.01
PROTECTED_SHARE: Final = 0.8
COUNT_MAX: Final = 15
SAMPLE_FACTOR: Final = 10


HALVED: Final = bytes([count >> 1 for count in range(256)])


class Sketch:
    """Count-min of four rows; all counts are halved when as many as ten times its width have come."""

    def __init__(self, width: int) -> None:
        size = 64
        while size < width:
            size *= 2
        self._mask = size - 1
        self._rows = [bytearray(size) for _ in range(4)]
        self._additions = 0
        self._sample = SAMPLE_FACTOR * size

    def add(self, ident: int) -> None:
        h = (ident * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        h ^= h >> 29
        mask = self._mask
        for row in range(4):
            counts = self._rows[row]
            index = (h >> (row * 13)) & mask
            if counts[index] < COUNT_MAX:
                counts[index] += 1
        self._additions += 1
        if self._additions >= self._sample:
            self._additions //= 2
            for row in range(4):
                self._rows[row] = self._rows[row].translate(HALVED)

    def estimate(self, ident: int) -> int:
        h = (ident * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        h ^= h >> 29
        mask = self._mask
        least = COUNT_MAX
        for row in range(4):
            count = self._rows[row][(h >> (row * 13)) & mask]
            if count < least:
                least = count
        return least


class WTinyLfu(Policy):
    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.window = NodeList(WINDOW)
        self.probation = NodeList(PROBATION)
        self.protected = NodeList(PROTECTED)
        self._sketch = Sketch(min(max(capacity, 64), 1 << 17))
        self._set_shares()

    def _set_shares(self) -> None:
        self._window_max = max(1, int(self.capacity * WINDOW_SHARE))
        self._protected_max = int((self.capacity - self._window_max) * PROTECTED_SHARE)

    def hit(self, node: Node) -> None:
        self._sketch.add(node.ident)
        if node.queue == WINDOW:
            self.window.refresh(node)
        elif node.queue == PROTECTED:
            self.protected.refresh(node)
        elif node.queue == PROBATION:
            self.probation.remove(node)
            self.protected.push(node)
            while self.protected.size > self._protected_max:
                oldest = self.protected.oldest
                if oldest is None:
                    break
                self.protected.remove(oldest)
                self.probation.push(oldest)

    def insert(self, node: Node) -> list[Node]:
        self._sketch.add(node.ident)
        self.window.push(node)
        self.used += node.size
        gone: list[Node] = []
        while self.window.size > self._window_max:
            candidate = self.window.oldest
            if candidate is None:
                break
            self.window.remove(candidate)
            self.probation.push(candidate)
            self._contest(candidate, gone)
        self._shrink(gone)
        return gone

    def remove(self, node: Node) -> None:
        if node.queue == WINDOW:
            self.window.remove(node)
        elif node.queue == PROBATION:
            self.probation.remove(node)
        elif node.queue == PROTECTED:
            self.protected.remove(node)
        else:
            return
        self.used -= node.size

    def lists(self) -> list[NodeList]:
        return [self.protected, self.window, self.probation]

    def resize(self, capacity: int) -> list[Node]:
        self.capacity = capacity
        self._set_shares()
        gone: list[Node] = []
        self._shrink(gone)
        return gone

    def _contest(self, candidate: Node, gone: list[Node]) -> None:
        """While there is too much: the candidate and the oldest on probation compare how often they were asked for."""
        while self.used > self.capacity:
            victim = self.probation.oldest
            if victim is None or victim is candidate:
                victim = self.protected.oldest or candidate
            if victim is not candidate and self._sketch.estimate(candidate.ident) <= self._sketch.estimate(victim.ident):
                victim = candidate
            self.remove(victim)
            gone.append(victim)
            if victim is candidate:
                return

    def _shrink(self, gone: list[Node]) -> None:
        while self.used > self.capacity:
            victim = self.probation.oldest or self.protected.oldest or self.window.oldest
            if victim is None:
                return
            self.remove(victim)
            gone.append(victim)
