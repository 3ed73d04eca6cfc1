"""The replica's state that its parts work on: view, watermarks, what is executed, what waits, what the disk is to get."""

from math import inf

from agent.core.pbft.desk import Desk
from agent.core.pbft.messages import Batch, Checkpoint, FetchBatch, Proposal
from agent.core.pbft.pending import Pending
from agent.core.pbft.slots import Checkpoints, History, Slots
from agent.core.pbft.state import Ends, State, link, never
from agent.core.replica.log import EPOCH, Entry

MARKS = 2
"""States at the last snapshots that are remembered."""


class Diverged(RuntimeError):
    """A quorum says that the state is another than ours: more than f members lie, or this one is broken. The replica must stop."""


class Board:
    """`accepted`: every number up to it has its proposal accepted in this view, or is executed. `offers`: what the new view proposes by
    itself (O), by number. `next_seq`: what a primary proposes next."""

    def __init__(self, desk: Desk, stable: State, ends: Ends = never) -> None:
        config = desk.config
        self.desk = desk
        self.ends = ends
        self.end: tuple[bytes, Entry] | None = None
        """The hash chain before the epoch's last entry, and that entry, once it is executed."""
        self.config = config
        self.view = 0
        self.active = True
        self.stable = stable
        self.proof: tuple[Checkpoint, ...] = ()
        self.executed = stable
        self.blank = False
        """Nothing is known of the state that is here: only a snapshot helps, and nothing is accepted before."""
        self.last_checkpoint = stable.index
        """Index at the last multiple of K: the same for all."""
        self.accepted = stable.seq
        self.next_seq = stable.seq + 1
        self.offers: dict[int, Proposal] = {}
        self.slots = Slots(config.window, stable.seq)
        self.checkpoints = Checkpoints(config.window // config.checkpoint_interval + 2)
        self.pending = Pending(config)
        self.history = History(stable.index + 1)
        self.marks: tuple[State, ...] = ()
        self.incoming: State | None = None
        """The state of a snapshot that is being received."""
        self.reserved = 0
        """Numbers of one's own requests up to here may have been used."""
        self.writes: list[Entry] = []
        self.wants: dict[int, tuple[bytes, float]] = {}
        """Batches that are lacking: the digest, and when to ask again."""

    @property
    def is_primary(self) -> bool:
        return self.active and self.desk.voting and self.desk.primary(self.view) == self.desk.me

    def write(self, entries: tuple[Entry, ...]) -> None:
        """To the log at the end of this step, in the place of whatever stands there and after."""
        if entries:
            writes = self.writes
            while writes and writes[-1].index >= entries[0].index:
                writes.pop()
            writes.extend(entries)
            self.desk.dirty = True

    def state_at(self, seq: int) -> State | None:
        """The state after this batch, if it is executed and remembered."""
        if seq == self.executed.seq:
            return self.executed
        for state in (self.stable, *self.marks):
            if state.seq == seq <= self.executed.seq:
                return state
        slot = self.slots.find(seq)
        return slot.after if slot is not None and seq < self.executed.seq else None

    def base_of(self, seq: int) -> State | None:
        """The state that this batch is rendered after, if it is known."""
        if self.blank:
            return None
        if seq == self.executed.seq + 1:
            return self.executed
        slot = self.slots.find(seq - 1)
        return slot.after if slot is not None and seq - 1 > self.executed.seq else None

    def note_end(self, before: bytes, entries: tuple[Entry, ...]) -> bool:
        """Executed, after this chain: is the epoch over with the last of them?"""
        if not entries or entries[-1].kind != EPOCH or not self.ends(entries[-1].data):
            return False
        for entry in entries[:-1]:
            before = link(before, entry)
        self.end = (before, entries[-1])
        return True

    def unplace_below(self, seq: int) -> None:
        """What was executed elsewhere has no place of which anything is known here."""
        for slot in self.slots.in_order():
            if slot.seq <= seq and not (slot.decided and slot.after is not None):
                slot.unplace()

    def best_proof(self) -> int:
        """The number of the highest stable checkpoint that can be proved; 0 for the beginning."""
        return self.proof[0].seq if self.proof else 0

    def prepared_index(self) -> int | None:
        """The highest index that certificates cover without a gap; None while one stands beyond a gap, or the view is open: what it
        covers may be committed, and its index is not certain."""
        if not self.active or self.blank:
            return None
        index, seq = self.executed.index, self.executed.seq
        for slot in self.slots.in_order():
            if slot.seq <= self.executed.seq or slot.cert is None:
                continue
            if slot.proposal is not None and slot.proposal.digest != slot.cert.digest:
                # The view passed over it: it was committed nowhere.
                continue
            if slot.seq != seq + 1 or slot.after is None or slot.digest != slot.cert.digest:
                return None
            index, seq = slot.after.index, slot.seq
        return index

    # -- batches that are lacking

    def want(self, seq: int, digest: bytes) -> None:
        known = self.wants.get(seq)
        if known is None or known[0] != digest:
            self.wants[seq] = (digest, self.desk.now + self.config.fetch_s)
            self.desk.send_all(FetchBatch(seq, digest))

    def ask_again(self) -> None:
        for seq, (digest, when) in list(self.wants.items()):
            if not self.slots.has(seq) or self.slots.at(seq).content(digest) is not None:
                del self.wants[seq]
            elif when <= self.desk.now:
                self.wants[seq] = (digest, self.desk.now + self.config.fetch_s)
                self.desk.send_all(FetchBatch(seq, digest))

    def wants_due(self) -> float:
        return min((when for _, when in self.wants.values()), default=inf)

    def content(self, seq: int, digest: bytes) -> Batch | None:
        slot = self.slots.find(seq)
        return None if slot is None else slot.content(digest)
