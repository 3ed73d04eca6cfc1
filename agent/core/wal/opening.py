"""Open a log: make it, or recover it and put the disk in order. The same on every disk."""

from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct, structs

from agent.core.replica.log import HardState, Recovered, SnapshotMeta
from agent.core.wal import snapshot
from agent.core.wal.disk import (
    ASIDE,
    CREATING,
    LOCK,
    Disk,
    Op,
    Remove,
    Sync,
    SyncFolder,
    Truncate,
    Write,
    segment_name,
    snapshot_name,
)
from agent.core.wal.log import Log, WalConfig, begin_segment, plan_snapshot
from agent.core.wal.records import FORMAT, Head, Place
from agent.core.wal.recover import Recovery, recover


class Beginning(Struct, frozen=True):
    """What a new log begins from: a group's first voters all from the same state. `meta` needs no size and no digest."""

    meta: SnapshotMeta
    data: bytes
    hard: HardState = HardState()


class Opened(Struct, frozen=True):
    """An open log. `me`: the member's id. `snapshots`: the good ones, newest first. `recovery` None: the log is new."""

    log: Log
    me: int
    recovered: Recovered
    snapshots: tuple[SnapshotMeta, ...]
    recovery: Recovery | None = None


def open_log(disk: Disk, group: str, draw_id: Callable[[], int], config: WalConfig, beginning: Beginning | None = None) -> Opened:
    """`draw_id` and `beginning` are used for a new log only. Raises WalCorrupt (nothing has been changed then) and OSError."""
    if CREATING in disk.names():
        _wipe(disk)
    recovery = recover(disk, group)
    if recovery is None:
        return _create(disk, group, draw_id(), config, beginning)
    log = Log.following(group, recovery, config)
    for op in _repairs(disk, recovery):
        disk.run(op)
    if recovery.restart:
        for op in log.plan_append([recovery.recovered.snapshot]):
            disk.run(op)
        log.done()
    return Opened(log, recovery.me, recovery.recovered, recovery.snapshots, recovery)


def _wipe(disk: Disk) -> None:
    """The machine stopped while the log was being made. Its member has said nothing to anybody yet."""
    for name in disk.names():
        if name not in (CREATING, LOCK):
            disk.run(Remove(name))
    disk.run(SyncFolder())
    disk.run(Remove(CREATING))
    disk.run(SyncFolder())


def _repairs(disk: Disk, recovery: Recovery) -> list[Op]:
    """Cut off what a crash left unfinished. Whole records of a write that the machine did not live to see durable are kept; they must be
    made durable before anything is built on them."""
    last = segment_name(recovery.sequence)
    ops: list[Op] = [Truncate(last, recovery.end)] if recovery.cut_bytes else [Sync(last)]
    aside = [name for name in disk.names() if name.endswith(ASIDE)]
    # Oldest first, each durably, as in compaction.
    for name in (*aside, *recovery.leftovers):
        ops += (Remove(name), SyncFolder())
    ops.append(SyncFolder())
    return ops


def _create(disk: Disk, group: str, me: int, config: WalConfig, beginning: Beginning | None) -> Opened:
    for name in disk.names():
        if name.endswith(ASIDE):
            disk.run(Remove(name))
    disk.run(Write(CREATING, 0, b"a log is being made here\n"))
    disk.run(SyncFolder())
    hard, meta = HardState(), SnapshotMeta()
    if beginning is not None:
        meta = finished(beginning.meta, len(beginning.data), sha256(beginning.data).digest())
        hard = structs.replace(beginning.hard, commit=meta.index)
        name = snapshot_name(meta.index, meta.term) + ASIDE
        disk.run(Write(name, 0, beginning.data + snapshot.trailer(group, meta)))
        for op in plan_snapshot(meta):
            disk.run(op)
    base = Place(meta.index, meta.term)
    head = Head(FORMAT, group, me, 1, 0, hard, base)
    position, ops = begin_segment(head, (base,), config)
    for op in (*ops, Remove(CREATING), SyncFolder()):
        disk.run(op)
    log = Log.beginning(group, me, position, config)
    return Opened(log, me, Recovered(hard, meta), (meta,) if beginning is not None else ())


def finished(meta: SnapshotMeta, size: int, digest: bytes) -> SnapshotMeta:
    """The same with what is known at the end. An empty snapshot (a group's beginning) keeps the digest that it has, or has none."""
    return structs.replace(meta, size=size, digest=digest if size else meta.digest)
