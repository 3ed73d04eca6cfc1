"""From what is on the disk to what the replica had: segments in order, the newest good snapshot under them.

The state is rebuilt by the rules by which it was written: a batch's entries replace whatever stands at their indices and after; a mark
says that there is a snapshot at a place, and where the log has another entry there, or none, the log begins anew behind it.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agent.core.replica.log import Entry, HardState, Recovered, SnapshotMeta
from agent.core.wal import records, snapshot
from agent.core.wal.disk import Disk, segment_name, segment_sequence, snapshot_place
from agent.core.wal.errors import WalCorrupt
from agent.core.wal.records import BATCH, MARK, Batch, Head, Place
from agent.core.wal.segment import SegmentReader

NO_SNAPSHOT: Final = SnapshotMeta()
UNKNOWN_TERM: Final = -1


class SegmentInfo(Struct, frozen=True, gc=False):
    """A segment that belongs to the log. `before`: the log's last entry when it was begun."""

    sequence: int
    before: Place
    size: int


class Recovery(Struct, frozen=True):
    """What was found. `head`, `salt`, `end`, `crc`: of the last segment, for going on. `restart`: the log's entries did not reach the
    snapshot, so a mark must be written before anything else. `leftovers`: files that nothing needs."""

    me: int
    recovered: Recovered
    snapshots: tuple[SnapshotMeta, ...]
    segments: tuple[SegmentInfo, ...]
    sequence: int
    salt: int
    end: int
    crc: int
    size: int
    cut_bytes: int
    restart: bool
    leftovers: tuple[str, ...]
    bad_snapshots: tuple[snapshot.Verdict, ...]


class Rebuilt:
    """The log as the records build it up."""

    def __init__(self) -> None:
        self.hard = HardState()
        self.base = Place()
        """The place before the first of `entries`."""
        self.entries: list[Entry] = []
        self._marked = 0
        """Up to here a mark says that there is a snapshot: what that holds is never replaced."""

    @property
    def last(self) -> Place:
        """The last entry's place."""
        return Place(self.entries[-1].index, self.entries[-1].term) if self.entries else self.base

    def begin(self, head: Head) -> None:
        """What the first segment says of those that are gone."""
        self.hard, self.base = head.hard, head.last

    def batch(self, batch: Batch) -> str:
        """Put in; what is wrong, or an empty text."""
        committed = max(self.hard.commit, self._marked)
        if batch.hard is not None:
            self.hard = batch.hard
        if not batch.entries:
            return ""
        first = batch.entries[0].index
        if first > self.last.index + 1:
            return f"index {first} after {self.last.index}"
        if first <= committed:
            return f"index {first}, which was committed before"
        if first <= self.base.index:
            # It replaces entries of a segment that was deleted since: they were in no log any more, and never committed.
            self.base, self.entries = Place(first - 1, UNKNOWN_TERM), []
        for number, entry in enumerate(batch.entries):
            if entry.index != first + number:
                return f"index {entry.index} after {first + number - 1}"
        del self.entries[first - self.base.index - 1 :]
        self.entries.extend(batch.entries)
        return ""

    def mark(self, place: Place) -> bool:
        """There is a snapshot at this place. False where the log begins anew behind it."""
        if place.index <= self.base.index:
            return True
        at = place.index - self.base.index - 1
        if at < len(self.entries) and self.entries[at].term == place.term:
            return True
        self.entries.clear()
        self.base = place
        self._marked = place.index
        return False

    def trim(self, place: Place) -> None:
        """Forget the entries up to this place, which the log has."""
        del self.entries[: place.index - self.base.index]
        self.base = place


def recover(disk: Disk, group: str) -> Recovery | None:
    """Read the whole folder; None where there is no log. Changes nothing. Raises WalCorrupt, and OSError where reading fails."""
    names = disk.names()
    verdicts = [snapshot.verify(disk, name) for name in sorted(filter(snapshot_place, names), reverse=True)]
    for verdict in verdicts:
        if verdict.meta is not None and verdict.group != group:
            raise WalCorrupt("group", verdict.name, verdict.meta.size, f"group {verdict.group!r}", f"group {group!r}")
    good = [verdict.meta for verdict in verdicts if verdict.meta is not None]
    bad = tuple(verdict for verdict in verdicts if verdict.meta is None)
    newest = good[0] if good else NO_SNAPSHOT
    sequences = sorted(number for number in map(segment_sequence, names) if number is not None)
    if not sequences:
        if verdicts:
            raise WalCorrupt("no_log", verdicts[0].name, 0, "a snapshot alone", "segments of the log beside it")
        return None
    run = _last_run(sequences)
    rebuilt, infos, reader, me = _read_run(disk, group, run)
    reached = _put_on(rebuilt, newest, infos[0], bad, missing=len(run) < len(sequences))
    hard = rebuilt.hard
    if hard.commit > rebuilt.last.index:
        found = f"commit index {hard.commit} with a log that ends at {rebuilt.last.index}"
        raise WalCorrupt("commit", reader.name, reader.end, found, "a log that reaches what it says is committed")
    if hard.commit < newest.index:
        hard = HardState(hard.term, hard.vote, newest.index, hard.extra)
    return Recovery(
        me=me,
        recovered=Recovered(hard, newest, tuple(rebuilt.entries)),
        snapshots=tuple(good),
        segments=tuple(infos),
        sequence=run[-1],
        salt=reader.salt,
        end=reader.end,
        crc=reader.crc,
        size=infos[-1].size,
        cut_bytes=reader.cut_bytes,
        restart=not reached,
        leftovers=tuple(segment_name(number) for number in sequences[: -len(run)]),
        bad_snapshots=bad,
    )


