"""Sizes and times of a Byzantine group (PBFT). K, L, h, H are the paper's (Castro and Liskov, OSDI 1999, 4.3)."""

from msgspec import Struct


class PbftConfig(Struct, frozen=True):
    """`context` names the group, its epoch and the state it began from: what is signed in one context means nothing in another."""

    context: bytes = b""
    epoch: int = 0
    first_term: int = 0
    """Entries' terms are not below it: above those of the epoch before, where there was one."""
    checkpoint_interval: int = 16
    """K: a checkpoint after so many batches."""
    window: int = 64
    """L: batches beyond the last stable checkpoint that are taken up. Four checkpoints, so that none is waited for."""
    max_inflight: int = 8
    """Batches that a primary has proposed and not seen executed; while there are so many, requests wait and the next batch grows."""
    max_batch_bytes: int = 256 * 1024
    max_batch_requests: int = 256
    max_request_items: int = 1024
    pending_max: int = 64
    """Requests of one origin that wait to be executed. Fewer than the origin's window of numbers (`state.NUMBERS`)."""
    request_timeout_s: float = 2.0
    """How long a request may wait before its primary is given up; doubled with each view that brought nothing."""
    timeout_max_s: float = 60.0
    relay_s: float = 0.5
    """After so long the origin shows its request to everyone, so that all watch the primary (4.1)."""
    status_s: float = 0.2
    """What may have been lost is asked for again so often; idle, five times less often."""
    fetch_s: float = 0.5
    """A member that answers a question for state no sooner is given up for the next."""
    fetch_bytes: int = 256 * 1024
    catch_up_bytes: int = 64 * 1024 * 1024
    """What a replica that catches up buffers before it can be checked; beyond, it waits for a snapshot."""
    snapshot_entries: int = 10_000
    """Everyone takes a snapshot at the first checkpoint after so many entries, so that the snapshots are alike."""
    read_s: float = 0.3
    """A read whose answers do not decide it in so long is ordered like a write."""
    reads_max: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.checkpoint_interval <= self.window // 2:
            raise ValueError(f"checkpoint_interval: {self.checkpoint_interval}, expected 1 to half the window ({self.window})")
        if not 0 < self.pending_max < 256:
            raise ValueError(f"pending_max: {self.pending_max}, expected 1 to 255")
