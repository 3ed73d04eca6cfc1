"""What ends an epoch, what is kept of it, and what is believed of others'."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.modes import messages
from agent.core.modes.cores import maker
from agent.core.modes.epoch import (
    BATCH_BYTES,
    BYZANTINE,
    ELECTION_MS,
    FAST,
    ORDERED,
    Epoch,
    EpochState,
    Kept,
    Tuning,
    decode_epoch,
    decode_kept,
    encode_epoch,
    encode_kept,
    next_state,
    wrong_with,
)
from agent.core.modes.epochs import Epochs
from agent.core.pbft.config import PbftConfig
from agent.core.pbft.messages import ReadAsk
from agent.core.raft.config import RaftConfig
from agent.core.raft.messages import TimeoutNow
from agent.core.replica import io
from agent.core.replica.log import EPOCH, Members, Peer, Recovered, SnapshotMeta
from agent.sim.byzantine.node import Disk

MEMBERS = Members(voters=(1, 2, 3, 4), learners=(5,), peers=tuple(Peer(i, f"n{i}") for i in range(1, 6)))
STATE = EpochState(3, ORDERED, 10, 2, MEMBERS)


@pytest.mark.parametrize(
    ("epoch", "why"),
    [
        (None, "no epoch"),
        (Epoch(3, FAST), "epoch 3, expected 4"),
        (Epoch(5, FAST), "epoch 5, expected 4"),
        (Epoch(4, 3), "mode 3"),
        (Epoch(4, ORDERED, voters=(1, 2, 9)), "no members"),
        (Epoch(4, ORDERED, voters=(2, 1)), "no members"),
        (Epoch(4, BYZANTINE, voters=(1, 2, 3)), "3 voters"),
        (Epoch(4, BYZANTINE), ""),
        (Epoch(4, BYZANTINE, voters=(1, 2, 3, 4, 5)), ""),
    ],
)
def test_what_ends_an_epoch(epoch: Epoch | None, why: str) -> None:
    found = wrong_with(epoch, STATE, MEMBERS)
    assert (why in found) if why else not found


def test_members_under_change_end_no_epoch() -> None:
    joint = Members(voters=(1, 2, 3), outgoing=(1, 2, 4), peers=MEMBERS.peers)
    assert wrong_with(Epoch(4, FAST), STATE, joint)


def test_voters_of_the_next_epoch_are_the_entry_s_and_nobody_is_lost() -> None:
    after = next_state(Epoch(4, BYZANTINE, voters=(1, 2, 3, 5)), MEMBERS, 20, 3)
    assert (after.number, after.index, after.term) == (4, 20, 3)
    assert after.members.voters == (1, 2, 3, 5) and after.members.learners == (4,)


@given(st.integers(-(2**31), 2**31), st.integers(-(2**31), 2**31))
def test_no_proposal_leaves_the_safe_bounds(batch: int, election: int) -> None:
    found = Tuning(batch, election).bounded()
    assert found.batch_bytes == 0 or BATCH_BYTES[0] <= found.batch_bytes <= BATCH_BYTES[1]
    assert found.election_ms == 0 or ELECTION_MS[0] <= found.election_ms <= ELECTION_MS[1]
    assert found.bounded() == found


def test_what_is_on_disk_comes_back_and_a_log_without_epochs_is_in_the_first() -> None:
    kept = Kept(STATE, True, b"inner")
    assert decode_kept(encode_kept(kept), Members()) == kept
    assert decode_kept(b"raft's own", MEMBERS) == Kept(EpochState(members=MEMBERS), False, b"raft's own")
    with pytest.raises(ValueError, match="cannot be read"):
        decode_kept(encode_kept(kept)[:-3], Members())


@pytest.mark.parametrize(
    "message",
    [
        messages.Tagged(7, ORDERED, TimeoutNow(3)),
        messages.Tagged(7, BYZANTINE, ReadAsk(3)),
        messages.Ended(STATE),
        messages.Ask(2),
    ],
)
def test_messages_come_back(message: messages.Message) -> None:
    assert messages.decode(messages.encode(message)) == message


@given(st.binary(max_size=200))
def test_octets_that_are_no_message_are_refused(data: bytes) -> None:
    for head in (b"", messages.TAGGED, messages.OTHER):
        try:
            message = messages.decode(head + data)
        except messages.WireError:
            continue
        assert messages.decode(messages.encode(message)) == message
    epoch = decode_epoch(data)
    assert epoch is None or decode_epoch(encode_epoch(epoch)) == epoch


def alone(mode: int) -> tuple[Epochs, Disk]:
    """The only voter of a group in this mode, as leader."""
    me = Members(voters=(1,), peers=(Peer(1, "n1"),))
    disk = Disk(SnapshotMeta(1, 1, me), b"")
    make = maker(1, b"g", RaftConfig(), PbftConfig(), Random(1), None)
    epochs = Epochs(1, make, disk.recovered()[0], 0.0, EpochState(0, mode, 1, 1, me))
    run(epochs, disk, io.Wake())
    return epochs, disk


def run(epochs: Epochs, disk: Disk, *events: io.Input) -> list[io.Effect]:
    """Everything that comes of it, with a disk that writes at once."""
    out: list[io.Effect] = []
    queue = list(events)
    while queue:
        effects = epochs.step(0.0, queue.pop(0))
        out += effects
        for effect in effects:
            if isinstance(effect, io.Persist):
                disk.write(effect)
                queue.append(io.Stored(effect.number))
    return out


def test_a_fast_epoch_is_closed_before_it_is_ended() -> None:
    epochs, disk = alone(FAST)
    effects = run(epochs, disk, io.Propose(((7, encode_epoch(Epoch(1, ORDERED))),), EPOCH))
    ends = [decode_epoch(entry.data) for one in effects if isinstance(one, io.Deliver) for entry in one.entries if entry.kind == EPOCH]
    assert [epoch.close for epoch in ends if epoch is not None] == [True, False]
    assert (epochs.state.number, epochs.mode) == (1, ORDERED)
    assert [one.ticket for one in effects if isinstance(one, io.Proposed)] == [7]
    assert any(isinstance(one, io.TakeSnapshot) and one.index == epochs.state.index for one in effects)


def test_that_an_epoch_is_closed_is_not_forgotten() -> None:
    epochs, disk = alone(FAST)
    run(epochs, disk, io.Propose(((0, encode_epoch(Epoch(1, ORDERED, close=True))),), EPOCH))
    assert epochs.state.number == 0
    assert decode_kept(disk.hard.extra, MEMBERS).closed
    refused = run(epochs, disk, io.FastPropose(((8, b"x", (1,)),)))
    assert [(one.ticket, one.reason) for one in refused if isinstance(one, io.Refused)] == [(8, "transferring")]


def test_after_a_crash_the_epoch_goes_on_where_it_began() -> None:
    epochs, disk = alone(ORDERED)
    run(epochs, disk, io.Propose(((7, b"before"),)))
    run(epochs, disk, io.Propose(((8, encode_epoch(Epoch(1, FAST))),), EPOCH))
    run(epochs, disk, io.Propose(((9, b"after"),)))
    make = maker(1, b"g", RaftConfig(), PbftConfig(), Random(1), None)
    again = Epochs(1, make, disk.recovered()[0], 0.0)
    assert again.state == epochs.state
    effects = run(again, disk, io.Wake())
    delivered = [entry for one in effects if isinstance(one, io.Deliver) for entry in one.entries]
    assert [entry.index for entry in delivered] == list(range(2, 2 + len(delivered)))
    assert [entry.data for entry in delivered if entry.kind == 0] == [b"before", b"after"]


def test_a_member_without_keys_says_so_when_a_byzantine_epoch_begins() -> None:
    make = maker(1, b"g", RaftConfig(), PbftConfig(), Random(1), None)
    with pytest.raises(ValueError, match="has no keys"):
        make(EpochState(1, BYZANTINE, 10, 2, MEMBERS), Recovered(), 0.0, False, 0)
