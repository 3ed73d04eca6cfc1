"""Snapshots' files, written by a thread of their own: a long one must not hold the log up."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from agent.core.replica.log import SnapshotMeta
from agent.core.wal import snapshot
from agent.core.wal.disk import ASIDE, Remove, Sync, Write, snapshot_name
from agent.core.wal.log import WalConfig, plan_purge, plan_snapshot
from agent.core.wal.opening import finished
from agent.runtime.log import Logger
from agent.runtime.wal.face import Figures
from agent.runtime.wal.folder import RealFolder

SYNC_BYTES: Final = 4 << 20
"""After so many octets what was written is made durable, so that the last fsync is short: on ext4 the log's waits behind it."""
PIECE_BYTES: Final = 1 << 20


class Snapshots:
    """`kept`: the good ones, newest first. `tell(function)` has the function called on the loop."""

    def __init__(
        self,
        path: Path,
        group: str,
        kept: tuple[SnapshotMeta, ...],
        config: WalConfig,
        figures: Figures,
        log: Logger,
        tell: Callable[[Callable[[], None]], None],
    ) -> None:
        self.kept = kept
        self.group = group
        self.config = config
        self.figures = figures
        self.log = log
        self.tell = tell
        self._path = path
        self.folder = RealFolder(path)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._closed = threading.Event()

    def begin(self, meta: SnapshotMeta) -> "FileSink":
        """Write one aside; one of the same index that is unfinished is thrown away."""
        return FileSink(self, meta)

    def submit(self, work: Callable[[], None]) -> None:
        """On the thread, in order; dropped after `close`."""
        if not self._closed.is_set():
            self._pool.submit(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.log.error("snapshot_fault", text=f"{type(error).__name__}: {error}")

    def read_chunk(self, meta: SnapshotMeta, offset: int, size: int) -> bytes | None:
        if meta not in self.kept:
            return None
        folder = RealFolder(self._path)
        try:
            return folder.read(snapshot_name(meta.index, meta.term), offset, min(size, max(meta.size - offset, 0)))
        except OSError:
            return None
        finally:
            folder.close()

    def read(self, meta: SnapshotMeta) -> Iterator[bytes]:
        """All of it. Raises OSError where it is gone."""
        for offset in range(0, meta.size, PIECE_BYTES):
            data = self.read_chunk(meta, offset, PIECE_BYTES)
            if not data:
                raise OSError(f"the snapshot at index {meta.index} is gone")
            yield data

    def close(self) -> None:
        """Finish what is begun; unfinished ones are thrown away at the next start."""
        self._closed.set()
        self._pool.shutdown(wait=True)
        self.folder.close()


class FileSink:
    """A snapshot that is being written."""

    def __init__(self, owner: Snapshots, meta: SnapshotMeta) -> None:
        self._owner = owner
        self._meta = meta
        self._name = snapshot_name(meta.index, meta.term) + ASIDE
        self._digest = hashlib.sha256()
        self._size = self._synced = 0
        self._error = ""
        self._ended = False
        owner.submit(self._clear)

    def append(self, data: bytes) -> None:
        self._owner.submit(partial(self._append, data))

    def commit(self, done: Callable[[SnapshotMeta, bool], None]) -> None:
        if not self._ended:
            self._ended = True
            self._owner.submit(partial(self._commit, done))

    def abandon(self) -> None:
        if not self._ended:
            self._ended = True
            self._owner.submit(self._clear)

    # -- on the thread

    def _clear(self) -> None:
        with suppress(OSError):
            self._owner.folder.run(Remove(self._name))

    def _append(self, data: bytes) -> None:
        if self._error:
            return
        try:
            self._owner.folder.run(Write(self._name, self._size, data, sync=False))
            self._digest.update(data)
            self._size += len(data)
            if self._size - self._synced >= SYNC_BYTES:
                self._owner.folder.run(Sync(self._name))
                self._synced = self._size
        except OSError as error:
            self._error = str(error)

    def _commit(self, done: Callable[[SnapshotMeta, bool], None]) -> None:
        owner = self._owner
        meta = finished(self._meta, self._size, self._digest.digest())
        if self._meta.digest and self._meta != meta:
            self._error = self._error or f"{self._size} octets of digest {meta.digest.hex()[:16]}…, not those that were announced"
        if not self._error:
            try:
                owner.folder.run(Write(self._name, self._size, snapshot.trailer(owner.group, meta), sync=False))
                for op in plan_snapshot(meta):
                    owner.folder.run(op)
            except OSError as error:
                self._error = str(error)
        if self._error:
            self._clear()
            owner.figures.snapshots_failed += 1
            owner.log.warning("snapshot_failed", index=meta.index, error=self._error)
            owner.tell(partial(done, self._meta, False))
            return
        owner.figures.snapshots_taken += 1
        owner.figures.snapshot_bytes = meta.size
        kept, ops = plan_purge([*(other for other in owner.kept if other.index != meta.index), meta], owner.config)
        owner.kept = tuple(kept)
        for op in ops:
            with suppress(OSError):
                owner.folder.run(op)
        owner.tell(partial(done, meta, True))
