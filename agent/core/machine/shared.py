"""What the parts of the state machine have in common: time, bounds, tokens, leases, and who wants to hear of changes."""

from typing import Final, Protocol

from agent.core.machine.config import Limits

NEVER_MS: Final = 9_007_199_254_740_991


class LeaseBook(Protocol):
    """What the parts ask of the leases."""

    def complaint(self, ttl_ms: int) -> tuple[str, object]:
        """Why no lease can be granted, an error and its value; or an empty text."""

    def grant(self, ttl_ms: int, own: bool = False) -> int:
        """A new lease's id, where there is no complaint. `own`: of one key, whose end is its end."""

    def alive(self, lease: int) -> bool:
        """Whether there is such a lease."""

    def drop(self, lease: int) -> None:
        """Forget a lease of a key's own, whose key is gone or has another."""


class Shared:
    """One for a machine. Times are machine time in ms."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.index = 0
        self.time_ms = 0
        self.revision = 0
        """Of the key-value store: one more with each command that changed a key."""
        self.fence = 0
        """The latest token given; tokens of all locks and elections come from here, so they only ever rise."""
        self.due_ms = NEVER_MS
        """When something ends by itself, or earlier."""
        self.leases: LeaseBook
        self.keys_gone = 0
        """How many keys the lease that ended last took along."""
        self.watched = False
        """Somebody takes `touched` away from time to time."""
        self.touched: set[tuple[str, bytes]] = set()
        """(part, name) of locks, elections, counters and barriers that have changed."""

    def until(self, at_ms: int) -> None:
        """Something ends by itself at that time."""
        if at_ms < self.due_ms:
            self.due_ms = at_ms

    def touch(self, part: str, name: bytes) -> None:
        if self.watched:
            self.touched.add((part, name))

    def next_token(self) -> int:
        self.fence += 1
        return self.fence
