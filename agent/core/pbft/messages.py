"""What members of a Byzantine group say to each other. `said()`: the octets' content that the signature covers.

Names are the paper's (OSDI 1999, 4.2 to 4.4). `sig` is made with the key of who says it; `Proposal.sig` with that of its view's primary.
What bears no signature is either checked by a digest that is proved otherwise or harmless.
"""

from typing import Final

from msgspec import Struct

from agent.core.replica.log import Entry

Row = tuple[int, int, bytes]
"""An origin, its highest number executed, and a bit for each of the 256 numbers up to it (big-endian, the lowest is the highest's)."""


class Request(Struct, frozen=True, array_like=True, tag=1):
    """Commands of the agent `origin`. It numbers its requests; none is executed twice."""

    origin: int
    number: int
    kind: int
    items: tuple[bytes, ...]
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (1, self.origin, self.number, self.kind, self.items)


class Batch(Struct, frozen=True, array_like=True):
    """What one sequence number orders. `view`: in which it was first proposed. No requests: the null request (4.4)."""

    view: int
    requests: tuple[Request, ...]


class Proposal(Struct, frozen=True, array_like=True):
    """A pre-prepare without its batch (`Batch` is bound by the digest)."""

    view: int
    seq: int
    digest: bytes
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (2, self.view, self.seq, self.digest)


class PrePrepare(Struct, frozen=True, array_like=True, tag=2):
    proposal: Proposal
    batch: Batch


class Prepare(Struct, frozen=True, array_like=True, tag=3):
    """`shown`: the primary's signature of the proposal: two of them that differ convict it."""

    view: int
    seq: int
    digest: bytes
    sender: int
    shown: bytes
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (3, self.view, self.seq, self.digest)


class Commit(Struct, frozen=True, array_like=True, tag=4):
    view: int
    seq: int
    digest: bytes
    sender: int
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (4, self.view, self.seq, self.digest)


class Checkpoint(Struct, frozen=True, array_like=True, tag=5):
    """The state after batch `seq`: the last entry's index and term, the hash chain over all entries, the digest of the table of numbers."""

    seq: int
    index: int
    term: int
    chain: bytes
    table: bytes
    sender: int
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (5, *self.body())

    def body(self) -> tuple[int, int, int, bytes, bytes]:
        return (self.seq, self.index, self.term, self.chain, self.table)


class Prepared(Struct, frozen=True, array_like=True):
    """A prepared certificate: the proposal and matching prepares of a quorum less the primary, as (sender, signature)."""

    view: int
    seq: int
    digest: bytes
    shown: bytes
    prepares: tuple[tuple[int, bytes], ...]


class ViewChange(Struct, frozen=True, array_like=True, tag=6):
    """`stable`, `proof`: n and C; `prepared`: P (4.4)."""

    view: int
    stable: int
    proof: tuple[Checkpoint, ...]
    prepared: tuple[Prepared, ...]
    sender: int
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (6, self.view, self.stable, self.proof, self.prepared)


class NewView(Struct, frozen=True, array_like=True, tag=7):
    """`changes`: V; `proposals`: O (4.4)."""

    view: int
    changes: tuple[ViewChange, ...]
    proposals: tuple[Proposal, ...]
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (7, self.view, self.changes, self.proposals)


class Status(Struct, frozen=True, array_like=True, tag=8):
    """How far the sender is; who has more sends it again."""

    view: int
    active: bool
    executed: int
    stable: int


class StableProof(Struct, frozen=True, array_like=True, tag=9):
    proof: tuple[Checkpoint, ...]


class FetchBatch(Struct, frozen=True, array_like=True, tag=10):
    seq: int
    digest: bytes


class BatchIs(Struct, frozen=True, array_like=True, tag=11):
    seq: int
    batch: Batch


class FetchEntries(Struct, frozen=True, array_like=True, tag=12):
    """From this index up to the checkpoint after batch `seq`."""

    index: int
    seq: int


class EntriesAre(Struct, frozen=True, array_like=True, tag=13):
    """`table`: that of the checkpoint, with its last entries."""

    seq: int
    entries: tuple[Entry, ...]
    table: tuple[Row, ...] | None = None


class Vouch(Struct, frozen=True, array_like=True, tag=14):
    """The snapshot at this checkpoint has these octets."""

    seq: int
    index: int
    term: int
    chain: bytes
    table: bytes
    digest: bytes
    size: int
    sender: int
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (14, *self.body())

    def body(self) -> tuple[int, int, int, bytes, bytes, bytes, int]:
        return (self.seq, self.index, self.term, self.chain, self.table, self.digest, self.size)


class Offer(Struct, frozen=True, array_like=True, tag=15):
    """A snapshot instead of entries that are forgotten; f + 1 members vouch for it."""

    vouches: tuple[Vouch, ...]
    table: tuple[Row, ...]


class FetchChunk(Struct, frozen=True, array_like=True, tag=16):
    index: int
    offset: int


class Part(Struct, frozen=True, array_like=True, tag=17):
    index: int
    offset: int
    data: bytes


class ReadAsk(Struct, frozen=True, array_like=True, tag=18):
    nonce: int


class ReadAnswer(Struct, frozen=True, array_like=True, tag=19):
    """The highest index that is prepared at the sender."""

    nonce: int
    index: int
    sender: int
    sig: bytes = b""

    def said(self) -> tuple[object, ...]:
        return (19, self.nonce, self.index)


class Decision(Struct, frozen=True, array_like=True, tag=20):
    """A quorum's commits to one batch: what one member saw decided, it can show to another from whom a liar kept its vote."""

    view: int
    seq: int
    digest: bytes
    commits: tuple[tuple[int, bytes], ...]


Message = (
    Request
    | PrePrepare
    | Prepare
    | Commit
    | Checkpoint
    | ViewChange
    | NewView
    | Status
    | StableProof
    | FetchBatch
    | BatchIs
    | FetchEntries
    | EntriesAre
    | Vouch
    | Offer
    | FetchChunk
    | Part
    | ReadAsk
    | ReadAnswer
    | Decision
)
Signed = Request | Proposal | Prepare | Commit | Checkpoint | ViewChange | NewView | Vouch | ReadAnswer

NULL: Final = bytes(32)
"""The digest of the null request, which the paper's new view puts where nothing was prepared."""
