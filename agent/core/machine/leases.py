"""Leases: what is held for as long as its holder gives signs of life, by machine time (Gray and Cheriton 1989; as in etcd).

A lease that ends takes along what was held by it: keys, locks, candidacies, places in barriers, a session.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final

import msgspec

from agent.core.machine.commands import LeaseGrant, LeaseKeep, LeaseRevoke
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType
from agent.core.machine.shared import NEVER_MS, Shared

VERSION: Final = 1
HEAP_SLACK: Final = 1_024
"""The heap of ends may have so many outdated entries, beside as many as there are leases, before it is made anew."""
EXPIRE_MAX: Final = 4_096
"""Leases and keys that one command's time may end; the rest ends with the next. After a time without a leader a great many may be due."""


class Lease:
    """own: it belongs to one key, and goes when that key goes or gets another."""

    __slots__ = ("expires_ms", "id", "own", "ttl_ms")

    def __init__(self, id: int, ttl_ms: int, expires_ms: int, own: bool) -> None:
        self.id = id
        self.ttl_ms = ttl_ms
        self.expires_ms = expires_ms
        self.own = own


class Leases(Part):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.table: dict[int, Lease] = {}
        self.last = 0
        """The latest id given; none is given twice."""
        self.holders: list[Part] = []
        """Who is told when a lease ends, in order."""
        self._heap: list[tuple[int, int]] = []
        shared.leases = self

    # -- for the other parts

    def complaint(self, ttl_ms: int) -> tuple[str, object]:
        limits = self.shared.limits
        if not limits.lease_ttl_ms_min <= ttl_ms <= limits.lease_ttl_ms_max:
            return "invalid", f"ttl {ttl_ms} ms: expected {limits.lease_ttl_ms_min} to {limits.lease_ttl_ms_max} ms"
        if len(self.table) >= limits.leases:
            return "full", f"leases: there are {limits.leases}"
        return "", None

    def grant(self, ttl_ms: int, own: bool = False) -> int:
        self.last += 1
        expires_ms = self.shared.time_ms + ttl_ms
        self.table[self.last] = Lease(self.last, ttl_ms, expires_ms, own)
        if len(self._heap) > 2 * len(self.table) + HEAP_SLACK:
            self._rebuild()
        else:
            heappush(self._heap, (expires_ms, self.last))
        self.shared.until(expires_ms)
        return self.last

    def alive(self, lease: int) -> bool:
        return lease in self.table

    def drop(self, lease: int) -> None:
        found = self.table.get(lease)
        if found is not None and found.own:
            del self.table[lease]

    def renew(self, lease: int) -> None:
        """A sign of life."""
        found = self.table.get(lease)
        if found is not None:
            found.expires_ms = self.shared.time_ms + found.ttl_ms

    def end(self, lease: int, expired: bool) -> int:
        """End a lease that there is; how many keys went with it."""
        del self.table[lease]
        self.shared.keys_gone = 0
        for part in self.holders:
            part.lease_ended(lease, expired)
        return self.shared.keys_gone

    def expire(self) -> int:
        """End what is due, in the order of its time and id, and no more than a command has time for; when to look again."""
        heap = self._heap
        now = self.shared.time_ms
        left = EXPIRE_MAX
        while heap and heap[0][0] <= now and left > 0:
            at, id = heappop(heap)
            lease = self.table.get(id)
            if lease is None:
                continue
            if lease.expires_ms != at:
                heappush(heap, (lease.expires_ms, id))
            else:
                left -= 1 + self.end(id, True)
        return heap[0][0] if heap else NEVER_MS

    def _rebuild(self) -> None:
        self._heap = [(lease.expires_ms, lease.id) for lease in self.table.values()]
        heapify(self._heap)

    # -- commands

    def on_grant(self, command: LeaseGrant) -> Outcome:
        error, why = self.complaint(command.ttl_ms)
        if error:
            return Outcome(error, self.shared.revision, why)
        return Outcome("", self.shared.revision, self.grant(command.ttl_ms))

    def on_keep(self, command: LeaseKeep) -> Outcome:
        lease = self.table.get(command.lease)
        if lease is None:
            return Outcome("lease_not_found", self.shared.revision)
        lease.expires_ms = self.shared.time_ms + lease.ttl_ms
        return Outcome("", self.shared.revision, lease.ttl_ms)

    def on_revoke(self, command: LeaseRevoke) -> Outcome:
        if command.lease not in self.table:
            return Outcome("lease_not_found", self.shared.revision)
        gone = self.end(command.lease, False)
        return Outcome("", self.shared.revision, gone)

    # -- Part

    def roomy(self) -> bool:
        return True  # no command that touches leases is executed out of order

    def freeze(self) -> Iterator[Any]:
        rows = [(lease.id, lease.ttl_ms, lease.expires_ms, lease.own) for lease in self.table.values()]
        rows.sort()
        return iter([self.last, *rows])

    def load(self, version: int, rows: Iterator[Any]) -> None:
        self.last = msgspec.convert(next(rows), int)
        for row in rows:
            id, ttl_ms, expires_ms, own = msgspec.convert(row, tuple[int, int, int, bool])
            self.table[id] = Lease(id, ttl_ms, expires_ms, own)
        self._rebuild()
        self.shared.until(self._heap[0][0] if self._heap else NEVER_MS)


LEASES: Final = PartType(
    "leases",
    VERSION,
    Leases,
    (
        CommandType(LeaseGrant, Leases.on_grant),
        CommandType(LeaseKeep, Leases.on_keep),
        CommandType(LeaseRevoke, Leases.on_revoke),
    ),
)
