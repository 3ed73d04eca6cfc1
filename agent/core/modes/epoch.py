"""A group's epochs: which protocol decides from which index on, what ends one, and what a replica must know of its own.

`Epoch` is an entry of kind EPOCH. The first valid one in epoch N's log ends it at its index i; what that log has after i counts for
nothing, and epoch N + 1 begins with the state after i. Validity is a function of the entry and of epoch N alone.
"""

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent.core.replica.log import Members

ORDERED: Final = 0
FAST: Final = 1
BYZANTINE: Final = 2
NAMES: Final = ("ordered", "fast", "byzantine")
"""ordered: Raft. fast: Raft with the fast path. byzantine: PBFT."""
BYZANTINE_VOTERS: Final = 4

BATCH_BYTES: Final = (16 * 1024, 1024 * 1024)
ELECTION_MS: Final = (150, 10_000)
"""Bounds inside which any proposal, a model's above all, may move: a bad one costs speed."""


class Tuning(Struct, frozen=True, array_like=True):
    """0: as the configuration says."""

    batch_bytes: int = 0
    election_ms: int = 0

    def bounded(self) -> "Tuning":
        return Tuning(clip(self.batch_bytes, BATCH_BYTES), clip(self.election_ms, ELECTION_MS))


def clip(value: int, bounds: tuple[int, int]) -> int:
    return 0 if value <= 0 else min(max(value, bounds[0]), bounds[1])


class Epoch(Struct, frozen=True, array_like=True):
    """`voters`: of the next epoch, among the members of this one; empty: the same. `hierarchical`: the group is one of a hierarchy's.
    `close`: ends nothing yet; from it on nothing is decided by the fast path (see `Epochs`)."""

    number: int
    mode: int
    voters: tuple[int, ...] = ()
    tuning: Tuning = Tuning()
    hierarchical: bool = False
    pinned: bool = False
    why: str = ""
    close: bool = False


class EpochState(Struct, frozen=True, array_like=True):
    """Where an epoch began: after the entry at `index` (of `term`), with these members. `proof`: what convinces members of a Byzantine
    epoch before it that it is over."""

    number: int = 0
    mode: int = ORDERED
    index: int = 0
    term: int = 0
    members: Members = Members()
    tuning: Tuning = Tuning()
    hierarchical: bool = False
    pinned: bool = False
    proof: bytes = b""


_encoder: Final = msgspec.msgpack.Encoder()
_epoch: Final = msgspec.msgpack.Decoder(Epoch)


def encode_epoch(epoch: Epoch) -> bytes:
    return _encoder.encode(epoch)


def decode_epoch(data: bytes) -> Epoch | None:
    """None for what is none."""
    try:
        return _epoch.decode(data)
    except msgspec.MsgspecError:
        return None


def wrong_with(epoch: Epoch | None, state: EpochState, members: Members) -> str:
    """Why this entry does not end that epoch, whose members are these now; empty where it does."""
    if epoch is None:
        return "no epoch"
    if epoch.number != state.number + 1:
        return f"epoch {epoch.number}, expected {state.number + 1}"
    if epoch.mode not in range(len(NAMES)):
        return f"mode {epoch.mode}"
    if members.outgoing:
        return "the members are changing"
    voters = epoch.voters or members.voters
    if not set(voters) <= {*members.voters, *members.learners} or tuple(sorted(set(voters))) != voters:
        return "voters who are no members"
    if epoch.mode == BYZANTINE and len(voters) < BYZANTINE_VOTERS:
        return f"{len(voters)} voters, a Byzantine epoch needs {BYZANTINE_VOTERS}"
    return ""


def next_state(epoch: Epoch, members: Members, index: int, term: int) -> EpochState:
    voters = epoch.voters or members.voters
    learners = tuple(sorted({*members.voters, *members.learners} - set(voters)))
    after = Members(voters=voters, learners=learners, peers=members.peers)
    return EpochState(epoch.number, epoch.mode, index, term, after, epoch.tuning.bounded(), epoch.hierarchical, epoch.pinned)


# -- on disk

MARK: Final = b"\xc1epochs1"
"""Begins `HardState.extra` (0xc1 is no msgpack): what is without it is of a replica that knew no epochs, in epoch 0."""


class Kept(Struct, frozen=True, array_like=True):
    """`blank`: the state after `state.index` is still to be fetched. `inner`: the protocol's own. `closed`: nothing more is taken the fast
    way in this epoch (the entry that says so may be behind a snapshot)."""

    state: EpochState
    blank: bool
    inner: bytes
    closed: bool = False


_kept: Final = msgspec.msgpack.Decoder(Kept)


def encode_kept(kept: Kept) -> bytes:
    return MARK + _encoder.encode(kept)


def decode_kept(extra: bytes, members: Members) -> Kept:
    """Raises ValueError for what nobody wrote. `members`: those of a group that has no epochs yet."""
    if not extra.startswith(MARK):
        return Kept(EpochState(members=members), False, extra)
    try:
        return _kept.decode(extra[len(MARK) :])
    except msgspec.MsgspecError as error:
        raise ValueError(f"the epoch on disk cannot be read: {error}") from None


def with_proof(state: EpochState, proof: bytes) -> EpochState:
    return replace(state, proof=proof)