def _last_run(sequences: Sequence[int]) -> list[int]:
    """The segments up to the last without a gap: whatever is before a gap was being deleted when the machine stopped, or (then the
    entries do not reach the snapshot, which `_put_on` finds) a segment is missing."""
    run = [sequences[-1]]
    for number in reversed(sequences[:-1]):
        if number != run[-1] - 1:
            break
        run.append(number)
    return run[::-1]


def _read_run(disk: Disk, group: str, run: list[int]) -> tuple[Rebuilt, list[SegmentInfo], SegmentReader, int]:
    rebuilt = Rebuilt()
    infos: list[SegmentInfo] = []
    me = crc = 0
    for number in run:
        name = segment_name(number)
        size = disk.size(name)
        reader = SegmentReader(name, disk.read(name, 0, size), last=number == run[-1])
        head = reader.head
        if head.group != group:
            raise WalCorrupt("group", name, 0, f"group {head.group!r}", f"group {group!r}")
        if head.sequence != number:
            raise WalCorrupt("head", name, 0, f"sequence {head.sequence}", f"sequence {number}, as the name says")
        if not infos:
            rebuilt.begin(head)
            me = head.me
        elif head.me != me:
            raise WalCorrupt("member", name, 0, f"member {head.me}", f"member {me}, as in the segment before")
        elif head.previous != crc:
            raise WalCorrupt("chain", name, 0, f"a segment after {head.previous:08x}", f"one after {crc:08x}")
        elif head.last != rebuilt.last:
            raise WalCorrupt("gap", name, 0, f"a segment after entry {head.last.index}", f"one after entry {rebuilt.last.index}")
        infos.append(SegmentInfo(number, head.last, size))
        _apply(reader, rebuilt)
        crc = reader.crc
    return rebuilt, infos, reader, me


def _apply(reader: SegmentReader, rebuilt: Rebuilt) -> None:
    for offset, frame in reader.records():
        try:
            record = records.decode(frame.kind, frame.payload)
        except ValueError as error:
            raise WalCorrupt("undecodable", reader.name, offset, str(error), "a batch or a mark") from error
        if isinstance(record, Batch):
            wrong = rebuilt.batch(record)
            if wrong:
                raise WalCorrupt("gap", reader.name, offset, wrong, "entries that follow the log or replace its end")
        elif isinstance(record, Place) and frame.kind == MARK:
            rebuilt.mark(record)
        else:
            raise WalCorrupt("undecodable", reader.name, offset, f"a record of kind {frame.kind}", f"kind {BATCH} or {MARK}")


def _put_on(rebuilt: Rebuilt, newest: SnapshotMeta, first: SegmentInfo, bad: tuple[snapshot.Verdict, ...], missing: bool) -> bool:
    """The log on the newest good snapshot. Whether the log reaches it; raises WalCorrupt where entries between are gone."""
    place = Place(newest.index, newest.term)
    if rebuilt.base.index > newest.index:
        if bad:
            raise WalCorrupt("snapshot", bad[0].name, 0, bad[0].why, f"a good snapshot at index {rebuilt.base.index} or later")
        name = segment_name(first.sequence)
        found = f"entries from {rebuilt.base.index + 1} on, and a snapshot at {newest.index}"
        raise WalCorrupt("missing_segment" if missing else "snapshot", name, 0, found, "entries that follow the newest snapshot")
    if rebuilt.base.index == newest.index and rebuilt.base.term not in (newest.term, UNKNOWN_TERM):
        found = f"term {newest.term} at index {newest.index}"
        raise WalCorrupt("snapshot", segment_name(first.sequence), 0, found, f"term {rebuilt.base.term}, which the log says it is of")
    reached = rebuilt.mark(place)
    if reached:
        rebuilt.trim(place)
    return reached
