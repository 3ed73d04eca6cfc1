"""What is written and not delivered, and the ends of the epoch that stand in it."""

from collections import deque

from agent.core.modes.epoch import decode_epoch
from agent.core.replica.log import EPOCH, Entry


class Tail:
    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self._ends: list[tuple[int, bool]] = []
        """Index, and whether it only closes the fast path."""

    def write(self, entries: tuple[Entry, ...], delivered: int, number: int) -> None:
        """They replace what stands at their indices and after. `number`: of the epoch that an end begins."""
        first = entries[0].index
        kept = self.entries
        while kept and kept[-1].index >= first:
            kept.pop()
        kept.extend(entry for entry in entries if entry.index > delivered)
        if self._ends:
            self._ends = [one for one in self._ends if one[0] < first]
        for entry in entries:
            if entry.kind == EPOCH:
                epoch = decode_epoch(entry.data)
                if epoch is not None and epoch.number == number:
                    self._ends.append((entry.index, epoch.close))

    def delivered(self, index: int) -> None:
        kept = self.entries
        while kept and kept[0].index <= index:
            kept.popleft()
        if self._ends:
            self._ends = [one for one in self._ends if one[0] > index]

    def has_end(self, *, closing_too: bool) -> bool:
        return any(closing_too or not closing for _, closing in self._ends)

    def end_at(self, index: int, term: int) -> tuple[Entry, ...]:
        """Everything up to the entry of kind EPOCH that has this place and term; nothing where there is none."""
        if any(entry.index == index and entry.term == term and entry.kind == EPOCH for entry in self.entries):
            return tuple(entry for entry in self.entries if entry.index <= index)
        return ()

    def clear(self) -> None:
        self.entries.clear()
        self._ends.clear()
