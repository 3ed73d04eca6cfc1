"""A log that forgets everything when the process ends, for pods without a volume. Explicit: its member has a new id at each start, and
joins its group as a new learner; a member that comes back without its log under its old id could break its promises."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from functools import partial

from agent.core.replica.io import Persist
from agent.core.replica.log import HardState, Recovered, SnapshotMeta
from agent.core.wal.log import WalConfig
from agent.core.wal.opening import Beginning, finished
from agent.runtime.wal.face import Figures, WalHost

SNAPSHOTS_KEPT = WalConfig().snapshots_kept


class MemoryWal:
    """`LogStore` in memory: `stored` is said in the next turn of the loop. The replica itself holds the entries; this holds snapshots."""

    def __init__(self, me: int) -> None:
        self.me = me
        self.figures = Figures()
        self._host: WalHost | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stored = 0
        self._told = True
        self._kept: dict[SnapshotMeta, bytes] = {}

    @classmethod
    def open(cls, draw_id: Callable[[], int], beginning: Beginning | None = None) -> tuple["MemoryWal", Recovered]:
        """Always a new log."""
        wal = cls(draw_id())
        if beginning is None:
            return wal, Recovered()
        meta = finished(beginning.meta, len(beginning.data), hashlib.sha256(beginning.data).digest())
        wal.keep(meta, beginning.data)
        hard = beginning.hard
        return wal, Recovered(HardState(hard.term, hard.vote, meta.index, hard.extra), meta)

    def start(self, host: WalHost) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()

    def persist(self, batch: Persist) -> None:
        self.figures.persists += 1
        self._stored = batch.number
        if self._told and self._loop is not None:
            self._told = False
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._told = True
        if self._host is not None:
            self._host.stored(self._stored)

    def compact(self, index: int) -> None:
        """Nothing is kept that could be forgotten."""

    def begin_snapshot(self, meta: SnapshotMeta) -> "MemorySink":
        return MemorySink(self, meta)

    def install(self, meta: SnapshotMeta) -> None:
        """There is no log that would have to know."""

    def keep(self, meta: SnapshotMeta, data: bytes) -> None:
        """As the newest."""
        self._kept[meta] = data
        self.figures.snapshots_taken += 1
        self.figures.snapshot_bytes = meta.size
        for old in sorted(self._kept, key=lambda other: other.index)[:-SNAPSHOTS_KEPT]:
            del self._kept[old]

    def say(self, call: Callable[[], None]) -> None:
        """In the loop's next turn."""
        if self._loop is not None:
            self._loop.call_soon(call)

    def read_chunk(self, meta: SnapshotMeta, offset: int, size: int) -> bytes | None:
        data = self._kept.get(meta)
        return None if data is None else data[offset : offset + size]

    def read_snapshot(self, meta: SnapshotMeta) -> Iterator[bytes]:
        data = self._kept.get(meta)
        if data is None:
            raise OSError(f"the snapshot at index {meta.index} is gone")
        return iter((data,) if data else ())

    @property
    def slow_s(self) -> float:
        return 0.0

    async def close(self) -> None:
        self._host = None


class MemorySink:
    def __init__(self, owner: MemoryWal, meta: SnapshotMeta) -> None:
        self._owner = owner
        self._meta = meta
        self._parts: list[bytes] = []
        self._ended = False

    def append(self, data: bytes) -> None:
        self._parts.append(data)

    def commit(self, done: Callable[[SnapshotMeta, bool], None]) -> None:
        if self._ended:
            return
        self._ended = True
        data = b"".join(self._parts)
        meta = finished(self._meta, len(data), hashlib.sha256(data).digest())
        ok = not self._meta.digest or meta == self._meta
        if ok:
            self._owner.keep(meta, data)
        else:
            self._owner.figures.snapshots_failed += 1
        self._owner.say(partial(done, meta if ok else self._meta, ok))

    def abandon(self) -> None:
        self._ended = True
        self._parts.clear()
