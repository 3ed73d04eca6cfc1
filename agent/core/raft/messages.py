"""What members of a Raft group say to each other. Every message carries its sender's term (a pre-vote: the term that it would be)."""

from msgspec import Struct

from agent.core.replica.log import Entry, SnapshotMeta


class VoteRequest(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """`pre`: would you vote for me? (9.6). `transfer`: the leader told me to stand (3.10), its lease is no reason to refuse."""

    term: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


class Held(Struct, frozen=True, gc=False, array_like=True):
    """A command that a voter accepted and does not know to be committed (`fast/witness.py`)."""

    keys: tuple[int, ...]
    command: bytes


class VoteReply(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """A granted pre-vote carries the term asked for, everything else the voter's own. `held`: with a vote, what the voter holds."""

    term: int
    granted: bool
    pre: bool = False
    held: tuple[Held, ...] = ()


class Append(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Entries that follow (`prev_index`, `prev_term`). None: a probe, or news of the commit index."""

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...] = ()


class AppendReply(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """`ok`: everything up to `index` is the leader's, and durable here. Otherwise `index` is the `prev_index` that did not fit, and
    nothing above `hint_index`, whose term is `hint_term`, can fit."""

    term: int
    index: int
    ok: bool = True
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """`round` counts up in a term; `sent`: the leader's own clock, which comes back in the reply and means nothing to others.
    `commit`: never above what the receiver is known to have."""

    term: int
    commit: int
    round: int
    sent: float


class HeartbeatReply(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """`disk_s`: how long the write under way has lasted. `writable`: the disk takes writes."""

    term: int
    round: int
    sent: float
    disk_s: float = 0.0
    writable: bool = True


class SnapshotChunk(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """A piece of the snapshot; without octets and not the `last`: an offer, answered with where to go on."""

    term: int
    meta: SnapshotMeta
    offset: int
    data: bytes
    last: bool


class SnapshotReply(Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Octets before `offset` of the snapshot at `index` are here."""

    term: int
    index: int
    offset: int


class ReadRequest(Struct, frozen=True, gc=False, array_like=True, tag=9):
    """From which index on would a read be right? `number`: the asker's own."""

    term: int
    number: int
    lease: bool = False


class ReadReply(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """`ok` False: not this way, and not now."""

    term: int
    number: int
    index: int
    ok: bool = True


class TimeoutNow(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """Stand for election at once (3.10)."""

    term: int


class Gone(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """You are not of this group any more, since the members at `index`, which are committed."""

    term: int
    index: int


class Record(Struct, frozen=True, gc=False, array_like=True):
    """A command for the fast path. `number`: the submitter's own."""

    number: int
    keys: tuple[int, ...]
    command: bytes


class FastRecord(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """Hold these, if they conflict with nothing that is held; the leader orders them as well."""

    term: int
    records: tuple[Record, ...]


class FastAnswer(Struct, frozen=True, gc=False, array_like=True):
    """`accepted`: held, durably. `index`: where the leader put it; 0 from others, and from a leader that did not."""

    number: int
    accepted: bool
    index: int = 0


class FastReply(Struct, frozen=True, gc=False, array_like=True, tag=14):
    """`config`: the index of the leader's members; 0 from others."""

    term: int
    config: int
    answers: tuple[FastAnswer, ...]


Message = (
    VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | SnapshotChunk
    | SnapshotReply
    | ReadRequest
    | ReadReply
    | TimeoutNow
    | Gone
    | FastRecord
    | FastReply
)
