"""Three Raft replicas on a table, messages and writes carried by hand: they elect, commit, read, and take each other's place."""

from collections import deque
from random import Random

import pytest

from agent.core.raft import wire
from agent.core.raft.config import RaftConfig, validate
from agent.core.raft.core import Raft
from agent.core.replica import io
from agent.core.replica.log import COMMAND, Entry, Members, Peer, Recovered, SnapshotMeta

CONFIG = RaftConfig(commit_notice_s=0.0)


def group_of(count: int, priorities: tuple[int, ...] = ()) -> Members:
    ids = tuple(range(1, count + 1))
    peers = tuple(Peer(one, f"n{one}", priority=priorities[one - 1] if priorities else 1) for one in ids)
    return Members(voters=ids, peers=peers)


class Table:
    """Everything arrives at once and in order; writes are durable at once. `cut`: members that hear and say nothing."""

    def __init__(self, members: Members, config: RaftConfig = CONFIG) -> None:
        self.now = 0.0
        begin = Recovered(snapshot=SnapshotMeta(index=1, term=1, members=members))
        self.raft = {one: Raft(one, config, Random(one), begin, 0.0) for one in (*members.voters, *members.learners)}
        self.applied: dict[int, list[Entry]] = {one: [] for one in self.raft}
        self.effects: list[tuple[int, io.Effect]] = []
        self.cut: set[int] = set()

    def feed(self, member: int, event: io.Input) -> list[io.Effect]:
        """What came of it, everything that followed from it carried out."""
        begin = len(self.effects)
        queue = deque([(member, event)])
        while queue:
            at, event = queue.popleft()
            for effect in self.raft[at].step(self.now, event):
                self.effects.append((at, effect))
                if isinstance(effect, io.Persist):
                    queue.append((at, io.Stored(effect.number)))
                elif isinstance(effect, io.Deliver):
                    self.applied[at] += effect.entries
                elif isinstance(effect, io.StoreChunk):
                    queue.append((at, io.SnapshotStored(effect.meta)))
                elif isinstance(effect, io.Send) and not {at, effect.to} & self.cut and effect.to in self.raft:
                    queue.append((effect.to, io.Receive(at, wire.decode(wire.encode(effect.message)))))
        return [effect for at, effect in self.effects[begin:] if at == member]

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            due = {one: raft.next_wake() for one, raft in self.raft.items() if one not in self.cut}
            first = min(due, key=lambda one: due[one])
            if due[first] > until:
                break
            self.now = max(self.now, due[first])
            self.feed(first, io.Wake())
        self.now = until

    def elect(self) -> Raft:
        for _ in range(20):
            self.run(1.0)
            leads = [raft for one, raft in self.raft.items() if raft.role == "leader" and one not in self.cut]
            if leads:
                return max(leads, key=lambda raft: raft.term)
        raise AssertionError("no leader in 20 s")


def test_a_group_elects_a_leader_and_commits_what_is_proposed() -> None:
    table = Table(group_of(3))
    leader = table.elect()
    said = table.feed(leader.me, io.Propose(((7, b"a"), (8, b"b"))))
    assert [one for one in said if isinstance(one, io.Proposed)] == [io.Proposed(7, 3, 2), io.Proposed(8, 4, 2)]
    for applied in table.applied.values():
        assert [entry.data for entry in applied if entry.kind == COMMAND] == [b"a", b"b"]


def test_one_proposal_of_many_commands_is_one_write_and_one_message_to_each() -> None:
    table = Table(group_of(3))
    leader = table.elect()
    said = leader.step(table.now, io.Propose(tuple((ticket, b"x") for ticket in range(50))))
    assert [type(one).__name__ for one in said] == ["Persist", *["Proposed"] * 50, "Send", "Send"]
    assert len(said[0].entries) == 50 and len(said[-1].message.entries) == 50


@pytest.mark.parametrize("lease", [False, True])
def test_reads_of_the_leader_and_of_followers_see_what_is_committed(lease: bool) -> None:
    table = Table(group_of(3))
    leader = table.elect()
    table.feed(leader.me, io.Propose(((1, b"a"),)))
    for member in table.raft:
        said = table.feed(member, io.Read(5, lease))
        assert io.ReadReady(5, 3) in said


def test_when_the_leader_is_gone_another_has_everything() -> None:
    table = Table(group_of(3))
    first = table.elect()
    table.feed(first.me, io.Propose(((1, b"a"),)))
    table.cut = {first.me}
    second = table.elect()
    assert second.me != first.me
    table.feed(second.me, io.Propose(((2, b"b"),)))
    assert [entry.data for entry in table.applied[second.me] if entry.kind == COMMAND] == [b"a", b"b"]
    table.cut = set()
    table.run(1.0)
    assert first.role == "follower" and first.commit == second.commit


def test_configurations_that_cannot_work_are_told() -> None:
    assert validate(RaftConfig()) == []
    assert len(validate(RaftConfig(heartbeat_s=0.5, clock_drift=0.7, max_inflight=0, max_batch_bytes=9 << 20))) == 4
