"""Times and bounds of a Raft group. Every member of a group must have the same `election_s` and `clock_drift`: leases rest on them."""

from typing import Final

from msgspec import Struct

VOTERS_MAX: Final = 9
"""Beyond 7 voters every write waits for more disks and nothing is safer in practice; 9 leaves room for a change under way."""
MEMBERS_MAX: Final = 1024
"""Voters and learners of one group."""
PRIORITY_MAX: Final = 9


class RaftConfig(Struct, frozen=True):
    heartbeat_s: float = 0.1
    """A leader tells everybody that it lives so often."""
    election_s: float = 0.8
    """Who hears no leader for 1 to 2 times this (drawn for each) stands for election; who heard one within this refuses its vote, and
    a leader that hears no majority for this steps down. At least 5 heartbeats, and far above the round trip and a garbage collection."""
    clock_drift: float = 0.05
    """A leader's lease is `election_s` · (1 - this): clocks may run so much apart in *speed* (not in what they show). Real ones
    differ by less than 0.001; the rest is for virtual machines."""
    commit_notice_s: float = 0.002
    """A follower hears of a new commit index with the next entries, or after so long. 0: at once, a message for each commit."""

    max_batch_bytes: int = 1 << 20
    """Entries of one message, in octets; at least one entry."""
    max_command_bytes: int = 1 << 20
    """A longer command is refused (`too_large`)."""
    max_inflight: int = 256
    """Messages with entries on their way to one follower. One goes out a turn of the loop; 256 cover 256 turns until a disk's answer."""
    max_inflight_bytes: int = 16 << 20
    max_uncommitted_bytes: int = 64 << 20
    """Proposals beyond this are refused (`busy`) until some are committed."""
    max_reads: int = 65536
    """Reads that wait at once; beyond, they are refused (`busy`)."""
    max_read_rounds: int = 4
    """Rounds of heartbeats for reads under way at once; reads that come meanwhile share the next."""

    snapshot_chunk_bytes: int = 256 << 10
    snapshot_retry_s: float = 1.0
    """A chunk of a snapshot that is not answered is sent again after so long."""
    margin_entries: int = 10_000
    """Entries kept behind a snapshot, so that a follower a little behind needs no snapshot. The leader keeps up to 4 times as many for
    followers that it hears."""
    margin_bytes: int = 32 << 20
    """The same in octets; the smaller of both counts."""

    promotion_rounds_max: int = 10
    """A learner that is to vote is caught up when a round of replication took it less than `election_s` (4.2.1); after so many
    rounds it is given up, and stays a learner."""
    promotion_timeout_s: float = 60.0
    """It is given up as well when one round takes so long."""
    disk_slow_s: float = 0.5
    """A leader whose disk has not finished a write for so long hands over to a peer whose disk is at least twice as fast."""
    priority_settle_s: float = 5.0
    """A voter of higher priority is handed the leadership when it has been heard and caught up for so long; after an attempt that
    failed, twice as long, and so on up to 64 times: leadership must not wander."""

    fast_timeout_s: float = 0.5
    """A command on the fast path that is not decided by then is left to the ordered path."""
    fast_hold_s: float = 1.0
    """A voter that has held a command for so long asks the leader to order it: whoever submitted it may be gone."""
    max_submissions: int = 4096
    max_held: int = 512
    """Commands that a voter holds; beyond, it accepts none."""
    max_held_bytes: int = 128 << 10
    """The same in octets. They are written with every write as long as there are any."""


def validate(config: RaftConfig) -> list[str]:
    """What is wrong with it, a line each; empty when nothing is."""
    wrong = []
    for name in ("heartbeat_s", "election_s", "snapshot_retry_s", "promotion_timeout_s", "disk_slow_s", "priority_settle_s"):
        found = getattr(config, name)
        if not found > 0:
            wrong.append(f"{name}: found {found}, expected more than 0")
    if config.election_s < 5 * config.heartbeat_s:
        wrong.append(f"election_s: found {config.election_s}, expected at least 5 times heartbeat_s ({config.heartbeat_s})")
    if not 0 <= config.clock_drift < 0.5:
        wrong.append(f"clock_drift: found {config.clock_drift}, expected 0 to 0.5")
    if not 0 <= config.commit_notice_s <= config.heartbeat_s:
        wrong.append(f"commit_notice_s: found {config.commit_notice_s}, expected 0 to heartbeat_s ({config.heartbeat_s})")
    for name in ("max_batch_bytes", "max_command_bytes", "max_inflight", "max_inflight_bytes", "max_uncommitted_bytes"):
        if getattr(config, name) < 1:
            wrong.append(f"{name}: found {getattr(config, name)}, expected at least 1")
    for name in ("fast_timeout_s", "fast_hold_s"):
        if not getattr(config, name) > 0:
            wrong.append(f"{name}: found {getattr(config, name)}, expected more than 0")
    if config.max_held_bytes > 4 << 20:
        wrong.append(f"max_held_bytes: found {config.max_held_bytes}, expected at most 4 MiB (they travel with a vote)")
    for name in ("max_reads", "max_read_rounds", "promotion_rounds_max", "max_submissions", "max_held"):
        if getattr(config, name) < 1:
            wrong.append(f"{name}: found {getattr(config, name)}, expected at least 1")
    for name in ("max_batch_bytes", "max_command_bytes", "snapshot_chunk_bytes"):
        if getattr(config, name) > 8 << 20:
            wrong.append(f"{name}: found {getattr(config, name)}, expected at most 8 MiB (a message's bound)")
    if config.snapshot_chunk_bytes < 1:
        wrong.append(f"snapshot_chunk_bytes: found {config.snapshot_chunk_bytes}, expected at least 1")
    if config.margin_entries < 0 or config.margin_bytes < 0:
        wrong.append("margin_entries, margin_bytes: found less than 0")
    return wrong
