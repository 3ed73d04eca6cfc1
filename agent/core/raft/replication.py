"""How a leader brings the others' logs up to its own: probes, the pipeline, flow control (10.2.1), and snapshots in chunks."""

from agent.core.raft.desk import Desk
from agent.core.raft.messages import Append, AppendReply, SnapshotChunk, SnapshotReply
from agent.core.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from agent.core.replica.io import Chunk, ReadChunk


class Replication:
    """`progress`: of every other member. `match`: what each, ourselves among them, is known to have durably."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.progress: dict[int, Progress] = {}
        self.match: dict[int, int] = {}

    def begin(self) -> None:
        """We lead now: nothing is known of the others."""
        self.progress = {}
        self.match = {}
        self.follow_members()

    def end(self) -> None:
        self.progress = {}
        self.match = {}

    def follow_members(self) -> None:
        """The members are others: begin with the new ones, forget those that went."""
        desk = self._desk
        members = desk.members
        wanted = {*members.voters, *members.outgoing, *members.learners} - {desk.me}
        for member in [one for one in self.progress if one not in wanted]:
            del self.progress[member]
            self.match.pop(member, None)
        for member in sorted(wanted - self.progress.keys()):
            self.progress[member] = Progress(desk.log.last + 1, desk.now)
            self.match[member] = 0
        self.match[desk.me] = desk.log.stable

    # -- entries

    def send_all(self) -> None:
        """What is new, to everybody."""
        for member, progress in self.progress.items():
            self.send_entries(member, progress)

    def send_entries(self, member: int, progress: Progress, empty: bool = False) -> None:
        """As much as the window allows. `empty`: a message in any case, to learn where the logs meet or to tell the commit index."""
        desk = self._desk
        log = desk.log
        config = desk.config
        while progress.state != SNAPSHOT and not progress.paused:
            if progress.next <= log.offset:
                self._offer_snapshot(member, progress)
                return
            if progress.state == REPLICATE and (progress.next > log.last or self._is_full(progress)):
                break
            self._send(member, progress, config.max_batch_bytes)
            empty = False
        if empty and progress.state == REPLICATE:
            self._send(member, progress, 0)

    def _is_full(self, progress: Progress) -> bool:
        config = self._desk.config
        return len(progress.inflight) >= config.max_inflight or progress.inflight_bytes >= config.max_inflight_bytes

    def _send(self, member: int, progress: Progress, bytes_max: int) -> None:
        desk = self._desk
        log = desk.log
        previous = progress.next - 1
        entries = log.batch(progress.next, bytes_max) if bytes_max else ()
        desk.send(member, Append(desk.term, previous, log.term(previous), desk.commit, entries))
        progress.commit_sent = desk.commit
        if progress.state == PROBE:
            progress.paused = True
        elif entries:
            last = previous + len(entries)
            progress.note_sent(last, log.batch_bytes(progress.next, last))
            progress.next = last + 1

    def send_commit(self) -> None:
        """Tell the commit index to those who have not heard of it, and will not with the next entries."""
        desk = self._desk
        for member, progress in self.progress.items():
            if progress.commit_sent < desk.commit and progress.state == REPLICATE and not self._is_full(progress):
                self._send(member, progress, 0)

    def on_reply(self, member: int, progress: Progress, message: AppendReply) -> bool:
        """True: it has more than was known."""
        log = self._desk.log
        if not message.ok:
            hint = message.hint_index
            if message.hint_term > 0:
                hint, _ = log.conflict(min(hint, log.last), message.hint_term)
            if progress.decrease(message.index, hint):
                if progress.state == REPLICATE:
                    progress.become_probe()
                self.send_entries(member, progress)
            return False
        if message.index > log.last:
            return False
        grown = progress.update(message.index)
        self.match[member] = progress.match
        if progress.state == REPLICATE:
            progress.free_up_to(message.index)
        elif progress.state == PROBE:
            if grown or progress.match == message.index:
                progress.become_replicate()
        elif progress.match >= log.offset or (progress.meta is not None and progress.match >= progress.meta.index):
            # It has that snapshot. Where the log has been compacted beyond it meanwhile, a newer one follows.
            progress.become_probe()
            progress.become_replicate()
        return grown

    def on_heartbeat_reply(self, member: int, progress: Progress) -> None:
        """It lives: whatever was lost on the way to it is found out by one message."""
        if progress.state == SNAPSHOT:
            return
        progress.paused = False
        if progress.match < self._desk.log.last or progress.state == PROBE:
            self.send_entries(member, progress, empty=True)

    def on_unreachable(self, member: int) -> None:
        """What was sent ahead is probably lost: begin again where the logs are known to meet."""
        progress = self.progress.get(member)
        if progress is not None and progress.state == REPLICATE:
            progress.become_probe()
            progress.paused = True

    # -- snapshots

    def _offer_snapshot(self, member: int, progress: Progress) -> None:
        """To those only who are there to take it."""
        if progress.heard:
            progress.become_snapshot(self._desk.log.snapshot)
            self._desk.counters.snapshots_sent += 1
            self._offer(member, progress)

    def _offer(self, member: int, progress: Progress) -> None:
        desk = self._desk
        meta = progress.meta
        assert meta is not None
        progress.chunk_at = desk.now
        progress.asked = -1
        desk.send(member, SnapshotChunk(desk.term, meta, 0, b"", last=not meta.size))

    def on_snapshot_reply(self, member: int, progress: Progress, message: SnapshotReply) -> None:
        """It says from where on: ask the host for that piece."""
        desk = self._desk
        meta = progress.meta
        if progress.state != SNAPSHOT or meta is None or meta.index != message.index:
            return
        if message.offset <= progress.asked:
            # Answered already. Each answer that came twice would else bring a chunk twice, and each of these an answer: without end.
            return
        progress.offset = message.offset
        progress.chunk_at = desk.now
        if message.offset < meta.size:
            progress.asked = message.offset
            size = min(desk.config.snapshot_chunk_bytes, meta.size - message.offset)
            desk.out.append(ReadChunk(member, meta, message.offset, size))
        elif not meta.size and not message.offset:
            self._offer(member, progress)

    def on_chunk(self, event: Chunk) -> None:
        """The host read a piece."""
        desk = self._desk
        progress = self.progress.get(event.to)
        if progress is None or progress.state != SNAPSHOT or progress.meta != event.meta or progress.offset != event.offset:
            return
        progress.chunk_at = desk.now
        if event.data is None:
            # That one is gone; the newest is offered when the time for repeats comes.
            progress.become_snapshot(desk.log.snapshot)
            progress.chunk_at = desk.now
            return
        last = event.offset + len(event.data) >= event.meta.size
        desk.send(event.to, SnapshotChunk(desk.term, event.meta, event.offset, event.data, last))

    def repeat_offers(self) -> None:
        """Chunks without an answer."""
        desk = self._desk
        for member, progress in self.progress.items():
            if progress.state == SNAPSHOT and desk.now - progress.chunk_at >= desk.config.snapshot_retry_s:
                self._offer(member, progress)

    def compaction_floor(self, point: int, index: int) -> int:
        """Up to where to forget at most: followers that we hear are waited for, within bounds."""
        desk = self._desk
        config = desk.config
        lowest = point
        for progress in self.progress.values():
            if desk.now - progress.heard_at <= config.election_s and progress.heard:
                has = progress.meta.index if progress.meta is not None else progress.match
                lowest = min(lowest, has)
        return max(lowest, desk.log.compaction_point(index, 4 * config.margin_entries, 4 * config.margin_bytes))
