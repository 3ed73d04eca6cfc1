"""Edges that simulations found."""

from random import Random

from msgspec.structs import replace

from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.messages import Append, AppendReply, SnapshotReply
from agent.core.replica import io
from agent.core.replica.log import COMMAND, Entry, Members, Peer, Recovered, SnapshotMeta
from tests.unit.raft.test_group import CONFIG, Table, group_of


def test_a_disk_that_is_behind_is_not_given_entries_behind_a_gap() -> None:
    config = RaftConfig(margin_entries=0)
    begin = Recovered(snapshot=SnapshotMeta(index=1, term=1, members=group_of(3)))
    raft = Raft(1, config, Random(1), begin, 0.0)
    said = raft.step(0.0, io.Storage(writable=False))
    assert not [one for one in said if isinstance(one, io.Persist)]
    entries = tuple(Entry(2, index, COMMAND, b"x") for index in range(2, 8))
    raft.step(0.1, io.Receive(2, Append(2, 1, 1, 7, entries)))
    assert raft.commit == 7
    raft.step(0.2, io.SnapshotTaken(SnapshotMeta(index=6, term=2, members=group_of(3), size=1)))
    (written, *_) = raft.step(0.3, io.Storage(writable=True))
    assert [entry.index for entry in written.entries] == list(range(2, 8))


def test_a_disk_that_was_slow_is_well_when_the_write_is_done() -> None:
    table = Table(group_of(3))
    leader = table.elect()
    follower = next(one for one in table.raft if one != leader.me)
    table.feed(follower, io.Storage(writable=True, slow_s=2.0))
    table.run(0.2)
    assert leader.progress[follower].disk_s == 2.0
    table.feed(leader.me, io.Propose(((1, b"a"),)))
    table.run(0.2)
    assert leader.progress[follower].disk_s == 0.0


def test_a_learner_that_was_given_up_may_try_again() -> None:
    table = Table(group_of(3), replace(CONFIG, promotion_timeout_s=2.0))
    leader = table.elect()
    new = Peer(9, "n9")
    wanted = Members(voters=(1, 2, 3, 9), peers=(*group_of(3).peers, new))
    table.feed(leader.me, io.Change(1, wanted))
    assert leader.members.learners == (9,) and leader.members.target == (1, 2, 3, 9)
    table.run(3.0)
    assert leader.members.learners == (9,) and not leader.members.target
    table.raft[9] = Raft(9, CONFIG, Random(9), Recovered(), table.now)
    table.applied[9] = []
    table.feed(leader.me, io.Change(2, wanted))
    table.run(1.0)
    assert leader.members.voters == (1, 2, 3, 9) and not leader.members.outgoing
    assert table.raft[9].commit == leader.commit


def test_an_answer_that_comes_twice_brings_a_piece_of_a_snapshot_once() -> None:
    """Else a network that doubles packets multiplies them: chunk, two answers, two chunks, four answers."""
    table = Table(group_of(3), replace(CONFIG, margin_entries=0, snapshot_chunk_bytes=10))
    leader = table.elect()
    late = next(one for one in (1, 2, 3) if one != leader.me)
    table.cut.add(late)
    for number in range(4):
        table.feed(leader.me, io.Propose(((number, b"x"),)))
    meta = SnapshotMeta(index=leader.commit, term=leader.term, members=leader.members, size=100)
    table.run(2.0)
    leader.step(table.now, io.SnapshotTaken(meta))
    for _ in range(2):
        # The first may find a pipeline to give up, the second a probe.
        leader.step(table.now, io.Receive(late, AppendReply(leader.term, leader.progress[late].next - 1, False, 1, 1)))
    assert leader.progress[late].meta == meta
    first = leader.step(table.now, io.Receive(late, SnapshotReply(leader.term, meta.index, 0)))
    assert [one for one in first if isinstance(one, io.ReadChunk)] == [io.ReadChunk(late, meta, 0, 10)]
    leader.step(table.now, io.Chunk(late, meta, 0, b"x" * 10))
    for _ in range(3):
        again = leader.step(table.now, io.Receive(late, SnapshotReply(leader.term, meta.index, 0)))
        assert not [one for one in again if isinstance(one, io.ReadChunk)]
    following = leader.step(table.now, io.Receive(late, SnapshotReply(leader.term, meta.index, 10)))
    assert io.ReadChunk(late, meta, 10, 10) in following
    assert not leader.step(table.now, io.Receive(late, SnapshotReply(leader.term, meta.index, 0)))
