"""What a replica's host sees of its log and its snapshots, whether they are on a disk or in memory."""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from agent.core.replica.io import Persist
from agent.core.replica.log import SnapshotMeta

SYNC_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class WalHost(Protocol):
    """Is called on the loop."""

    def stored(self, number: int) -> None:
        """Everything up to the `Persist` of this number is as durable as it asked to be."""

    def storage(self, writable: bool, why: str) -> None:
        """The disk is full: nothing is stored from here on, and everything is kept in memory and tried again. Or there is space again."""

    def storage_failed(self, error: Exception) -> None:
        """The log is broken (WalFailed); the replica must stop. Nothing is stored any more, and nothing more is called."""


class Figures:
    """Counts, since the log was opened; plain numbers that others collect."""

    def __init__(self) -> None:
        self.persists = 0
        self.writes = 0
        self.written_bytes = 0
        self.synced_s = 0.0
        """Seconds in writes that were made durable,"""
        self.sync_counts = [0] * (len(SYNC_BUCKETS_S) + 1)
        """and how many took how long, by `SYNC_BUCKETS_S`; the last: longer."""
        self.full = 0
        """How often the disk became full."""
        self.torn_tails = 0
        self.bad_snapshots = 0
        self.segments = 0
        self.log_bytes = 0
        self.snapshots_taken = 0
        self.snapshots_failed = 0
        self.snapshot_bytes = 0
        """Of the newest."""

    def count_sync(self, took_s: float, size: int) -> None:
        self.writes += 1
        self.written_bytes += size
        self.synced_s += took_s
        for number, bound in enumerate(SYNC_BUCKETS_S):
            if took_s <= bound:
                self.sync_counts[number] += 1
                return
        self.sync_counts[-1] += 1


class SnapshotSink(Protocol):
    """A snapshot that is being written aside. Pieces in order; then `commit`, or `abandon`."""

    def append(self, data: bytes) -> None:
        """Returns at once."""

    def commit(self, done: Callable[[SnapshotMeta, bool], None]) -> None:
        """Check size and digest (where the meta that it was begun with has them; else they are filled in), make it durable, then call
        `done(meta, ok)` on the loop. Not ok: it was thrown away; `meta` is then what it was begun with."""

    def abandon(self) -> None:
        """Throw it away."""


class LogStore(Protocol):
    """The durable half of a replica. `me`: the member's id, which lives as long as the log. All methods are the loop's."""

    me: int
    figures: Figures

    def start(self, host: WalHost) -> None:
        """Begin to write; with the loop running."""

    def persist(self, batch: Persist) -> None:
        """Queue it; `stored` tells. One that is not to be synchronised waits in memory for one that is, or a tenth of a second."""

    def compact(self, index: int) -> None:
        """What is up to this index may be forgotten. Kept all the same is what an older snapshot that is kept would need."""

    def begin_snapshot(self, meta: SnapshotMeta) -> SnapshotSink:
        """Without size and digest: the own state machine's. With them: one that another member sends."""

    def install(self, meta: SnapshotMeta) -> None:
        """The replica stands on this snapshot of another's from here on: call it right before the core hears `SnapshotStored`, as what is
        persisted afterwards follows the snapshot. Where the log has not the entry that it ends with, the log begins anew behind it."""

    def read_chunk(self, meta: SnapshotMeta, offset: int, size: int) -> bytes | None:
        """Of a snapshot that is kept; None where it is not (any more), or cannot be read."""

    def read_snapshot(self, meta: SnapshotMeta) -> Iterator[bytes]:
        """All of it, in pieces: for the state machine, at start. Raises OSError where it is gone."""

    @property
    def slow_s(self) -> float:
        """How long the oldest `Persist` that is under way has been."""

    async def close(self) -> None:
        """Write what is queued, and stop. Without an answer from a full or broken disk it is not waited for."""
