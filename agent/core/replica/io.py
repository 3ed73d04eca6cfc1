"""What goes into a consensus core and what comes out of it: one contract for Raft, PBFT and what is put around them.

The host's duties:
1. `step(now, input)` with each input, in the order in which they came. `now` (monotonic seconds) never goes back.
   `step(now, Wake())` no later than `next_wake()` says.
2. Carry the effects out in the order given. `Persist` is *begun*, not waited for: the host writes batches in their order, makes
   them durable (one fdatasync for as many as there are), then says `Stored(number)` with the last number of the batch. A core keeps
   back whatever must not be said before (votes, acknowledgements); everything else goes on, heartbeats above all.
3. `Send` may be lost, late, doubled, out of order; a core stands it.
4. Apply what is in `Deliver` in order; then `Applied(index)` (not for each: at the end of what the host had). Answer the ticket of a
   `Proposed` from the entry with its index *and term*; if another term is delivered at that index, that proposal was lost.
5. `SnapshotTaken` when a snapshot is durable: the core forgets the log before it, less a margin, and says up to where (`Compact`).
6. A core that raises is broken: the host stops it and says so; it does not go on.
"""

from typing import Final, Protocol

from msgspec import Struct

from agent.core.replica.log import Entry, HardState, Members, SnapshotMeta

# -- inputs


class Wake(Struct, frozen=True, gc=False):
    """The time that `next_wake` named has come."""


class Receive(Struct, frozen=True):
    """A message from a member of the group. Who sent it is proved (or the configuration trusts the network)."""

    sender: int
    message: object
    """One of the core's own message structures (`core/raft/messages.py`, `core/pbft/messages.py`), decoded and checked."""


class Propose(Struct, frozen=True, gc=False):
    """Commands for the log, in this order, each with a ticket. Every ticket is answered by `Proposed` or `Refused`, at once or later."""

    items: tuple[tuple[int, bytes], ...]
    kind: int = 0
    keys: tuple[tuple[int, ...] | None, ...] = ()
    """What each of them touches (`core/raft/fast/keys.py`), for the fast path's sake; None, or nothing for all: it may touch anything."""


class FastPropose(Struct, frozen=True, gc=False):
    """Commands that may be decided before they are committed: ticket, command, what it touches (`core/raft/fast/keys.py`).

    No two commands have the same octets (a session and a request number are in them), to execute one twice is to execute it once
    (by the session), what it is answered does not depend on the state, and none says what its session has the outcomes of (`acked` 0):
    those that are replayed may change places. Answered by `FastDecided`, `Proposed` (ordered: as with
    `Propose`), `FastUndecided`, or `Refused`.
    """

    items: tuple[tuple[int, bytes, tuple[int, ...]], ...]


class Read(Struct, frozen=True, gc=False):
    """From which index on does a read see all that was committed before it was asked? Answered by `ReadReady` or `Refused`.

    `lease`: a leader may answer by its lease, which trusts that clocks run alike; without: a round of heartbeats (ReadIndex).
    Asked of a follower: it asks the leader.
    """

    ticket: int
    lease: bool = False


class Stored(Struct, frozen=True, gc=False):
    """Everything up to the `Persist` of this number is durable."""

    number: int


class Storage(Struct, frozen=True, gc=False):
    """The disk: `writable` False (full, failed): nothing is persisted from here on, and a leader gives way. `slow_s`: how long the
    `Persist` under way has lasted; a leader whose disk is much slower than its peers' gives way too."""

    writable: bool
    slow_s: float = 0.0


class Applied(Struct, frozen=True, gc=False):
    """The state machine has applied all entries up to this index."""

    index: int


class SnapshotTaken(Struct, frozen=True, gc=False):
    """A snapshot of the own state machine is durable."""

    meta: SnapshotMeta


class SnapshotStored(Struct, frozen=True, gc=False):
    """The snapshot that `StoreChunk`s brought is whole, durable, its digest is right, and the state machine has it (`ok`), or it was
    thrown away (not `ok`)."""

    meta: SnapshotMeta
    ok: bool = True


class Chunk(Struct, frozen=True, gc=False):
    """What `ReadChunk` asked for. `data` None: that snapshot is no longer there."""

    to: int
    meta: SnapshotMeta
    offset: int
    data: bytes | None


class Change(Struct, frozen=True, gc=False):
    """Change who belongs to the group. Answered by `Proposed` or `Refused`; one at a time. New members come as learners, always: a
    new id in `voters` is first a learner, and promoted when it has caught up."""

    ticket: int
    members: Members


