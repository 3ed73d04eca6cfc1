"""What a leader knows of another member's log, and how it sends to it: etcd's three states, under their names there.

probe: where the logs meet is not known; one message at a time. replicate: entries go out as they come, in a pipeline, ahead of the
answers. snapshot: what it needs is compacted; chunk after chunk until it has the snapshot.
"""

from collections import deque
from typing import Final

from agent.core.replica.log import SnapshotMeta

PROBE: Final = 0
REPLICATE: Final = 1
SNAPSHOT: Final = 2
NAMES: Final = ("probe", "replicate", "snapshot")


class Progress:
    """`match`: known to be durable there. `next`: what to send next (while replicating, ahead of the answers)."""

    def __init__(self, following: int, now: float) -> None:
        self.match = 0
        self.next = following
        self.state = PROBE
        self.paused = False
        """A probe is on its way; or the pipeline is full."""
        self.inflight: deque[tuple[int, int]] = deque()
        """Messages with entries on their way: their last index, their octets."""
        self.inflight_bytes = 0
        self.commit_sent = 0
        self.heard_at = now
        """When it last said anything in this term; at first, when the leadership began."""
        self.heard = False
        self.acked_sent = -1.0
        """The leader's clock at the latest heartbeat that it answered."""
        self.acked_round = 0
        self.disk_s = 0.0
        self.writable = True
        self.well_since = now
        """Heard without a break, and its disk well, since."""
        self.meta: SnapshotMeta | None = None
        self.offset = 0
        self.chunk_at = 0.0
        self.asked = -1
        """From where on the host was last asked for a piece; -1: not since the snapshot was offered."""
        self.round_goal = 0
        self.round_began = now
        self.rounds = 0

    def become_probe(self) -> None:
        if self.state == SNAPSHOT and self.meta is not None:
            self.next = max(self.match + 1, self.meta.index + 1)
        else:
            self.next = self.match + 1
        self._reset(PROBE)

    def become_replicate(self) -> None:
        self._reset(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, meta: SnapshotMeta) -> None:
        self._reset(SNAPSHOT)
        self.meta = meta
        self.next = meta.index + 1

    def _reset(self, state: int) -> None:
        self.state = state
        self.paused = False
        self.inflight.clear()
        self.inflight_bytes = 0
        self.meta = None
        self.offset = 0
        self.asked = -1

    def note_sent(self, last: int, size: int) -> None:
        self.inflight.append((last, size))
        self.inflight_bytes += size

    def free_up_to(self, index: int) -> None:
        """Messages up to this index have arrived."""
        inflight = self.inflight
        while inflight and inflight[0][0] <= index:
            self.inflight_bytes -= inflight.popleft()[1]

    def update(self, index: int) -> bool:
        """It has everything up to `index`. False: known already."""
        if index <= self.match:
            return False
        self.match = index
        if index >= self.next:
            self.next = index + 1
        self.paused = False
        return True

    def decrease(self, rejected: int, hint: int) -> bool:
        """It refused entries behind `rejected`, and cannot match above `hint`. False: that answer is old."""
        if self.state == REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1, 1)
        self.paused = False
        return True
