"""The words of a replicated log: entries, what must survive a crash, and who belongs to a group."""

from typing import Final

from msgspec import Struct

COMMAND: Final = 0
"""An entry of the state machine's: an envelope (`core/machine/envelope.py`)."""
NOOP: Final = 1
"""A leader's first entry: nothing but a place in the log (Raft dissertation, 6.4)."""
MEMBERS: Final = 2
"""The group's members from here on: `Members` as msgpack. In force as soon as it is in the log, committed or not (Raft, 4.1)."""
EPOCH: Final = 3
"""The epoch ends at this index; the next one starts from the state here: `Epoch` as msgpack."""
KINDS: Final = ("command", "noop", "members", "epoch")


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """One place in the log. Indices begin with 1 and have no gap. `term`: Raft's term, PBFT's view."""

    term: int
    index: int
    kind: int
    data: bytes


class HardState(Struct, frozen=True, gc=False, array_like=True):
    """What a replica must not forget, beside its entries. `vote`: a member's id, 0 for none. `extra`: a protocol's own (opaque)."""

    term: int = 0
    vote: int = 0
    commit: int = 0
    extra: bytes = b""


class Peer(Struct, frozen=True, gc=False, array_like=True):
    """A member of a group. `id` is drawn at random for each life of a log (1 to 2**53-1), and never used again: one who lost its log
    is another member. `priority`: those with more are elected first (0 to 9; 0: never stands)."""

    id: int
    name: str
    zone: str = ""
    region: str = ""
    priority: int = 1


class Members(Struct, frozen=True, gc=False, array_like=True):
    """Who belongs to a group. While `outgoing` is not empty the group is in joint consensus (Raft dissertation, 4.3): a majority of
    `voters` and one of `outgoing` must agree. Ids are sorted. `learners` receive and do not vote. `learners_next`: voters of the
    outgoing part that become learners when the joint part ends. `peers`: everybody who is named in one of the others. `target`: the
    voters that the group is to have once those among them that are learners have caught up; empty: it waits for nobody."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False
    peers: tuple[Peer, ...] = ()
    target: tuple[int, ...] = ()


class SnapshotMeta(Struct, frozen=True, gc=False, array_like=True):
    """A snapshot of the state machine after `index`, whose entry was of `term`. `size`: octets. `digest`: SHA-256 of the octets."""

    index: int = 0
    term: int = 0
    members: Members = Members()
    epoch: int = 0
    size: int = 0
    digest: bytes = b""


class Recovered(Struct, frozen=True, gc=False):
    """What the log on disk said when the replica started. A new log: all defaults. `entries` follow `snapshot.index` without a gap."""

    hard: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    entries: tuple[Entry, ...] = ()
