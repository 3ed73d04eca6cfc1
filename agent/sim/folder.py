"""A write-ahead log's folder on a simulated disk, where the power can fail between any two of its operations."""

from agent.core.wal.disk import Op, Remove, Rename, Sync, SyncFolder, Truncate, Write
from agent.sim.disk import SimDisk


class PowerLoss(Exception):
    """The machine stopped; `SimDisk.crash` says what is left on the disk."""


class SimFolder:
    """`agent.core.wal.disk.Disk` on a `SimDisk`. `took_s`: how long its operations have taken in all."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk
        self.took_s = 0.0
        self.steps = 0
        self.fails_after: int | None = None
        """After so many more operations of the disk, the next raises PowerLoss."""
        self.syncs = 0

    def names(self) -> list[str]:
        return self.disk.names()

    def size(self, name: str) -> int:
        return self.disk.size(name)

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self.disk.read(name)[offset : offset + size]

    def run(self, op: Op) -> None:
        """A write that is to be durable is two operations: the power can fail between."""
        disk = self.disk
        self._step()
        if isinstance(op, Write):
            self.took_s += disk.write(op.name, op.offset, op.data)
            if op.sync:
                self._step()
                self._sync(op.name)
        elif isinstance(op, Sync):
            self._sync(op.name)
        elif isinstance(op, SyncFolder):
            self.took_s += disk.fsync_folder()
        elif isinstance(op, Truncate):
            self.took_s += disk.truncate(op.name, op.size)
        elif isinstance(op, Rename):
            self.took_s += disk.rename(op.old, op.new)
        elif isinstance(op, Remove):
            self.took_s += disk.remove(op.name)

    def _sync(self, name: str) -> None:
        self.syncs += 1
        self.took_s += self.disk.fsync(name)

    def _step(self) -> None:
        if self.fails_after is not None:
            if self.fails_after == 0:
                raise PowerLoss
            self.fails_after -= 1
        self.steps += 1
