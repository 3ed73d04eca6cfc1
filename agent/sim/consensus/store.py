"""A replica's log and snapshots on a simulated disk: the real codec, plans and recovery of `core/wal`, whose operations take time here.

What `runtime/wal` does with threads, this does in steps: each operation is begun (`start`: the octets are in the page cache), takes its
time, and is finished (`finish`: they are on the disk), so that a crash finds any operation half done.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from agent.core.replica.io import Persist
from agent.core.replica.log import Recovered, SnapshotMeta
from agent.core.wal import log as wal
from agent.core.wal import snapshot
from agent.core.wal.disk import ASIDE, Op, Remove, Rename, Sync, SyncFolder, Truncate, Write, snapshot_name
from agent.core.wal.log import Log, WalConfig
from agent.core.wal.opening import Beginning, open_log
from agent.sim.disk import SimDisk
from agent.sim.folder import SimFolder

GROUP: Final = "simulated"
CONFIG: Final = WalConfig(segment_bytes=8192, fill_bytes=2048)
"""Small, so that segments end often."""


class Folder(SimFolder):
    """One whose operations have a beginning and an end."""

    def start(self, op: Op) -> float:
        """In the page cache, not yet durable; how long until it is."""
        disk = self.disk
        if isinstance(op, Write):
            disk.write(op.name, op.offset, op.data)
        elif isinstance(op, Rename):
            return disk.rename(op.old, op.new)
        elif isinstance(op, Remove):
            return disk.remove(op.name)
        elif isinstance(op, Truncate):
            return disk.truncate(op.name, op.size)
        return disk.config.fsync_s

    def finish(self, op: Op) -> None:
        if isinstance(op, Sync) or (isinstance(op, Write) and op.sync):
            self.disk.fsync(op.name)
        elif isinstance(op, SyncFolder):
            self.disk.fsync_folder()


class Store:
    """A log and its snapshots. `full`: the disk takes nothing more."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk
        self.folder = Folder(disk)
        self.full = False
        self.log: Log | None = None
        self.snapshots: list[SnapshotMeta] = []
        """Good ones, newest first."""
        self._incoming = bytearray()

    def create(self, me: int, beginning: Beginning | None) -> None:
        """A new log for this member; of a group's first voters, with the state that they all begin from."""
        open_log(self.folder, GROUP, lambda: me, CONFIG, beginning)

    def open(self) -> tuple[Recovered, bytes]:
        """What a starting replica finds, and the octets of its newest snapshot. Raises WalCorrupt."""
        opened = open_log(self.folder, GROUP, _no_id, CONFIG)
        self.log = opened.log
        self.snapshots = list(opened.snapshots)
        meta = opened.recovered.snapshot
        return opened.recovered, self._read(meta, 0, meta.size) if meta.index else b""

    def close(self, power: bool) -> None:
        self.log = None
        if power:
            self.disk.crash()

    def start(self, op: Op) -> float:
        """How long until `finish` may be called."""
        return self.folder.start(op)

    def finish(self, op: Op) -> None:
        self.folder.finish(op)

    # -- the log

    def plan_roll(self) -> tuple[Op, ...]:
        assert self.log is not None
        return self.log.plan_roll()

    def plan_append(self, batch: Sequence[Persist | SnapshotMeta]) -> tuple[Op, ...]:
        assert self.log is not None
        return self.log.plan_append(batch)

    def done(self) -> None:
        assert self.log is not None
        self.log.done()

    def run_out(self, ops: tuple[Op, ...]) -> tuple[Op, ...]:
        """The disk is full in the midst of the first write of a plan; what undoes it."""
        assert self.log is not None
        write = ops[0]
        if isinstance(write, Write):
            self.folder.start(Write(write.name, write.offset, write.data[: len(write.data) // 2], False))
        return self.log.undo()

    def plan_compact(self, index: int) -> tuple[Op, ...]:
        """The log back to the oldest snapshot that is kept is kept too."""
        assert self.log is not None
        oldest = self.snapshots[-1].index if self.snapshots else 0
        return self.log.plan_compact(min(index, oldest))

    # -- snapshots

    def plan_snapshot(self, meta: SnapshotMeta, data: bytes) -> tuple[Op, ...]:
        name = snapshot_name(meta.index, meta.term) + ASIDE
        return (Write(name, 0, data + snapshot.trailer(GROUP, meta), False), *wal.plan_snapshot(meta))

    def has_snapshot(self, meta: SnapshotMeta) -> tuple[Op, ...]:
        """It is durable; how those go that it makes superfluous."""
        known = [one for one in self.snapshots if (one.index, one.term) != (meta.index, meta.term)]
        self.snapshots, ops = wal.plan_purge([meta, *known], CONFIG)
        return ops

    def _read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        return self.folder.read(snapshot_name(meta.index, meta.term), offset, min(size, meta.size - offset))

    def read_chunk(self, meta: SnapshotMeta, offset: int, size: int) -> bytes | None:
        """None: that snapshot is no longer there."""
        return self._read(meta, offset, size) if meta in self.snapshots else None

    def store_chunk(self, offset: int, data: bytes) -> None:
        if offset == 0:
            self._incoming.clear()
        self._incoming[offset:] = data

    def incoming(self, meta: SnapshotMeta) -> bytes | None:
        """The whole snapshot that came in pieces; None if it is not what `meta` says."""
        data = bytes(self._incoming)
        return data if sha256(data).digest() == meta.digest else None


def _no_id() -> int:
    raise AssertionError("the log is gone")
