"""The log in memory: what follows the last compaction, how much of it is durable, and the members that its entries name.

`ends` holds running totals of the commands' octets beside the entries, so that a batch by size is a search and not a walk, and what
is uncommitted is a subtraction.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from agent.core.replica.log import MEMBERS, Entry, Members, Recovered, SnapshotMeta

members_encoder = msgspec.msgpack.Encoder()
members_decoder = msgspec.msgpack.Decoder(Members)


class RaftLog:
    """`offset`: the index before the first entry here, of `offset_term`; `last`: of the last one. `stable`: durable up to this index."""

    def __init__(self, recovered: Recovered) -> None:
        self.snapshot = recovered.snapshot
        """The newest snapshot of the own state machine."""
        self.offset = recovered.snapshot.index
        self.offset_term = recovered.snapshot.term
        self.last = self.offset
        self.entries: list[Entry] = []
        self.ends: list[int] = []
        self.dropped_bytes = 0
        self.configs: list[tuple[int, Members]] = [(self.offset, recovered.snapshot.members)]
        self.stable = self.offset
        self.unsaved = self.offset + 1
        """The first index that no `Persist` has carried."""
        self.writing: deque[tuple[int, int]] = deque()
        """Writes under way: number, and up to which index the log is as written once it is done."""
        if recovered.entries:
            self.extend(recovered.entries)
        self.stable = self.last
        self.unsaved = self.last + 1

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.offset_term

    @property
    def members(self) -> Members:
        """In force as soon as they are in the log (4.1)."""
        return self.configs[-1][1]

    @property
    def members_index(self) -> int:
        return self.configs[-1][0]

    def term(self, index: int) -> int:
        """The term of the entry at this index; 0 where there is none here (term 0 has no entries)."""
        place = index - self.offset - 1
        if 0 <= place < len(self.entries):
            return self.entries[place].term
        return self.offset_term if place == -1 else 0

    def bytes_after(self, index: int) -> int:
        """Octets of the commands behind this index."""
        if not self.ends:
            return 0
        place = index - self.offset
        before = self.dropped_bytes if place <= 0 else self.ends[place - 1]
        return self.ends[-1] - before

    def between(self, after: int, last: int) -> tuple[Entry, ...]:
        """The entries with indices in (after, last]."""
        return tuple(self.entries[after - self.offset : last - self.offset])

    def batch(self, first: int, bytes_max: int) -> tuple[Entry, ...]:
        """The entries from `first` on, as many as fit, and one in any case where there is one."""
        place = first - self.offset - 1
        assert place >= 0, "compacted"
        if place >= len(self.entries):
            return ()
        before = self.ends[place - 1] if place else self.dropped_bytes
        if self.ends[-1] - before <= bytes_max:
            return tuple(self.entries[place:])
        stop = max(bisect_right(self.ends, before + bytes_max, place), place + 1)
        return tuple(self.entries[place:stop])

    def batch_bytes(self, first: int, last: int) -> int:
        """Octets of the commands from `first` to `last`."""
        place = first - self.offset - 2
        before = self.ends[place] if place >= 0 else self.dropped_bytes
        return self.ends[last - self.offset - 1] - before

    def extend(self, entries: Sequence[Entry]) -> None:
        """Entries that follow the last one."""
        total = self.ends[-1] if self.ends else self.dropped_bytes
        assert entries[0].index == self.last + 1, "a gap"
        self.entries.extend(entries)
        self.last += len(entries)
        ends = accumulate([len(entry.data) for entry in entries], initial=total)
        next(ends)
        self.ends.extend(ends)
        for entry in entries:
            if entry.kind == MEMBERS:
                self.configs.append((entry.index, members_decoder.decode(entry.data)))

    def cut(self, index: int) -> None:
        """Forget everything behind this index: another leader's log has other entries there."""
        del self.entries[index - self.offset :]
        del self.ends[index - self.offset :]
        self.last = index
        while self.configs[-1][0] > index:
            self.configs.pop()
        self.stable = min(self.stable, index)
        self.unsaved = min(self.unsaved, index + 1)
        # What is still being written behind the index will not be the log's: its end must not count as ours (the ABA problem).
        self.writing = deque((number, min(last, index)) for number, last in self.writing)

    def saved(self, number: int) -> None:
        """Everything up to now goes with this write."""
        self.writing.append((number, self.last))
        self.unsaved = self.last + 1

    def stored(self, number: int) -> None:
        while self.writing and self.writing[0][0] <= number:
            self.stable = max(self.stable, self.writing.popleft()[1])

    def compact(self, index: int) -> None:
        """Forget everything up to this index, which a snapshot covers."""
        count = index - self.offset
        if count <= 0:
            return
        self.offset_term = self.term(index)
        self.dropped_bytes = self.ends[count - 1]
        del self.entries[:count]
        del self.ends[:count]
        self.offset = index
        while len(self.configs) > 1 and self.configs[1][0] <= index:
            del self.configs[0]

    def restore(self, meta: SnapshotMeta) -> None:
        """Begin anew behind a snapshot of another's."""
        self.snapshot = meta
        self.offset, self.offset_term = meta.index, meta.term
        self.last = meta.index
        self.entries, self.ends = [], []
        self.configs = [(meta.index, meta.members)]
        self.stable = meta.index
        self.unsaved = meta.index + 1
        self.writing = deque((number, meta.index) for number, _ in self.writing)

    def is_as_new(self, last_index: int, last_term: int) -> bool:
        """Is a log that ends so at least as new as this one? (3.6.1)"""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last)

    def conflict(self, index: int, term: int) -> tuple[int, int]:
        """The highest index not above `index` whose term is not above `term`, and its term (0 where it is not known here)."""
        while index > self.offset and self.term(index) > term:
            index -= 1
        return index, self.term(index) if index >= self.offset else 0

    def compaction_point(self, index: int, entries_max: int, bytes_max: int) -> int:
        """Up to where to forget when a snapshot covers `index`, with these margins behind it."""
        floor = max(index - entries_max, self.offset)
        if self.offset < index:
            total = self.ends[index - self.offset - 1]
            if total - bytes_max > self.dropped_bytes:
                floor = max(floor, self.offset + bisect_right(self.ends, total - bytes_max))
        return min(floor, index)
