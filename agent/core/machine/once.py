"""Idempotency keys: exactly-once for a caller without a session (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final

import msgspec

from agent.core.machine.commands import Once
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType
from agent.core.machine.shared import NEVER_MS, Shared

VERSION: Final = 1
KEY_CHARACTERS_MAX: Final = 128
EXPIRE_MAX: Final = 4_096
DIGEST_BYTES: Final = 16
"""Enough to find that a key came with another command; nobody gains by making them collide but with themselves."""


class Kept:
    __slots__ = ("digest", "expires_ms", "outcome")

    def __init__(self, expires_ms: int, digest: bytes, outcome: Outcome) -> None:
        self.expires_ms = expires_ms
        self.digest = digest
        self.outcome = outcome


class OnceTable(Part):
    """`execute`: carries out the octets of a command; the machine sets it."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.table: dict[str, Kept] = {}
        self.execute: Callable[[bytes], Outcome] = _not_yet
        self._heap: list[tuple[int, str]] = []

    def on_once(self, command: Once) -> Outcome:
        shared = self.shared
        limits = shared.limits
        key = command.key
        octets = bytes(command.command)
        digest = hashlib.sha256(octets).digest()[:DIGEST_BYTES]
        kept = self.table.get(key)
        if kept is not None:
            if kept.digest != digest:
                return Outcome("idempotency_mismatch", shared.revision)
            first = kept.outcome
            return Outcome(first.error, first.revision, first.value, True)
        if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
            return Outcome("invalid", shared.revision, f"idempotency key of {len(key)} characters; expected 1 to {KEY_CHARACTERS_MAX}")
        if not 1 <= command.ttl_ms <= limits.idempotency_ttl_ms_max:
            return Outcome("invalid", shared.revision, f"ttl {command.ttl_ms} ms; at most {limits.idempotency_ttl_ms_max} ms")
        if len(self.table) >= limits.idempotency_keys:
            return Outcome("full", shared.revision, f"idempotency_keys: at most {limits.idempotency_keys}")
        outcome = self.execute(octets)
        expires_ms = shared.time_ms + command.ttl_ms
        self.table[key] = Kept(expires_ms, digest, outcome)
        heappush(self._heap, (expires_ms, key))
        shared.until(expires_ms)
        return outcome

    def expire(self) -> int:
        """Forget what is due, and no more than a command has time for; when to look again."""
        heap = self._heap
        left = EXPIRE_MAX
        while heap and heap[0][0] <= self.shared.time_ms and left > 0:
            del self.table[heappop(heap)[1]]
            left -= 1
        return heap[0][0] if heap else NEVER_MS

    # -- Part

    def freeze(self) -> Iterator[Any]:
        rows = [(key, kept.expires_ms, kept.digest, kept.outcome) for key, kept in self.table.items()]
        rows.sort(key=_key)
        return iter(rows)

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            key, expires_ms, digest, outcome = msgspec.convert(row, tuple[str, int, bytes, Outcome])
            self.table[key] = Kept(expires_ms, digest, outcome)
        self._heap = [(kept.expires_ms, key) for key, kept in self.table.items()]
        heapify(self._heap)
        self.shared.until(self._heap[0][0] if self._heap else NEVER_MS)


def _key(row: Any) -> str:
    key: str = row[0]
    return key


def _not_yet(octets: bytes) -> Outcome:
    raise AssertionError("no machine has taken this table")


ONCE: Final = PartType("once", VERSION, OnceTable, (CommandType(Once, OnceTable.on_once),))
