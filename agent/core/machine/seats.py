"""Locks and elections: one seat, one holder, the others wait in the order in which they came.

Each holder gets a token, greater than every token before it: whoever guards a resource refuses what comes with a lesser token than it
has seen, so that a holder who only believes that it still holds does no harm (fencing: Kleppmann 2016; Chubby's sequencers, Burrows 2006).
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType
from agent.core.machine.shared import Shared

VERSION: Final = 1
LOCKS: Final = "locks"
ELECTIONS: Final = "elections"

Owner = tuple[int, str]
"""A lease, and a word by which several owners under one lease differ."""


class Seat:
    """token 0: nobody holds it (and then nobody waits, and it does not stay in the table)."""

    __slots__ = ("holder", "token", "value", "waiting")

    def __init__(self) -> None:
        self.holder: Owner = (0, "")
        self.token = 0
        self.value = b""
        self.waiting: dict[Owner, bytes] = {}
        """Owners and their values, in the order in which they came."""


class Seats(Part):
    """What locks and elections share. kind: how they are called in `touched`."""

    def __init__(self, shared: Shared, kind: str) -> None:
        super().__init__(shared)
        self.kind = kind
        self.table: dict[bytes, Seat] = {}
        self.by_lease: dict[int, set[bytes]] = {}
        """Seats that owners under this lease hold or wait for."""

    def take(self, name: bytes, lease: int, owner: str, value: bytes, ttl_ms: int, wait: bool) -> Outcome:
        """Hold the seat or wait for it. Asking again changes nothing but the value."""
        shared = self.shared
        seat = self.table.get(name)
        who = (lease, owner)
        if seat is not None:
            if seat.holder == who:
                return Outcome("", shared.revision, (lease, seat.token, 0))
            if who in seat.waiting:
                seat.waiting[who] = value
                return Outcome("", shared.revision, (lease, 0, list(seat.waiting).index(who) + 1))
            if not wait:
                return Outcome("locked", shared.revision, (*seat.holder, seat.token, seat.value))
        wrong = self._complaint(name, lease, owner, value, ttl_ms, seat)
        if wrong is not None:
            return wrong
        if ttl_ms:
            lease = shared.leases.grant(ttl_ms)
            who = (lease, owner)
        self.by_lease.setdefault(lease, set()).add(name)
        shared.touch(self.kind, name)
        if seat is None:
            self.table[name] = seat = Seat()
            self._seat(seat, who, value)
            return Outcome("", shared.revision, (lease, seat.token, 0))
        seat.waiting[who] = value
        return Outcome("", shared.revision, (lease, 0, len(seat.waiting)))

    def leave(self, name: bytes, lease: int, owner: str, token: int) -> Outcome:
        """Give the seat up, or the wait for it. token: who holds it with this one, whatever its name."""
        seat = self.table.get(name)
        if seat is None:
            return Outcome("not_found", self.shared.revision)
        if not lease and token and seat.token == token:
            lease, owner = seat.holder
        who = (lease, owner)
        if who == seat.holder and token in (0, seat.token):
            self._pass_on(name, seat)
            self._forget(lease, name)
            return Outcome("", self.shared.revision, True)
        if who in seat.waiting:
            del seat.waiting[who]
            self._forget(lease, name)
            self.shared.touch(self.kind, name)
            return Outcome("", self.shared.revision, False)
        return Outcome("not_owner", self.shared.revision, (*seat.holder, seat.token, seat.value))

    def _complaint(self, name: bytes, lease: int, owner: str, value: bytes, ttl_ms: int, seat: Seat | None) -> Outcome | None:
        shared = self.shared
        limits = shared.limits
        wrong = complaint_of(shared, name, owner)
        if wrong is not None:
            return wrong
        if len(value) > limits.value_bytes:
            return Outcome("too_large", shared.revision, f"value of {len(value)} octets; at most {limits.value_bytes}")
        if lease and ttl_ms:
            return Outcome("invalid", shared.revision, "both lease and ttl")
        if not ttl_ms and not shared.leases.alive(lease):
            return Outcome("lease_not_found", shared.revision)
        if seat is None and len(self.table) >= limits.seats:
            return Outcome("full", shared.revision, f"{self.kind}: at most {limits.seats}")
        if seat is not None and len(seat.waiting) >= limits.waiters:
            return Outcome("full", shared.revision, f"waiters: at most {limits.waiters} for one")
        if lease and len(self.by_lease.get(lease, ())) >= limits.lease_seats:
            return Outcome("full", shared.revision, f"lease_seats: at most {limits.lease_seats} {self.kind} of one lease")
        if ttl_ms:
            error, why = shared.leases.complaint(ttl_ms)
            if error:
                return Outcome(error, shared.revision, why)
        return None

    def _seat(self, seat: Seat, who: Owner, value: bytes) -> None:
        seat.holder = who
        seat.value = value
        seat.token = self.shared.next_token()

    def _pass_on(self, name: bytes, seat: Seat) -> None:
        self.shared.touch(self.kind, name)
        for who, value in seat.waiting.items():
            del seat.waiting[who]
            self._seat(seat, who, value)
            return
        del self.table[name]

    def _forget(self, lease: int, name: bytes) -> None:
        """Take the name from the lease's, unless another owner under the lease is still there."""
        seat = self.table.get(name)
        if seat is not None and (seat.holder[0] == lease or any(who[0] == lease for who in seat.waiting)):
            return
        names = self.by_lease.get(lease)
        if names is not None:
            names.discard(name)
            if not names:
                del self.by_lease[lease]

    # -- Part

    def lease_ended(self, lease: int, expired: bool) -> None:
        for name in sorted(self.by_lease.pop(lease, ())):
            seat = self.table[name]
            for who in [who for who in seat.waiting if who[0] == lease]:
                del seat.waiting[who]
            if seat.holder[0] == lease:
                self._pass_on(name, seat)
            else:
                self.shared.touch(self.kind, name)

    def freeze(self) -> Iterator[Any]:
        rows = [
            (name, seat.holder, seat.token, seat.value, [(*who, value) for who, value in seat.waiting.items()])
            for name, seat in self.table.items()
        ]
        rows.sort()
        return iter(rows)

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            name, holder, token, value, waiting = msgspec.convert(row, tuple[bytes, Owner, int, bytes, list[tuple[int, str, bytes]]])
            seat = Seat()
            seat.holder, seat.token, seat.value = holder, token, value
            seat.waiting = {(lease, owner): offered for lease, owner, offered in waiting}
            self.table[name] = seat
            for lease, _ in (holder, *seat.waiting):
                self.by_lease.setdefault(lease, set()).add(name)


