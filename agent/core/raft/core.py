"""One replica of a Raft group: the parts put together behind `step`. The host's duties are in `core/replica/io.py`."""

from math import inf

from agent.core.raft.config import RaftConfig
from agent.core.raft.desk import FOLLOWER, LEADER, Chance, Counters, Desk
from agent.core.raft.fast.submissions import Submissions
from agent.core.raft.follower import Follower
from agent.core.raft.leader import Leader
from agent.core.raft.log import RaftLog
from agent.core.raft.messages import (
    Append,
    AppendReply,
    FastRecord,
    FastReply,
    Gone,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from agent.core.raft.progress import Progress
from agent.core.raft.reads import Reads
from agent.core.raft.replication import Replication
from agent.core.raft.transfer import Handover
from agent.core.raft.votes import Elections
from agent.core.replica.io import (
    Applied,
    Change,
    Chunk,
    Compact,
    Effect,
    FastPropose,
    Input,
    Propose,
    Read,
    Receive,
    SnapshotStored,
    SnapshotTaken,
    Storage,
    Stored,
    Transfer,
    Unreachable,
    Wake,
)
from agent.core.replica.log import Entry, Members, Recovered


class Raft:
    """`me`: our id in the group. `recovered`: what the log on disk said; without members, the replica waits to be let in."""

    def __init__(self, me: int, config: RaftConfig, random: Chance, recovered: Recovered, now: float) -> None:
        desk = Desk(me, config, random, recovered, now)
        self._desk = desk
        self._replication = Replication(desk)
        self._reads = Reads(desk)
        self._handover = Handover(desk, self._replication)
        self._leader = Leader(desk, self._replication, self._reads, self._handover)
        self._follower = Follower(desk)
        self._elections = Elections(desk)
        self._elections.won = self._leader.begin
        self._elections.lead_ends = self._leader.end
        self._elections.leader_changed = self._on_leader_changed
        self._submissions = Submissions(desk)
        desk.watched = self._on_delivering
        if desk.members.voters == (me,):
            # Nobody else can have been promised anything.
            desk.deadline = now
        desk.deliver()

    def _on_leader_changed(self) -> None:
        self._follower.on_leader_changed()
        self._reads.on_leader_changed()
        self._submissions.on_leader_changed()

    def _on_delivering(self, entries: tuple[Entry, ...]) -> None:
        if not self._submissions.is_empty:
            self._submissions.on_delivered(entries)

    def begin_epoch(self, lead: bool) -> None:
        """This core goes on where another epoch's ended, in the same life (`core/modes`): no leader of this epoch was promised anything,
        so who led before may stand at once (`lead`), and the others may vote."""
        desk = self._desk
        desk.heard_at = -inf
        if lead:
            desk.deadline = desk.now

    # -- what is known

    @property
    def me(self) -> int:
        return self._desk.me

    @property
    def leader(self) -> int:
        return self._desk.leader

    @property
    def commit(self) -> int:
        return self._desk.commit

    @property
    def term(self) -> int:
        return self._desk.term

    @property
    def role(self) -> str:
        """follower, candidate, leader, learner or removed."""
        return self._desk.role_name

    @property
    def members(self) -> Members:
        """In force: the last ones in the log, committed or not."""
        return self._desk.members

    @property
    def log(self) -> RaftLog:
        """To be looked at only."""
        return self._desk.log

    @property
    def progress(self) -> dict[int, Progress]:
        """What a leader knows of the others; empty for others. To be looked at only."""
        return self._replication.progress

    @property
    def counters(self) -> Counters:
        return self._desk.counters

    @property
    def lease_until(self) -> float:
        """Until when reads by lease are answered without asking; minus infinity where they are not."""
        return self._leader.lease_until if self._desk.role == LEADER else -inf

    def next_wake(self) -> float:
        desk = self._desk
        if desk.role == LEADER:
            return self._leader.wake_at
        return min(self._elections.wake_at, self._reads.wake_at, self._submissions.wake_at)

    # -- the step

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        desk = self._desk
        assert now >= desk.now, "time went back"
        desk.now = now
        if isinstance(event, Receive):
            self._on_receive(event.sender, event.message)
        elif isinstance(event, Propose):
            if desk.role == LEADER:
                self._leader.on_propose(event)
            else:
                for ticket, _ in event.items:
                    desk.refuse(ticket, "not_leader")
        elif isinstance(event, Stored):
            self._on_stored(event.number)
        elif isinstance(event, Wake):
            self._on_wake()
        elif isinstance(event, Read):
            if desk.role == LEADER:
                self._leader.on_read((0, event.ticket, event.lease))
            else:
                self._reads.forward(event)
        elif isinstance(event, FastPropose):
            self._on_fast_propose(event)
        elif isinstance(event, Applied):
            desk.applied = max(desk.applied, event.index)
        else:
            self._on_other(event)
        if desk.held and desk.held[0][0] <= desk.stored:
            # Said in this step, and durable already.
            desk.stored_up_to(desk.stored)
            self._hear_own_words()
        if desk.resign:
            why, desk.resign = desk.resign, ""
            if desk.role == LEADER:
                self._elections.become_follower(desk.term, 0, why)
        return desk.finish()

    def _on_stored(self, number: int) -> None:
        desk = self._desk
        desk.stored_up_to(number)
        # Whatever was slow is done; if the next write is slow too, the host says so again.
        desk.disk_s = 0.0
        self._elections.on_stored()
        if desk.role == LEADER:
            self._leader.on_stored()
        else:
            self._follower.on_stored()
        self._hear_own_words()

    def _hear_own_words(self) -> None:
        desk = self._desk
        if desk.to_self:
            said, desk.to_self = desk.to_self, []
            for message in said:
                self._on_receive(desk.me, message)

    def _on_fast_propose(self, event: FastPropose) -> None:
        if self._desk.role == LEADER:
            # A round trip to a majority is all that it takes from here.
            items = tuple([(ticket, command) for ticket, command, _ in event.items])
            self._leader.on_propose(Propose(items, keys=tuple([keys for _, _, keys in event.items])))
            return
        own = self._submissions.on_propose(event)
        if own is not None:
            self._submissions.on_record(self._desk.me, own)

    def _on_wake(self) -> None:
        if self._desk.role == LEADER:
            self._leader.on_wake()
        else:
            self._reads.on_wake()
            self._submissions.on_wake()
            self._elections.on_wake()

    def _on_other(self, event: Input) -> None:
        desk = self._desk
        leads = desk.role == LEADER
        if isinstance(event, Storage):
            self._on_storage(event)
        elif isinstance(event, SnapshotTaken):
            self._on_snapshot_taken(event)
        elif isinstance(event, SnapshotStored):
            self._follower.on_snapshot_stored(event)
        elif isinstance(event, Chunk):
            if leads:
                self._replication.on_chunk(event)
        elif isinstance(event, Change):
            if leads and self._handover.target:
                desk.refuse(event.ticket, "transferring")
            elif leads:
                self._leader.membership.on_change(event)
            else:
                desk.refuse(event.ticket, "not_leader")
        elif isinstance(event, Transfer):
            if leads:
                self._handover.on_transfer(event)
            else:
                desk.refuse(event.ticket, "not_leader")
        elif isinstance(event, Unreachable):
            if leads:
                self._replication.on_unreachable(event.peer)
        else:
            raise AssertionError(f"no input: {event!r}")

    def _on_storage(self, event: Storage) -> None:
        desk = self._desk
        could_stand = self._elections.may_stand
        desk.writable = event.writable
        desk.disk_s = event.slow_s
        if self._elections.may_stand and not could_stand and desk.role == FOLLOWER:
            self._elections.arm()

    def _on_snapshot_taken(self, event: SnapshotTaken) -> None:
        desk = self._desk
        log = desk.log
        meta = event.meta
        known = log.snapshot
        if meta.index < known.index or (meta.index == known.index and (known.digest or not known.size)) or meta.index > desk.commit:
            # Old; or of the same place, unless of that only the place was known (`core/modes`: an epoch's beginning).
            return
        log.snapshot = meta
        config = desk.config
        point = log.compaction_point(meta.index, config.margin_entries, config.margin_bytes)
        if desk.role == LEADER:
            point = self._replication.compaction_floor(point, meta.index)
        # A disk that is behind must not be given entries that begin after a gap.
        point = min(point, log.stable)
        if point > log.offset:
            log.compact(point)
            desk.out.append(Compact(point))

    # -- messages

    def _on_receive(self, sender: int, message: object) -> None:
        desk = self._desk
        if isinstance(message, Append | Heartbeat | SnapshotChunk):
            self._on_leaders_message(sender, message)
        elif isinstance(message, AppendReply | HeartbeatReply | SnapshotReply):
            self._on_reply(sender, message)
        elif isinstance(message, VoteRequest):
            if desk.role == LEADER:
                self._leader.on_stranger(sender)
            self._elections.on_vote_request(sender, message)
        elif isinstance(message, VoteReply):
            self._elections.on_vote_reply(sender, message)
        elif isinstance(message, ReadRequest):
            if desk.role == LEADER and message.term == desk.term:
                self._leader.on_read((sender, message.number, message.lease))
            elif message.term <= desk.term:
                desk.send(sender, ReadReply(desk.term, message.number, 0, False))
        elif isinstance(message, ReadReply):
            if message.term == desk.term or not message.ok:
                self._reads.on_reply(message)
        elif isinstance(message, TimeoutNow):
            if message.term == desk.term:
                self._elections.on_timeout_now(sender)
        elif isinstance(message, FastRecord):
            if desk.role == LEADER and message.term == desk.term:
                self._leader.on_record(sender, message)
            else:
                self._submissions.on_record(sender, message)
        elif isinstance(message, FastReply):
            self._submissions.on_reply(sender, message)
        elif isinstance(message, Gone):
            self._on_gone(message)
        else:
            raise AssertionError(f"no message: {message!r}")

    def _on_leaders_message(self, sender: int, message: Append | Heartbeat | SnapshotChunk) -> None:
        desk = self._desk
        if message.term < desk.term:
            # A leader that was replaced, or one that cannot reach us while our term is higher: it learns the term and steps down.
            desk.send(sender, AppendReply(desk.term, 0, False))
            return
        if message.term > desk.term or desk.leader != sender or desk.role != FOLLOWER:
            assert desk.role != LEADER or message.term > desk.term, "two leaders in a term"
            self._elections.become_follower(message.term, sender)
        desk.removed = False
        self._elections.heard()
        if isinstance(message, Append):
            self._follower.on_append(sender, message)
        elif isinstance(message, Heartbeat):
            self._follower.on_heartbeat(sender, message)
            self._submissions.on_heartbeat()
        else:
            self._follower.on_chunk(sender, message)

    def _on_reply(self, sender: int, message: AppendReply | HeartbeatReply | SnapshotReply) -> None:
        desk = self._desk
        if message.term > desk.term:
            self._elections.become_follower(message.term, 0, "a higher term")
        elif message.term < desk.term or desk.role != LEADER:
            desk.counters.ignored += 1
        elif isinstance(message, AppendReply):
            self._leader.on_append_reply(sender, message)
        elif isinstance(message, HeartbeatReply):
            self._leader.on_heartbeat_reply(sender, message)
        else:
            self._leader.on_snapshot_reply(sender, message)

    def _on_gone(self, message: Gone) -> None:
        desk = self._desk
        if message.term >= desk.term and message.index >= desk.log.members_index and desk.role != LEADER:
            desk.removed = True
            if desk.role != FOLLOWER:
                self._elections.become_follower(desk.term, 0, "removed from the group")


__all__ = ["Message", "Raft"]
