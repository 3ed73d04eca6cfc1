"""The writer's side of the log, without a disk: which operations put batches on it, in files of bounded size.

    for plan in log.plan_roll(), log.plan_append(batches):
        carry out each operation, then log.done()     or, where one failed and the disk goes on: carry out log.undo()

Every write is made durable before the next one is begun, so what a crash can leave unfinished is one write, the last.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct, structs

from agent.core.replica.io import Persist
from agent.core.replica.log import Entry, HardState, SnapshotMeta
from agent.core.wal import frame, records
from agent.core.wal.disk import (
    ASIDE,
    Op,
    Remove,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Write,
    segment_name,
    snapshot_name,
)
from agent.core.wal.records import BATCH, FORMAT, HEAD, MARK, Batch, Head, Place
from agent.core.wal.recover import Recovery, SegmentInfo

MIB: Final = 1 << 20


class WalConfig(Struct, frozen=True):
    """`segment_bytes`: a segment is ended by the first write that finds it so long; what is deleted is whole segments.
    `fill_bytes`: so far ahead zeros are written. A write within what is there changes nothing but octets, and needs no journal
    commit of the file system's (docs/decisions: a third less of each fdatasync). `snapshots_kept`: newest ones that are kept; the log
    back to the oldest of them is kept too, so that each can be used."""

    segment_bytes: int = 16 * MIB
    fill_bytes: int = MIB
    snapshots_kept: int = 2


class Position(Struct, frozen=True, gc=False):
    """Where the next record goes, and what the log says up to there. `filled`: the file's length, zeros ahead included. `terms`: from
    which index on which term; the first is the place before the log's beginning, or an earlier one."""

    sequence: int
    salt: int
    end: int
    crc: int
    filled: int
    hard: HardState
    last: Place
    terms: tuple[Place, ...]


class Log:
    """Raises ValueError where it is used against its rules: a plan while another is not done, entries that leave a gap."""

    def __init__(self, group: str, me: int, position: Position, segments: Sequence[SegmentInfo], config: WalConfig) -> None:
        self.group = group
        self.me = me
        self.config = config
        self.segments = list(segments)
        """Those on the disk, the last being written."""
        self._at = position
        self._then: Position | None = None

    @classmethod
    def beginning(cls, group: str, me: int, position: Position, config: WalConfig) -> "Log":
        """A new one, of one segment."""
        return cls(group, me, position, [SegmentInfo(position.sequence, position.last, position.end)], config)

    @classmethod
    def following(cls, group: str, recovery: Recovery, config: WalConfig) -> "Log":
        """Go on from what was recovered, once `cut_bytes` are cut off."""
        recovered = recovery.recovered
        snapshot, entries = recovered.snapshot, recovered.entries
        base = Place(snapshot.index, snapshot.term)
        last, terms = extended(base, (base,), entries) if entries else (base, (base,))
        filled = recovery.end if recovery.cut_bytes else recovery.size
        at = Position(recovery.sequence, recovery.salt, recovery.end, recovery.crc, filled, recovered.hard, last, terms)
        return cls(group, recovery.me, at, recovery.segments, config)

    @property
    def last(self) -> Place:
        """The last entry's place, as far as plans are done."""
        return self._at.last

    @property
    def bytes_on_disk(self) -> int:
        """Of all segments, without the zeros ahead."""
        return sum(segment.size for segment in self.segments[:-1]) + self._at.end

    # -- plans

    def plan_append(self, batches: Sequence[Persist | SnapshotMeta]) -> tuple[Op, ...]:
        """One write of all of them, made durable. A `SnapshotMeta` is the mark of a snapshot that is durable."""
        at = self._begin()
        synced = end = at.end
        crc, hard, last, terms, salt = at.crc, at.hard, at.last, at.terms, at.salt
        parts: list[bytes] = []
        for batch in batches:
            if isinstance(batch, SnapshotMeta):
                place = Place(batch.index, batch.term)
                kind, payload = MARK, records.encode(place)
                if begins_anew(place, last, terms):
                    last, terms = place, (place,)
            else:
                kind, payload = BATCH, records.encode(Batch(batch.hard, batch.entries))
                if batch.entries:
                    if batch.entries[0].index <= hard.commit:
                        raise ValueError(f"an entry at index {batch.entries[0].index}, up to {hard.commit} is committed")
                    last, terms = extended(last, terms, batch.entries)
                hard = batch.hard or hard
            octets, crc = frame.encode(kind, payload, end, crc, synced, salt)
            parts.append(octets)
            end += len(octets)
        filled = at.filled
        if end > filled:
            filled = end + -end % self.config.fill_bytes
            parts.append(bytes(filled - end))
        self._then = Position(at.sequence, salt, end, crc, filled, hard, last, terms)
        return (Write(segment_name(at.sequence), at.end, b"".join(parts)),)

    def plan_roll(self) -> tuple[Op, ...]:
        """The next segment, where the present one is long enough; else nothing (and there is nothing to be done)."""
        at = self._at
        if at.end < self.config.segment_bytes:
            return ()
        self._begin()
        head = Head(FORMAT, self.group, self.me, at.sequence + 1, at.crc, at.hard, at.last)
        self._then, made = begin_segment(head, at.terms, self.config)
        return (Truncate(segment_name(at.sequence), at.end), *made)

    def done(self) -> None:
        """The plan is carried out."""
        then = self._then
        if then is None:
            raise ValueError("no plan")
        if then.sequence != self._at.sequence:
            before = self.segments[-1]
            self.segments[-1] = SegmentInfo(before.sequence, before.before, self._at.end)
            self.segments.append(SegmentInfo(then.sequence, then.last, then.end))
        self._at, self._then = then, None

    def undo(self) -> tuple[Op, ...]:
        """The plan failed, for want of space: what to do so that nothing is left of it."""
        at, then = self._at, self._then
        if then is None:
            raise ValueError("no plan")
        self._then = None
        self._at = Position(at.sequence, at.salt, at.end, at.crc, at.end, at.hard, at.last, at.terms)
        if then.sequence != at.sequence:
            return (Remove(segment_name(then.sequence) + ASIDE),)
        return (Truncate(segment_name(at.sequence), at.end),)

    def _begin(self) -> Position:
        if self._then is not None:
            raise ValueError("the plan before is not done")
        return self._at

    # -- forgetting

    def plan_compact(self, index: int) -> tuple[Op, ...]:
        """Delete the segments that hold nothing after this index. Each deletion is durable before the next: what a crash leaves is
        the log from some segment on. Needs no `done`; an operation that fails is tried again by the next compaction."""
        at = self._at
        needed = [place for place, after in pairwise(at.terms) if after.index > index]
        self._at = structs.replace(at, terms=(*needed, at.terms[-1]))
        ops: list[Op] = []
        while len(self.segments) > 1 and self.segments[1].before.index <= index:
            ops += (Remove(segment_name(self.segments.pop(0).sequence)), SyncFolder())
        return tuple(ops)


