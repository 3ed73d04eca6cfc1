"""A follower's part of log replication (3.5), and how it takes a snapshot (5.3)."""

from agent.core.raft.desk import Desk
from agent.core.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, SnapshotChunk, SnapshotReply
from agent.core.replica.io import Compact, SnapshotStored, StoreChunk
from agent.core.replica.log import Entry, SnapshotMeta


class Follower:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._verified = 0
        """Our log is the leader's of this term up to here."""
        self._owed = False
        """The leader has not been told of all that is verified and durable."""
        self._incoming: SnapshotMeta | None = None
        self._offset = 0
        self._installing = False
        self._compact: tuple[int, int] | None = None

    def on_leader_changed(self) -> None:
        """What was verified was the other's."""
        self._verified = 0
        self._owed = False

    @property
    def is_installing(self) -> bool:
        return self._installing

    def on_append(self, sender: int, message: Append) -> None:
        desk = self._desk
        log = desk.log
        if self._installing:
            # The state machine is being replaced; nothing may be delivered to it meanwhile.
            return
        prev = message.prev_index
        if prev < desk.commit:
            self._overlap(message)
        elif (prev > log.last) or log.term(prev) != message.prev_term:
            desk.counters.rejected_appends += 1
            index, term = log.conflict(min(prev, log.last), message.prev_term)
            desk.send(sender, AppendReply(desk.term, prev, False, index, term))
            return
        else:
            entries = message.entries
            if entries:
                if prev != log.last:
                    entries = self._skip_known(entries)
                if entries:
                    log.extend(entries)
            self._verified = max(self._verified, prev + len(message.entries))
        if message.commit > desk.commit:
            desk.commit_to(min(message.commit, max(self._verified, desk.commit)))
        self._acknowledge(sender)

    def _overlap(self, message: Append) -> None:
        """It begins before our commit index: what is committed is the same in every log that can be a leader's."""
        desk = self._desk
        entries = message.entries
        skip = desk.commit - message.prev_index
        self._verified = max(self._verified, desk.commit)
        if len(entries) > skip:
            rest = self._skip_known(entries[skip:])
            if rest:
                desk.log.extend(rest)
            self._verified = max(self._verified, message.prev_index + len(entries))

    def _skip_known(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Without those that are here already; where the logs differ, ours is cut."""
        desk = self._desk
        log = desk.log
        for place, entry in enumerate(entries):
            if entry.index > log.last:
                return entries[place:]
            if log.term(entry.index) != entry.term:
                assert entry.index > desk.commit, "another entry where one is committed"
                log.cut(entry.index - 1)
                return entries[place:]
        return ()

    def _acknowledge(self, leader: int) -> None:
        """What is durable is acknowledged at once, the rest once it is."""
        desk = self._desk
        log = desk.log
        self._owed = self._verified > log.stable
        if not self._owed:
            desk.send(leader, AppendReply(desk.term, self._verified))

    def on_stored(self) -> None:
        desk = self._desk
        log = desk.log
        if self._owed and desk.leader and desk.leader != desk.me:
            self._owed = self._verified > log.stable
            desk.send(desk.leader, AppendReply(desk.term, min(self._verified, log.stable)))
        if self._compact is not None and self._compact[0] <= desk.stored:
            desk.out.append(Compact(self._compact[1]))
            self._compact = None

    def on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        desk = self._desk
        if desk.commit < message.commit <= desk.log.last and not self._installing:
            desk.commit_to(message.commit)
        desk.save_commit()
        desk.send(sender, HeartbeatReply(desk.term, message.round, message.sent, desk.disk_s, desk.writable))

    # -- snapshots

    def on_chunk(self, sender: int, message: SnapshotChunk) -> None:
        desk = self._desk
        meta = message.meta
        if self._installing:
            incoming = self._incoming
            if incoming is not None and incoming == meta:
                desk.send(sender, SnapshotReply(desk.term, meta.index, meta.size))
            return
        known = meta.index <= desk.commit
        if not known and meta.index <= desk.log.last and desk.log.term(meta.index) == meta.term:
            # All of it is here; the leader vouches that it is committed.
            self._verified = max(self._verified, meta.index)
            desk.commit_to(meta.index)
            known = True
        if known:
            self._incoming = None
            self._verified = max(self._verified, desk.commit)
            self._acknowledge(sender)
            return
        if self._incoming != meta:
            self._incoming, self._offset = meta, 0
        if message.offset == self._offset and (message.data or message.last):
            desk.out.append(StoreChunk(meta, self._offset, message.data, message.last))
            self._offset += len(message.data)
            self._installing = message.last
        desk.send(sender, SnapshotReply(desk.term, meta.index, self._offset))

    def on_snapshot_stored(self, event: SnapshotStored) -> None:
        desk = self._desk
        if not self._installing or event.meta != self._incoming:
            return
        meta = event.meta
        self._installing = False
        self._incoming, self._offset = None, 0
        if not event.ok:
            if desk.leader:
                desk.send(desk.leader, SnapshotReply(desk.term, meta.index, 0))
            return
        desk.counters.snapshots_received += 1
        desk.log.restore(meta)
        desk.commit = desk.delivered = desk.applied = meta.index
        desk.hard_dirty = True
        self._compact = (desk.number + 1, meta.index)
        self._verified = meta.index
        if desk.leader and desk.leader != desk.me:
            desk.say_when_stored(desk.leader, AppendReply(desk.term, meta.index))
