"""Snapshots of the state machine: taken in slices beside everything else, and taken over from another member."""

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Final

from agent.cluster.consensus.host import Host
from agent.core.machine.machine import Machine
from agent.core.machine.snapshot import read_snapshot
from agent.core.replica.io import Chunk, ReadChunk, SnapshotStored, SnapshotTaken, StoreChunk
from agent.core.replica.log import SnapshotMeta
from agent.runtime.log import Logger
from agent.runtime.wal.face import LogStore, SnapshotSink

SLICE_S: Final = 0.001
"""For so long pieces are made before the loop has its turn,"""
PAUSE_S: Final = 0.002
"""and for so long it has it."""


class Snapshots:
    """Of one host. `entries`, `size`: how much after the last one the next is taken."""

    def __init__(self, host: Host, store: LogStore, machine: Machine, entries: int, size: int, log: Logger) -> None:
        self._host = host
        self._store = store
        self._machine = machine
        self._entries = entries
        self._size = size
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._sink: SnapshotSink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._incoming: tuple[SnapshotMeta, SnapshotSink] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.last = 0
        """Index of the newest one."""
        self.taken_at = 0.0
        self.waiters: list[Callable[[str, int], None]] = []
        host.applier.on_mark = self.take_exactly
        host.read_chunk = self.read_chunk
        host.store_chunk = self.store_chunk

    # -- taking

    def look(self) -> None:
        """Begin one where it is time."""
        applier = self._host.applier
        if applier.index - self.last >= self._entries or applier.bytes_since >= self._size:
            self.take()

    def take(self, done: Callable[[str, int], None] | None = None) -> None:
        """Begin one now, unless one is under way; `done` hears "" and its index, or why there is none."""
        applier = self._host.applier
        if done is not None:
            if applier.index == self.last and self._sink is None:
                done("", self.last)
                return
            self.waiters.append(done)
        if self._sink is not None or applier.halted or not applier.index or applier.index == self.last:
            return
        meta = SnapshotMeta(applier.index, applier.term, applier.members, applier.epoch)
        applier.bytes_since = 0
        pieces = self._machine.snapshot()
        self._sink = self._store.begin_snapshot(meta)
        self._make(pieces, self._sink)

    def take_exactly(self, index: int) -> None:
        """One of this very state, which the core asks for; one of its own that is under way is thrown away for it."""
        if self._sink is not None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._sink.abandon()
            self._sink = None
        self.take()

    def _make(self, pieces: Iterator[bytes], sink: SnapshotSink) -> None:
        self._timer = None
        try:
            end_at = time.monotonic() + SLICE_S
            for piece in pieces:
                sink.append(piece)
                if time.monotonic() >= end_at:
                    self._timer = self._loop.call_later(PAUSE_S, self._make, pieces, sink)
                    return
            sink.commit(self._taken)
        except Exception:
            self._log.error("consensus_snapshot_failed", text=traceback.format_exc(limit=-4))
            sink.abandon()
            self._taken(SnapshotMeta(), False)

    def _taken(self, meta: SnapshotMeta, ok: bool) -> None:
        self._sink = None
        if ok:
            self.last = meta.index
            self.taken_at = time.monotonic()
            self._host.figures.snapshots += 1
            self._host.feed(SnapshotTaken(meta))
        waiters, self.waiters = self.waiters, []
        for done in waiters:
            done("" if ok else "failed", meta.index)

    # -- giving and taking over

    def read_chunk(self, wish: ReadChunk) -> None:
        data = self._store.read_chunk(wish.meta, wish.offset, wish.size)
        self._host.feed(Chunk(wish.to, wish.meta, wish.offset, data))

    def store_chunk(self, chunk: StoreChunk) -> None:
        meta = chunk.meta
        if chunk.offset == 0:
            if self._incoming is not None:
                self._incoming[1].abandon()
            self._incoming = (meta, self._store.begin_snapshot(meta))
        if self._incoming is None or self._incoming[0] != meta:
            return
        sink = self._incoming[1]
        sink.append(chunk.data)
        if chunk.last:
            self._incoming = None
            self._host.applier.halted = True
            sink.commit(self._arrived)

    def _arrived(self, meta: SnapshotMeta, ok: bool) -> None:
        if not ok:
            self._host.applier.halted = False
            self._host.feed(SnapshotStored(meta, False))
            return
        task = self._loop.create_task(self._take_over(meta))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_over(self, meta: SnapshotMeta) -> None:
        host = self._host
        try:
            machine = self._machine
            if meta.size:
                machine.adopt(await asyncio.to_thread(read_snapshot, machine.registry, self._store.read_snapshot(meta)))
            else:
                machine.clear(meta.index)
        except Exception:
            host.fail(f"a snapshot that cannot be taken over: {traceback.format_exc(limit=-4)}")
            return
        if host.broken:
            return
        self.last = meta.index
        host.figures.snapshots_installed += 1
        host.applier.halted = False
        host.applier.stand_on(meta)
        self._store.install(meta)
        host.feed(SnapshotStored(meta, True))
        host.applier.tell()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sink is not None:
            self._sink.abandon()
        if self._incoming is not None:
            self._incoming[1].abandon()
        for task in self._tasks:
            task.cancel()