def extended(last: Place, terms: tuple[Place, ...], entries: tuple[Entry, ...]) -> tuple[Place, tuple[Place, ...]]:
    """The last place and the terms after these entries. Raises ValueError where they would leave a gap."""
    first = entries[0].index
    if not terms[0].index < first <= last.index + 1:
        raise ValueError(f"an entry at index {first} where the log holds {terms[0].index + 1} to {last.index}")
    while terms[-1].index >= first:
        terms = terms[:-1]
    for entry in entries:
        if entry.term != terms[-1].term:
            terms = (*terms, Place(entry.index, entry.term))
    return Place(entries[-1].index, entries[-1].term), terms


def begins_anew(snapshot: Place, last: Place, terms: tuple[Place, ...]) -> bool:
    """Has the log no such entry, so that it begins anew behind the snapshot (`recover.Rebuilt.mark`)?"""
    if snapshot.index <= terms[0].index:
        return False
    return snapshot.index > last.index or next(run.term for run in reversed(terms) if run.index <= snapshot.index) != snapshot.term


def begin_segment(head: Head, terms: tuple[Place, ...], config: WalConfig) -> tuple[Position, tuple[Op, ...]]:
    """Written aside and renamed: a segment under its own name begins with a whole head."""
    octets, crc = frame.encode(HEAD, records.encode(head), 0, 0, 0, 0)
    name = segment_name(head.sequence)
    filled = len(octets) + -len(octets) % config.fill_bytes
    ops = (Write(name + ASIDE, 0, octets + bytes(filled - len(octets))), Rename(name + ASIDE, name), SyncFolder())
    return Position(head.sequence, crc, len(octets), crc, filled, head.hard, head.last, terms), ops


def plan_snapshot(meta: SnapshotMeta) -> tuple[Op, ...]:
    """A snapshot that was written aside gets its name."""
    name = snapshot_name(meta.index, meta.term)
    return (Sync(name + ASIDE), Rename(name + ASIDE, name), SyncFolder())


def plan_purge(snapshots: Sequence[SnapshotMeta], config: WalConfig) -> tuple[list[SnapshotMeta], tuple[Op, ...]]:
    """The newest of these that are kept, newest first, and how the others go."""
    ordered = sorted(snapshots, key=lambda meta: (meta.index, meta.term), reverse=True)
    old = ordered[config.snapshots_kept :]
    ops: list[Op] = [Remove(snapshot_name(meta.index, meta.term)) for meta in old]
    return ordered[: config.snapshots_kept], (*ops, SyncFolder()) if ops else ()
