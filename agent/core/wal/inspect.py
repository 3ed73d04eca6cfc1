"""What can be read of a log, good or damaged: for a person. Changes nothing, and goes on past what recovery would refuse."""

from collections.abc import Iterator

from msgspec import Struct

from agent.core.replica.log import KINDS
from agent.core.wal import records, snapshot
from agent.core.wal.disk import ASIDE, CREATING, Disk, segment_name, segment_sequence, snapshot_place
from agent.core.wal.errors import WalCorrupt
from agent.core.wal.records import Batch, Head, Place
from agent.core.wal.recover import Recovery, recover
from agent.core.wal.segment import SegmentReader


class Damage(Struct, frozen=True):
    """Where, and what."""

    reason: str
    file: str
    offset: int
    found: str
    expected: str


class SegmentReport(Struct, frozen=True):
    """A segment by itself. `first` and `last`: the lowest and the highest index of its entries, 0 where it has none."""

    name: str
    size: int
    head: Head | None
    records: int
    entries: int
    first: int
    last: int
    end: int
    cut_bytes: int
    damage: Damage | None


class Report(Struct, frozen=True):
    """A folder. `damage` None: a replica would start from it, with `recovery` (None for an empty folder)."""

    group: str
    segments: tuple[SegmentReport, ...]
    snapshots: tuple[snapshot.Verdict, ...]
    aside: tuple[str, ...]
    recovery: Recovery | None
    damage: Damage | None


def inspect(disk: Disk) -> Report:
    """Raises OSError where it cannot be read."""
    names = disk.names()
    sequences = sorted(number for number in map(segment_sequence, names) if number is not None)
    segments = tuple(_segment(disk, segment_name(number), number == sequences[-1]) for number in sequences)
    snapshots = tuple(snapshot.verify(disk, name) for name in names if snapshot_place(name))
    groups = [report.head.group for report in segments if report.head is not None]
    groups += [verdict.group for verdict in snapshots if verdict.meta is not None]
    group = groups[0] if groups else ""
    aside = tuple(name for name in names if name.endswith(ASIDE) or name == CREATING)
    recovery: Recovery | None = None
    damage: Damage | None = None
    if CREATING not in names:
        try:
            recovery = recover(disk, group)
        except WalCorrupt as error:
            damage = _damage(error)
    return Report(group, segments, snapshots, aside, recovery, damage)


def _damage(error: WalCorrupt) -> Damage:
    return Damage(error.reason, error.file, error.offset, error.found, error.expected)


def _segment(disk: Disk, name: str, last: bool) -> SegmentReport:
    size = disk.size(name)
    count = entries = low = high = 0
    reader: SegmentReader | None = None
    damage: Damage | None = None
    try:
        reader = SegmentReader(name, disk.read(name, 0, size), last)
        for _, frame in reader.records():
            count += 1
            record = records.decode(frame.kind, frame.payload)
            if isinstance(record, Batch) and record.entries:
                entries += len(record.entries)
                low = min(low or record.entries[0].index, record.entries[0].index)
                high = max(high, record.entries[-1].index)
    except WalCorrupt as error:
        damage = _damage(error)
    except ValueError as error:
        damage = Damage("undecodable", name, reader.end if reader else 0, str(error), "a batch or a mark")
    if reader is None:
        return SegmentReport(name, size, None, 0, 0, 0, 0, 0, 0, damage)
    return SegmentReport(name, size, reader.head, count, entries, low, high, reader.end, reader.cut_bytes, damage)


def dump(disk: Disk, name: str) -> Iterator[str]:
    """Each record of a segment, a line each; the last line says how it ends."""
    size = disk.size(name)
    try:
        reader = SegmentReader(name, disk.read(name, 0, size), last=True)
        head = reader.head
        yield f"{0:>10} head      group {head.group!r}, member {head.me}, sequence {head.sequence}, after entry {head.last.index}"
        for offset, frame in reader.records():
            yield f"{offset:>10} {_shown(records.decode(frame.kind, frame.payload))}"
    except (WalCorrupt, ValueError) as error:
        yield f"damaged: {str(error).partition(' (')[0]}"
        return
    tail = f", then {reader.cut_bytes} octets of an unfinished write" if reader.cut_bytes else ""
    yield f"{reader.end:>10} end       of {size} octets{tail}"


def _shown(record: records.Record) -> str:
    if isinstance(record, Place):
        return f"snapshot  index {record.index}, term {record.term}"
    if not isinstance(record, Batch):
        return f"?         {type(record).__name__}"
    parts = []
    if record.hard is not None:
        parts.append(f"term {record.hard.term}, vote {record.hard.vote}, commit {record.hard.commit}")
    if record.entries:
        first, last = record.entries[0], record.entries[-1]
        kinds = sorted({KINDS[entry.kind] if entry.kind < len(KINDS) else str(entry.kind) for entry in record.entries})
        octets = sum(len(entry.data) for entry in record.entries)
        parts.append(f"entries {first.index} to {last.index} of term {last.term}, {octets} octets, {', '.join(kinds)}")
    return f"batch     {'; '.join(parts)}"