class Transfer(Struct, frozen=True, gc=False):
    """Hand the leadership to this member (0: to whoever is best). Answered by `Proposed` (index 0) when begun, or `Refused`."""

    ticket: int
    to: int = 0


class Unreachable(Struct, frozen=True, gc=False):
    """What was sent to this member lately did not arrive: stop sending much until it is heard again."""

    peer: int


Input = (
    Wake
    | Receive
    | Propose
    | FastPropose
    | Read
    | Stored
    | Storage
    | Applied
    | SnapshotTaken
    | SnapshotStored
    | Chunk
    | Change
    | Transfer
    | Unreachable
)

# -- effects


class Persist(Struct, frozen=True, gc=False):
    """Write to the log. `entries` replace whatever stands at their indices and after. `hard` None: as before. `sync` False: it need
    not be durable for its own sake (a commit index alone), and is reported `Stored` like any other."""

    number: int
    hard: HardState | None = None
    entries: tuple[Entry, ...] = ()
    sync: bool = True


class Send(Struct, frozen=True):
    to: int
    message: object


class Deliver(Struct, frozen=True, gc=False):
    """Committed: apply them, in this order. Never twice, never with a gap, except that a snapshot takes the place of what it covers."""

    entries: tuple[Entry, ...]


class Proposed(Struct, frozen=True, gc=False):
    """The ticket's command stands at this index, if that index is committed with this term."""

    ticket: int
    index: int
    term: int


class FastDecided(Struct, frozen=True, gc=False):
    """The ticket's command will be executed, before whatever conflicts with it and begins from now on: it may be answered. `index`, `term`:
    where it stands now; after a change of leader it may stand elsewhere."""

    ticket: int
    index: int
    term: int


class FastUndecided(Struct, frozen=True, gc=False):
    """Nobody knows what becomes of the ticket's command. Ask again, by the ordered path, with the same session and request."""

    ticket: int


class Refused(Struct, frozen=True, gc=False):
    """The ticket's wish is not carried out, and never will be by this asking. `leader`: who might (0: nobody known)."""

    ticket: int
    reason: str
    leader: int = 0


REFUSALS: Final = ("not_leader", "transferring", "busy", "read_only", "too_large", "pending_change", "invalid", "stopped", "lost")
"""transferring: leadership is being handed over. busy: more is under way than the bounds allow. read_only: the disk takes nothing.
pending_change: another change of members is under way. lost: a read's leader went away before it had answered."""


class ReadReady(Struct, frozen=True, gc=False):
    """Once the state machine has applied this index, the read sees all that was committed before it was asked."""

    ticket: int
    index: int


class ReadChunk(Struct, frozen=True, gc=False):
    """Answer with `Chunk`: these octets of the own snapshot, for that member."""

    to: int
    meta: SnapshotMeta
    offset: int
    size: int


class StoreChunk(Struct, frozen=True, gc=False):
    """Write aside a piece of another's snapshot; pieces come in order, offset 0 begins anew. After the `last`: check the digest, make
    durable, rename, let the state machine take it, then `SnapshotStored`."""

    meta: SnapshotMeta
    offset: int
    data: bytes
    last: bool


class Compact(Struct, frozen=True, gc=False):
    """Entries up to this index are no longer needed; the log on disk may forget them."""

    index: int


class TakeSnapshot(Struct, frozen=True, gc=False):
    """Snapshot the state machine as it is after exactly this index, which is the last that was delivered, before anything after it is
    applied; then `SnapshotTaken`. Members of a Byzantine group prove snapshots to each other by being alike, and an epoch ends with one.
    Other snapshots may be taken as before."""

    index: int


class Changed(Struct, frozen=True, gc=False):
    """Role, term, leader or members are others. role: follower, candidate, leader, learner, removed. `why`: for the log of events."""

    role: str
    term: int
    leader: int
    members: Members
    why: str = ""


Effect = (
    Persist
    | Send
    | Deliver
    | Proposed
    | FastDecided
    | FastUndecided
    | Refused
    | ReadReady
    | ReadChunk
    | StoreChunk
    | Compact
    | TakeSnapshot
    | Changed
)


class Replica(Protocol):
    """A consensus core, whatever its protocol."""

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        """Take an input; what is to be done, in this order."""

    def next_wake(self) -> float:
        """When `Wake` is due; infinity where it need not be."""

    @property
    def leader(self) -> int:
        """Who leads as far as this replica knows; 0 for nobody."""

    @property
    def commit(self) -> int:
        """The highest index that is known to be committed."""
