"""The message log (4.2): one slot for each sequence number between the watermarks, and the entries that are decided."""

from collections.abc import Iterator

from agent.core.pbft.messages import NULL, Batch, Checkpoint, Commit, Decision, Prepare, Prepared, Proposal
from agent.core.pbft.state import Placed, State
from agent.core.replica.log import Entry


class Slot:
    """`offered`: a proposal of this view that is right and waits for its turn or its batch. `proposal`: the one accepted. `batch`, with
    this `digest`, `entries`, `after`: what stands here, accepted or decided. Of each member at most one prepare and one commit are kept."""

    __slots__ = (
        "after",
        "batch",
        "cert",
        "cert_batch",
        "commits",
        "decided",
        "decision",
        "digest",
        "entries",
        "offered",
        "offered_batch",
        "placed",
        "prepares",
        "proposal",
        "seq",
    )

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.offered: Proposal | None = None
        self.offered_batch: Batch | None = None
        self.proposal: Proposal | None = None
        self.batch: Batch | None = None
        self.digest = b""
        self.entries: tuple[Entry, ...] = ()
        self.after: State | None = None
        self.placed: Placed = ()
        self.prepares: dict[int, Prepare] = {}
        self.commits: dict[int, Commit] = {}
        self.cert: Prepared | None = None
        """Of the highest view in which it was prepared here."""
        self.cert_batch: Batch | None = None
        self.decided = b""
        """The digest that is committed."""
        self.decision: Decision | None = None
        """What shows it to others; a restart forgets it."""

    def new_view(self) -> None:
        """Proposals and prepares are of one view; certificates and commits stay."""
        self.offered = self.offered_batch = self.proposal = None
        self.prepares.clear()

    def unplace(self) -> None:
        """Its place in the log depends on what comes before it, which is open again."""
        self.after = None
        self.entries = ()
        self.placed = ()

    def content(self, digest: bytes) -> Batch | None:
        """The batch with this digest, if it is here."""
        if digest == NULL:
            return Batch(0, ())
        if self.batch is not None and self.digest == digest:
            return self.batch
        if self.cert is not None and self.cert_batch is not None and self.cert.digest == digest:
            return self.cert_batch
        if self.offered is not None and self.offered.digest == digest:
            return self.offered_batch
        return None

    def agreed(self, count: int) -> tuple[int, bytes] | None:
        """The view and digest that so many members have committed to."""
        votes: dict[tuple[int, bytes], int] = {}
        for commit in self.commits.values():
            vote = (commit.view, commit.digest)
            votes[vote] = votes.get(vote, 0) + 1
            if votes[vote] >= count:
                return vote
        return None


class Slots:
    """h and H: `low` and `low + window`. A slot is made when something for it comes, and only between the watermarks."""

    def __init__(self, window: int, low: int) -> None:
        self.window = window
        self.low = low
        self._slots: dict[int, Slot] = {}

    def has(self, seq: int) -> bool:
        return self.low < seq <= self.low + self.window

    def find(self, seq: int) -> Slot | None:
        return self._slots.get(seq)

    def at(self, seq: int) -> Slot:
        assert self.has(seq), f"{seq} is not between the watermarks"
        slot = self._slots.get(seq)
        if slot is None:
            slot = self._slots[seq] = Slot(seq)
        return slot

    def in_order(self) -> Iterator[Slot]:
        for seq in sorted(self._slots):
            yield self._slots[seq]

    def raise_low(self, low: int) -> None:
        """Garbage collection (4.3): everything up to the stable checkpoint is discarded."""
        self.low = low
        for seq in [seq for seq in self._slots if seq <= low]:
            del self._slots[seq]

    def __len__(self) -> int:
        return len(self._slots)


class Checkpoints:
    """Of each voter the last few checkpoints it signed, and the last stable one's proof."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_sender: dict[int, dict[int, Checkpoint]] = {}

    def add(self, one: Checkpoint) -> Checkpoint | None:
        """Returns another that the same member signed for the same number: it lies."""
        mine = self._by_sender.setdefault(one.sender, {})
        known = mine.get(one.seq)
        if known is not None:
            return known if known.body() != one.body() else None
        mine[one.seq] = one
        if len(mine) > self._kept:
            # Its own lowest gives way: who claims high numbers loses only what it said itself.
            del mine[min(mine)]
        return None

    def matching(self, seq: int) -> list[tuple[Checkpoint, ...]]:
        """Those for this number, by what they say, most signers first."""
        groups: dict[tuple[int, int, int, bytes, bytes], list[Checkpoint]] = {}
        for sender in sorted(self._by_sender):
            one = self._by_sender[sender].get(seq)
            if one is not None:
                groups.setdefault(one.body(), []).append(one)
        return sorted((tuple(group) for group in groups.values()), key=len, reverse=True)

    def of(self, sender: int) -> list[Checkpoint]:
        return list(self._by_sender.get(sender, {}).values())

    def drop(self, below: int) -> None:
        for mine in self._by_sender.values():
            for seq in [seq for seq in mine if seq < below]:
                del mine[seq]

    def __len__(self) -> int:
        return sum(map(len, self._by_sender.values()))


class History:
    """Decided entries that are kept for those who lag, from `first` on."""

    def __init__(self, first: int, entries: tuple[Entry, ...] = ()) -> None:
        self.first = first
        self._entries = list(entries)

    @property
    def last(self) -> int:
        return self.first + len(self._entries) - 1

    def extend(self, entries: tuple[Entry, ...]) -> None:
        assert not entries or entries[0].index == self.last + 1
        self._entries.extend(entries)

    def compact(self, index: int) -> None:
        drop = min(index - self.first + 1, len(self._entries))
        if drop > 0:
            del self._entries[:drop]
        self.first = max(self.first, index + 1)

    def between(self, first: int, last: int, size: int) -> tuple[Entry, ...]:
        """Entries from `first` to at most `last`, about `size` octets of them and at least one."""
        found = []
        for entry in self._entries[first - self.first : max(0, last - self.first + 1)]:
            found.append(entry)
            size -= len(entry.data) + 16
            if size <= 0 or len(found) >= 4096:
                break
        return tuple(found)

    def restart(self, first: int) -> None:
        self.first = first
        self._entries = []

    def __len__(self) -> int:
        return len(self._entries)