class Locks(Seats):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, LOCKS)

    def on_acquire(self, command: c.LockAcquire) -> Outcome:
        return self.take(command.name, command.lease, command.owner, command.value, command.ttl_ms, command.wait)

    def on_release(self, command: c.LockRelease) -> Outcome:
        return self.leave(command.name, command.lease, command.owner, command.token)


class Elections(Seats):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, ELECTIONS)

    def on_campaign(self, command: c.Campaign) -> Outcome:
        return self.take(command.name, command.lease, command.owner, command.value, command.ttl_ms, True)

    def on_proclaim(self, command: c.Proclaim) -> Outcome:
        seat = self.table.get(command.name)
        shared = self.shared
        if seat is None:
            return Outcome("not_found", shared.revision)
        if seat.holder != (command.lease, command.owner):
            return Outcome("not_owner", shared.revision, (*seat.holder, seat.token, seat.value))
        if len(command.value) > shared.limits.value_bytes:
            return Outcome("too_large", shared.revision, f"value of {len(command.value)} octets; at most {shared.limits.value_bytes}")
        seat.value = command.value
        shared.touch(self.kind, command.name)
        return Outcome("", shared.revision, seat.token)

    def on_resign(self, command: c.Resign) -> Outcome:
        return self.leave(command.name, command.lease, command.owner, 0)


def complaint_of(shared: Shared, name: bytes, owner: str = "") -> Outcome | None:
    """What is wrong with a name or an owner."""
    limits = shared.limits
    if not name:
        return Outcome("invalid", shared.revision, "an empty name")
    if len(name) > limits.key_bytes:
        return Outcome("too_large", shared.revision, f"name of {len(name)} octets; at most {limits.key_bytes}")
    if len(owner) > limits.owner_bytes:
        return Outcome("too_large", shared.revision, f"owner of {len(owner)} characters; at most {limits.owner_bytes}")
    return None


LOCKS_PART: Final = PartType(
    LOCKS, VERSION, Locks, (CommandType(c.LockAcquire, Locks.on_acquire), CommandType(c.LockRelease, Locks.on_release))
)
ELECTIONS_PART: Final = PartType(
    ELECTIONS,
    VERSION,
    Elections,
    (
        CommandType(c.Campaign, Elections.on_campaign),
        CommandType(c.Proclaim, Elections.on_proclaim),
        CommandType(c.Resign, Elections.on_resign),
    ),
)
