"""The thread that writes the log: everything that is queued goes to the disk in one write, made durable once."""

import errno
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from msgspec import Struct

from agent.core.replica.io import Compact, Persist
from agent.core.replica.log import SnapshotMeta
from agent.core.wal.disk import Op, SyncFolder, Write
from agent.core.wal.errors import WalFailed
from agent.core.wal.log import Log
from agent.runtime.wal.face import Figures
from agent.runtime.wal.folder import RealFolder

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RETRY_S: Final = 0.25
"""How long after the disk was full the first try is made; then twice as long each time,"""
RETRY_S_MAX: Final = 5.0
"""up to this. Each try writes what is to be written and nothing else, so it costs little."""
WRITE_BYTES_MAX: Final = 8 << 20
"""Of entries in one write, unless one batch has more: a longer one would let acknowledgements wait."""


class Stop(Struct, frozen=True):
    """Ends the thread."""


Item = Persist | SnapshotMeta | Compact | Stop


class Writer:
    """`tell_stored(number)`, `tell_storage(writable, why)`, `tell_failed(error)` are called from the thread."""

    def __init__(
        self,
        log: Log,
        folder: RealFolder,
        figures: Figures,
        tell_stored: Callable[[int], None],
        tell_storage: Callable[[bool, str], None],
        tell_failed: Callable[[WalFailed], None],
    ) -> None:
        self._log = log
        self._folder = folder
        self._figures = figures
        self._tell_stored = tell_stored
        self._tell_storage = tell_storage
        self._tell_failed = tell_failed
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._compact_to = 0
        self._stopping = False
        self._thread = Thread(target=self._run, name="wal", daemon=True)
        self.put: Callable[[Item], None] = self._queue.put

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread's end, after `Stop`."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping:
                batches = self._gather(self._queue.get())
                if batches:
                    self._store(batches)
                if self._compact_to:
                    self._compact()
        except WalFailed as error:
            self._tell_failed(error)
        except Exception as error:
            self._tell_failed(WalFailed(f"{type(error).__name__}: {error}"))

    def _gather(self, item: Item) -> list[Persist | SnapshotMeta]:
        batches: list[Persist | SnapshotMeta] = []
        size = 0
        while True:
            if isinstance(item, Persist):
                size += sum(len(entry.data) for entry in item.entries)
                batches.append(item)
            elif isinstance(item, SnapshotMeta):
                batches.append(item)
            elif isinstance(item, Compact):
                self._compact_to = item.index
            else:
                self._stopping = True
                return batches
            if size > WRITE_BYTES_MAX:
                return batches
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batches

    def _store(self, batches: list[Persist | SnapshotMeta]) -> None:
        retry_s, full = RETRY_S, ""
        while True:
            why = self._try(self._log.plan_roll) or self._try(lambda: self._log.plan_append(batches))
            if not why:
                break
            if not full:
                self._figures.full += 1
                self._tell_storage(False, why)
            full = why
            if not self._wait_for_space(batches, retry_s):
                return
            retry_s = min(retry_s * 2, RETRY_S_MAX)
        if full:
            self._tell_storage(True, "")
        self._figures.segments = len(self._log.segments)
        self._figures.log_bytes = self._log.bytes_on_disk
        numbers = [batch.number for batch in batches if isinstance(batch, Persist)]
        if numbers:
            self._tell_stored(numbers[-1])

    def _try(self, plan: Callable[[], tuple[Op, ...]]) -> str:
        """Carry a plan out; why the disk takes nothing, or an empty text. Raises WalFailed."""
        ops = plan()
        if not ops:
            return ""
        for op in ops:
            began = time.perf_counter()
            try:
                self._folder.run(op)
            except OSError as error:
                if error.errno not in FULL or isinstance(op, SyncFolder):
                    raise WalFailed(f"{self._folder.path}: {error}") from error
                self._undo()
                return str(error)
            if isinstance(op, Write):
                self._figures.count_sync(time.perf_counter() - began, len(op.data))
        self._log.done()
        return ""

    def _undo(self) -> None:
        """Nothing of the write that did not fit stays behind."""
        for op in self._log.undo():
            try:
                self._folder.run(op)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise WalFailed(f"{self._folder.path}: after the disk was full: {error}") from error

    def _wait_for_space(self, batches: list[Persist | SnapshotMeta], retry_s: float) -> bool:
        """False where the log is closed meanwhile. What comes meanwhile is put to the rest; a compaction may be what makes space."""
        end = time.monotonic() + retry_s
        while not self._stopping and (left := end - time.monotonic()) > 0:
            try:
                batches += self._gather(self._queue.get(timeout=left))
            except Empty:
                break
            if self._compact_to:
                self._compact()
        return not self._stopping

    def _compact(self) -> None:
        ops = self._log.plan_compact(self._compact_to)
        self._compact_to = 0
        for op in ops:
            try:
                self._folder.run(op)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise WalFailed(f"{self._folder.path}: {error}") from error
