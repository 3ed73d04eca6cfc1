"""A replica's log and snapshots in one folder.

    wal, recovered = Wal.open(Path("consensus/main"), "main", draw_id, log)      (before the loop has work: it reads everything)
    wal.start(host)
    wal.persist(Persist(1, HardState(term=3, vote=me)))      ->  host.stored(1)

One thread writes the log: all that was queued while it was busy goes out in the next write. Another writes snapshots.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from agent.core.replica.io import Compact, Persist
from agent.core.replica.log import Recovered, SnapshotMeta
from agent.core.wal.errors import WalFailed
from agent.core.wal.log import WalConfig
from agent.core.wal.opening import Beginning, Opened, open_log
from agent.runtime.log import Logger
from agent.runtime.wal.face import Figures, WalHost
from agent.runtime.wal.folder import RealFolder, lock, make_folder
from agent.runtime.wal.snapshots import FileSink, Snapshots
from agent.runtime.wal.writer import Stop, Writer

LAZY_S: Final = 0.1
"""So long a batch that need not be durable for its own sake waits for company."""
CLOSE_S: Final = 5.0
"""So long `close` waits for the disk."""


class Wal:
    """`LogStore` on a disk. Raises from `open`: WalCorrupt, WalInUse, OSError."""

    def __init__(self, path: Path, opened: Opened, folder: RealFolder, held: int, config: WalConfig, log: Logger) -> None:
        self.me = opened.me
        self.figures = Figures()
        self._log = log
        self._path = path
        self._folder = folder
        self._held = held
        self._host: WalHost | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: deque[tuple[int, bool, float]] = deque()
        self._lazy: list[Persist] = []
        self._lazy_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._writer = Writer(
            opened.log,
            folder,
            self.figures,
            lambda number: self._tell(partial(self._on_stored, number)),
            lambda writable, why: self._tell(partial(self._on_storage, writable, why)),
            lambda error: self._tell(partial(self._on_failed, error)),
        )
        self._snapshots = Snapshots(path, opened.log.group, opened.snapshots, config, self.figures, log, self._tell)
        self.figures.segments = len(opened.log.segments)
        self.figures.log_bytes = opened.log.bytes_on_disk
        self.figures.snapshot_bytes = opened.snapshots[0].size if opened.snapshots else 0
        self._say_what_was_found(opened)

    @classmethod
    def open(
        cls,
        path: Path,
        group: str,
        draw_id: Callable[[], int],
        log: Logger,
        beginning: Beginning | None = None,
        config: WalConfig = WalConfig(),  # noqa: B008 - frozen
    ) -> tuple["Wal", Recovered]:
        """Open the folder's log, or make one: then `draw_id` gives the member's id, and `beginning` what the log begins from."""
        make_folder(path)
        held = lock(path)
        folder = RealFolder(path)
        try:
            opened = open_log(folder, group, draw_id, config, beginning)
        except BaseException:
            folder.close()
            os.close(held)
            raise
        return cls(path, opened, folder, held, config, log), opened.recovered

    def _say_what_was_found(self, opened: Opened) -> None:
        found = opened.recovery
        if found is None:
            self._log.info("wal_made", folder=str(self._path), group=opened.log.group, member=opened.me)
            return
        for verdict in found.bad_snapshots:
            self.figures.bad_snapshots += 1
            self._log.warning("snapshot_damaged", folder=str(self._path), file=verdict.name, why=verdict.why)
        if found.cut_bytes:
            self.figures.torn_tails += 1
            self._log.warning("wal_torn_tail", folder=str(self._path), segment=found.sequence, offset=found.end, octets=found.cut_bytes)
        recovered = found.recovered
        last = opened.log.last
        self._log.info(
            "wal_recovered",
            folder=str(self._path),
            group=opened.log.group,
            member=opened.me,
            term=recovered.hard.term,
            commit=recovered.hard.commit,
            snapshot=recovered.snapshot.index,
            last=last.index,
            segments=len(found.segments),
        )

    # -- the loop's side

    def start(self, host: WalHost) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._writer.start()

    def persist(self, batch: Persist) -> None:
        if self._closed:
            return
        self.figures.persists += 1
        self._under_way.append((batch.number, batch.sync, time.monotonic()))
        if batch.sync or batch.entries:
            self._put_lazy()
            self._writer.put(batch)
            return
        # Only the last hard state of several counts.
        if self._lazy and batch.hard is not None:
            self._lazy.clear()
        self._lazy.append(batch)
        if self._loop is not None:
            if self._lazy_timer is None:
                self._lazy_timer = self._loop.call_later(LAZY_S, self._put_lazy)
            if self._under_way[0][0] == batch.number:
                self._loop.call_soon(self._on_stored, 0)

    def _put_lazy(self) -> None:
        if self._lazy_timer is not None:
            self._lazy_timer.cancel()
            self._lazy_timer = None
        for batch in self._lazy:
            self._writer.put(batch)
        self._lazy.clear()

    def compact(self, index: int) -> None:
        if self._closed:
            return
        kept = self._snapshots.kept
        if kept:
            self._writer.put(Compact(min(index, kept[-1].index)))

    @property
    def slow_s(self) -> float:
        return time.monotonic() - self._under_way[0][2] if self._under_way else 0.0

    # -- snapshots

    def begin_snapshot(self, meta: SnapshotMeta) -> FileSink:
        return self._snapshots.begin(meta)

    def install(self, meta: SnapshotMeta) -> None:
        if not self._closed:
            self._put_lazy()
            self._writer.put(meta)

    def read_chunk(self, meta: SnapshotMeta, offset: int, size: int) -> bytes | None:
        return self._snapshots.read_chunk(meta, offset, size)

    def read_snapshot(self, meta: SnapshotMeta) -> Iterator[bytes]:
        return self._snapshots.read(meta)

    # -- what the threads say

    def _tell(self, call: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that is closed has nobody who wants to know.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(call)

    def _on_stored(self, number: int) -> None:
        """With what follows it and asked for nothing. 0: only such."""
        under_way, last = self._under_way, 0
        while under_way and (under_way[0][0] <= number or not under_way[0][1]):
            last = under_way.popleft()[0]
        if last and self._host is not None and not self._closed:
            self._host.stored(last)

    def _on_storage(self, writable: bool, why: str) -> None:
        if writable:
            self._log.info("wal_writable", folder=str(self._path))
        else:
            self._log.error("wal_full", folder=str(self._path), error=why)
        if self._host is not None and not self._closed:
            self._host.storage(writable, why)

    def _on_failed(self, error: WalFailed) -> None:
        self._log.error("wal_failed", folder=str(self._path), error=str(error))
        if self._host is not None and not self._closed:
            self._closed = True
            self._host.storage_failed(error)

    async def close(self) -> None:
        self._put_lazy()
        self._closed = True
        loop = asyncio.get_running_loop()
        self._writer.put(Stop())
        ended = loop.run_in_executor(None, self._end)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ended), CLOSE_S)

    def _end(self) -> None:
        if self._loop is not None:
            self._writer.join()
        self._snapshots.close()
        self._folder.close()
        os.close(self._held)
