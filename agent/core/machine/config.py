"""Bounds of the state machine. They are part of its state (the command `machine.limits` sets them), so that all replicas judge alike."""

from msgspec import Struct


class Limits(Struct, frozen=True, array_like=True, gc=False):
    """What the state machine takes; beyond it a command's outcome is `too_large` or `full`, and nothing has changed."""

    key_bytes: int = 1_024
    """Of keys and of the names of locks, elections, counters and barriers."""
    value_bytes: int = 1_048_576
    keys: int = 1_000_000
    store_bytes: int = 512 * 1_048_576
    """Keys and values together."""
    history_events: int = 65_536
    """Events that a watch can resume over."""
    history_bytes: int = 64 * 1_048_576
    txn_operations: int = 128
    range_items: int = 1_000
    range_bytes: int = 1_048_576
    """Values in one answer of a range, after which it says that there is more."""
    leases: int = 200_000
    lease_ttl_ms_max: int = 30 * 86_400_000
    lease_ttl_ms_min: int = 100
    sessions: int = 20_000
    session_ttl_ms_max: int = 86_400_000
    session_window_max: int = 8_192
    windows: int = 4_000_000
    """The windows of all sessions together."""
    session_bytes: int = 262_144
    """Kept outcomes of one session; the oldest go first."""
    idempotency_keys: int = 200_000
    idempotency_ttl_ms_max: int = 86_400_000
    seats: int = 100_000
    """Locks; and as many elections."""
    waiters: int = 1_024
    """Of one lock or election."""
    owner_bytes: int = 256
    counters: int = 100_000
    barriers: int = 10_000
    parties: int = 1_024
    """Of one barrier."""
    lease_keys: int = 4_096
    """Of one lease, so that its end is no long affair."""
    lease_seats: int = 4_096
    """Locks that one lease holds or waits for; and as many elections."""
