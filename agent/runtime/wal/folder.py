"""A folder of the file system, as the log's `Disk`."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from agent.core.wal.disk import LOCK, Op, Remove, Rename, Sync, SyncFolder, Truncate, Write

DSYNC: Final[int] = getattr(os, "RWF_DSYNC", 0)
"""One system call writes and makes durable (Linux 4.7), and one is what a thread wants: after each, it must get the interpreter's lock
back from a busy loop."""
_NO_FLAGS: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What a kernel, or a sandbox in its place, says that does not know the call or its flag."""
_datasync: Final = getattr(os, "fdatasync", os.fsync)


class WalInUse(Exception):
    """Another process, or another replica of this one, has the folder open. Two writers would destroy the log."""


class RealFolder:
    """`agent.core.wal.disk.Disk` on files. Not for two threads at once; two objects on one folder are fine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.syncs = 0
        """System calls that made something durable."""
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._open: dict[str, int] = {}
        self._dsync = DSYNC

    def names(self) -> list[str]:
        return sorted(os.listdir(self._folder))

    def size(self, name: str) -> int:
        return os.stat(name, dir_fd=self._folder).st_size

    def read(self, name: str, offset: int, size: int) -> bytes:
        file = os.open(name, os.O_RDONLY, dir_fd=self._folder)
        try:
            parts: list[bytes] = []
            while size > 0:
                data = os.pread(file, size, offset)
                if not data:
                    break
                parts.append(data)
                offset += len(data)
                size -= len(data)
            return b"".join(parts)
        finally:
            os.close(file)

    def run(self, op: Op) -> None:
        if isinstance(op, Write):
            self._write(op)
        elif isinstance(op, Sync):
            self.syncs += 1
            os.fsync(self._file(op.name))
        elif isinstance(op, SyncFolder):
            self.syncs += 1
            os.fsync(self._folder)
        elif isinstance(op, Truncate):
            file = self._file(op.name)
            os.ftruncate(file, op.size)
            self.syncs += 1
            os.fsync(file)
        elif isinstance(op, Rename):
            self.forget(op.old)
            self.forget(op.new)
            os.rename(op.old, op.new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        elif isinstance(op, Remove):
            self.forget(op.name)
            os.unlink(op.name, dir_fd=self._folder)

    def _write(self, op: Write) -> None:
        file = self._file(op.name)
        offset, rest = op.offset, memoryview(op.data)
        while rest:
            written = self._pwrite(file, rest, offset, op.sync)
            offset += written
            rest = rest[written:]
        if op.sync:
            self.syncs += 1
            if not self._dsync:
                _datasync(file)

    def _pwrite(self, file: int, data: memoryview, offset: int, sync: bool) -> int:
        if sync and self._dsync:
            try:
                return os.pwritev(file, [data], offset, self._dsync)
            except OSError as error:
                if error.errno not in _NO_FLAGS:
                    raise
                self._dsync = 0
        return os.pwrite(file, data, offset)

    def _file(self, name: str) -> int:
        file = self._open.get(name)
        if file is None:
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
            self._open[name] = file
        return file

    def forget(self, name: str) -> None:
        """Close the file, where it is open."""
        file = self._open.pop(name, None)
        if file is not None:
            os.close(file)

    def close(self) -> None:
        for name in list(self._open):
            self.forget(name)
        os.close(self._folder)


def make_folder(path: Path) -> None:
    """With every folder above it, each durable in the one above."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        above = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def lock(path: Path) -> int:
    """The open file that holds the folder; closing it, or the end of the process, lets it go. Raises WalInUse."""
    file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise WalInUse(f"{path}: found the log open in another process, expected it free") from error
    return file
