"""A leader's part: proposals, commitment (3.6.2), heartbeats, its lease, and stepping down when no majority is heard (6.2)."""

from math import inf
from typing import Final

from agent.core.raft import quorum
from agent.core.raft.desk import LEADER, Desk
from agent.core.raft.fast.ordering import Ordering
from agent.core.raft.membership import Membership
from agent.core.raft.messages import AppendReply, FastRecord, Gone, Heartbeat, HeartbeatReply, Held, SnapshotReply
from agent.core.raft.progress import Progress
from agent.core.raft.reads import Asker, Reads
from agent.core.raft.replication import Replication
from agent.core.raft.transfer import Handover
from agent.core.replica.io import Propose, Proposed
from agent.core.replica.log import NOOP, Entry, Members

LATE_FACTOR: Final = 3
"""A wake-up later than this many heartbeats: the process was stopped, and answers may wait in its sockets."""


class Leader:
    def __init__(self, desk: Desk, replication: Replication, reads: Reads, handover: Handover) -> None:
        self._desk = desk
        self._replication = replication
        self._reads = reads
        self._handover = handover
        self._ordering = Ordering(desk)
        self.membership = Membership(desk, replication, self._append_one)
        self._term_start = 0
        """The index of this term's first entry."""
        self._round = 0
        self._acked_round: dict[int, int] = {}
        self._heartbeat_at = inf
        self._notice_at = inf
        self._quorum_check_at = inf
        self._members: Members | None = None

    # -- terms of office

    def begin(self, held: dict[int, tuple[Held, ...]]) -> None:
        """We are elected: a first entry of this term, for everybody, and what our voters hold for us of the fast path."""
        desk = self._desk
        desk.role = LEADER
        desk.leader = desk.me
        self._replication.begin()
        self._handover.begin()
        self._round = 0
        self._acked_round = {}
        self._members = desk.members
        self._heartbeat_at = desk.now + desk.config.heartbeat_s
        self._notice_at = inf
        self._quorum_check_at = desk.now + desk.config.election_s
        self._term_start = desk.log.last + 1
        self.membership.begin()
        replayed = self._ordering.begin(held)
        desk.log.extend((Entry(desk.term, self._term_start, NOOP, b""), *replayed))
        self._replication.send_all()

    def end(self) -> None:
        self._heartbeat_at = self._notice_at = self._quorum_check_at = inf
        self._replication.end()
        self._handover.end()
        self._reads.lead_ends()

    @property
    def wake_at(self) -> float:
        return min(self._heartbeat_at, self._notice_at)

    @property
    def progress(self) -> dict[int, Progress]:
        return self._replication.progress

    # -- proposals

    def on_propose(self, event: Propose) -> None:
        """All of it is one batch: one write, one message to each."""
        desk = self._desk
        log = desk.log
        config = desk.config
        reason = ""
        if self._handover.target:
            reason = "transferring"
        elif not desk.writable:
            reason = "read_only"
        elif desk.me not in desk.members.voters and desk.me not in desk.members.outgoing:
            reason = "not_leader"
        elif log.bytes_after(desk.commit) >= config.max_uncommitted_bytes:
            reason = "busy"
        if reason:
            for ticket, _ in event.items:
                desk.refuse(ticket, reason)
            return
        term, kind, most, index = desk.term, event.kind, config.max_command_bytes, log.last
        room = config.max_uncommitted_bytes - log.bytes_after(desk.commit)
        out = desk.out
        entries = []
        for ticket, command in event.items:
            size = len(command)
            if size > most:
                desk.refuse(ticket, "too_large")
                continue
            room -= size
            if room < 0:
                desk.refuse(ticket, "busy")
                continue
            index += 1
            entries.append(Entry(term, index, kind, command))
            out.append(Proposed(ticket, index, term))
        if entries:
            first = log.last + 1
            log.extend(entries)
            # Of keys that are not one for each entry, nothing is known.
            self._ordering.note_proposed(event.keys if len(entries) == len(event.keys) else (), first)
            self._replication.send_all()

    def on_record(self, sender: int, message: FastRecord) -> None:
        """Commands of the fast path: they are ordered like others, and perhaps answered before they are committed."""
        desk = self._desk
        open_to_new = not self._handover.target and desk.writable
        reply, grown = self._ordering.on_record(message, open_to_new)
        if grown:
            if desk.witness.changed:
                desk.hard_dirty = True
            desk.say_when_stored(sender, reply)
            self._replication.send_all()
        else:
            desk.send(sender, reply)

    def _append_one(self, kind: int, data: bytes) -> int:
        desk = self._desk
        index = desk.log.last + 1
        desk.log.extend((Entry(desk.term, index, kind, data),))
        if desk.members is not self._members:
            self._on_members()
        self._replication.send_all()
        return index

    def _on_members(self) -> None:
        desk = self._desk
        self._members = desk.members
        self._replication.follow_members()
        self._acked_round = {member: number for member, number in self._acked_round.items() if member in self.progress}
        self._handover.follow_members()
        self.membership.on_members()

    # -- commitment

    def _quorum_index(self) -> int:
        members = self._desk.members
        return quorum.jointly(members.voters, members.outgoing, self._replication.match, 0, self._desk.log.last)

    def advance(self) -> None:
        """Commit what a majority has, if it is of this term: older entries are committed by what stands behind them (3.6.2)."""
        desk = self._desk
        index = self._quorum_index()
        if index <= desk.commit or desk.log.term(index) != desk.term:
            return
        first = desk.commit < self._term_start
        desk.commit_to(index)
        if desk.config.commit_notice_s <= 0:
            self._replication.send_commit()
        elif self._notice_at == inf and self.progress:
            self._notice_at = desk.now + desk.config.commit_notice_s
        self._reads.on_commit()
        self.membership.on_commit()
        if first:
            for asker in self._reads.take_early():
                self.on_read(asker)
        members = desk.members
        if desk.me not in members.voters and desk.me not in members.outgoing and desk.log.members_index <= desk.commit:
            # The group is without us from here on (4.2.2).
            self._replication.send_commit()
            self._handover.say_good_bye()
            desk.resign = "not of the group any more"

    def on_stored(self) -> None:
        desk = self._desk
        self._replication.match[desk.me] = desk.log.stable
        self.advance()

    def on_append_reply(self, sender: int, message: AppendReply) -> None:
        progress = self._heard(sender)
        if progress is None:
            return
        if not self._replication.on_reply(sender, progress, message):
            if message.ok:
                self._replication.send_entries(sender, progress)
            return
        self.advance()
        self._replication.send_entries(sender, progress)
        self.membership.on_progress()
        self._handover.on_progress(sender, progress)

    def on_snapshot_reply(self, sender: int, message: SnapshotReply) -> None:
        progress = self._heard(sender)
        if progress is not None:
            self._replication.on_snapshot_reply(sender, progress, message)

    def _heard(self, sender: int) -> Progress | None:
        desk = self._desk
        progress = self.progress.get(sender)
        if progress is None:
            desk.counters.ignored += 1
            return None
        if desk.now - progress.heard_at > LATE_FACTOR * desk.config.heartbeat_s:
            progress.well_since = desk.now
        progress.heard_at = desk.now
        progress.heard = True
        return progress

    # -- heartbeats

    def on_wake(self) -> None:
        desk = self._desk
        config = desk.config
        if desk.now >= self._notice_at:
            self._notice_at = inf
            self._replication.send_commit()
        if desk.now < self._heartbeat_at:
            return
        if desk.now - self._heartbeat_at > LATE_FACTOR * config.heartbeat_s:
            self._quorum_check_at = max(self._quorum_check_at, desk.now + config.election_s / 2)
        self._heartbeat_at = desk.now + config.heartbeat_s
        if desk.now >= self._quorum_check_at and self._quorum_heard_at() < desk.now - config.election_s:
            desk.resign = "no majority is heard"
            return
        self._beat()
        self._replication.repeat_offers()
        self._handover.on_tick()
        self.membership.on_tick()
        desk.save_commit()

    def _quorum_heard_at(self) -> float:
        heard = {member: progress.heard_at for member, progress in self.progress.items()}
        return self._jointly(heard, self._desk.now)

    def _jointly(self, times: dict[int, float], own: float) -> float:
        members = self._desk.members
        times[self._desk.me] = own
        return quorum.jointly(members.voters, members.outgoing, times, -inf, own)

    def _beat(self) -> None:
        """A round of heartbeats: it also answers for the reads that wait for one."""
        desk = self._desk
        self._round += 1
        self._reads.begin_round(self._round)
        commit, match = desk.commit, self._replication.match
        for member in self.progress:
            desk.send(member, Heartbeat(desk.term, min(commit, match[member]), self._round, desk.now))

    def on_heartbeat_reply(self, sender: int, message: HeartbeatReply) -> None:
        desk = self._desk
        progress = self._heard(sender)
        if progress is None or message.round > self._round:
            return
        progress.acked_sent = max(progress.acked_sent, message.sent)
        progress.disk_s = message.disk_s
        progress.writable = message.writable
        if not message.writable or message.disk_s >= desk.config.disk_slow_s / 2:
            progress.well_since = desk.now
        if message.round > self._acked_round.get(sender, 0):
            self._acked_round[sender] = message.round
            self._confirm_reads()
        self._replication.on_heartbeat_reply(sender, progress)

    # -- reads

    @property
    def lease_until(self) -> float:
        """Until when no other can have been elected: a majority has promised, by heartbeats sent then or later, not to vote."""
        desk = self._desk
        if self._handover.lease_given_up:
            return -inf
        sent = {member: progress.acked_sent for member, progress in self.progress.items() if progress.acked_sent >= 0}
        return self._jointly(sent, desk.now) + desk.config.election_s * (1 - desk.config.clock_drift)

    def on_read(self, asker: Asker) -> None:
        desk = self._desk
        own_term = desk.commit >= self._term_start
        lease = own_term and asker[2] and desk.now < self.lease_until
        if self._reads.ask(asker, own_term, lease) and self._reads.wants_round:
            self._beat()
            self._confirm_reads()

    def _confirm_reads(self) -> None:
        if self._reads.waiting:
            members = self._desk.members
            acked = {**self._acked_round, self._desk.me: self._round}
            self._reads.confirm(quorum.jointly(members.voters, members.outgoing, acked, 0, self._round))
            if self._reads.wants_round:
                self._beat()

    # -- others

    def on_stranger(self, sender: int) -> None:
        """Someone stands for election who is not of the group, as all its voters know: tell it so."""
        desk = self._desk
        members = desk.members
        known = sender in members.voters or sender in members.outgoing or sender in members.learners
        if not known and desk.log.members_index <= desk.commit:
            desk.send(sender, Gone(desk.term, desk.log.members_index))
