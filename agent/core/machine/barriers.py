"""Double barriers: so many begin together, and all of them end together (Hunt et al., ZooKeeper, 2010; Curator's recipe)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine.commands import BarrierEnter, BarrierLeave
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType
from agent.core.machine.seats import Owner, complaint_of
from agent.core.machine.shared import Shared

VERSION: Final = 1
BARRIERS: Final = "barriers"


class Barrier:
    """Fills until `parties` are inside, then it is open (generation: a token); it is gone when the last of them has left. `left`: some
    have."""

    __slots__ = ("generation", "inside", "left", "parties")

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.inside: dict[Owner, None] = {}
        self.generation = 0
        self.left = False

    @property
    def state(self) -> str:
        if not self.generation:
            return "filling"
        return "draining" if self.left else "open"


class Barriers(Part):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.table: dict[bytes, Barrier] = {}
        self.by_lease: dict[int, set[bytes]] = {}

    def on_enter(self, command: BarrierEnter) -> Outcome:
        shared = self.shared
        name = command.name
        lease = command.lease
        barrier = self.table.get(name)
        if barrier is not None:
            if barrier.parties != command.parties:
                return Outcome("conflict", shared.revision, (barrier.parties, len(barrier.inside)))
            if (lease, command.owner) in barrier.inside:
                return Outcome("", shared.revision, (lease, barrier.generation))
            if barrier.generation:
                return Outcome("conflict", shared.revision, (barrier.parties, len(barrier.inside)))
        wrong = self._complaint(command, barrier)
        if wrong is not None:
            return wrong
        if command.ttl_ms:
            lease = shared.leases.grant(command.ttl_ms)
        if barrier is None:
            self.table[name] = barrier = Barrier(command.parties)
        barrier.inside[(lease, command.owner)] = None
        self.by_lease.setdefault(lease, set()).add(name)
        if len(barrier.inside) == barrier.parties:
            barrier.generation = shared.next_token()
        shared.touch(BARRIERS, name)
        return Outcome("", shared.revision, (lease, barrier.generation))

    def _complaint(self, command: BarrierEnter, barrier: Barrier | None) -> Outcome | None:
        shared = self.shared
        limits = shared.limits
        wrong = complaint_of(shared, command.name, command.owner)
        if wrong is not None:
            return wrong
        if not 1 <= command.parties <= limits.parties:
            return Outcome("invalid", shared.revision, f"parties {command.parties}: expected 1 to {limits.parties}")
        if command.lease and command.ttl_ms:
            return Outcome("invalid", shared.revision, "both lease and ttl")
        if not command.ttl_ms and not shared.leases.alive(command.lease):
            return Outcome("lease_not_found", shared.revision)
        if barrier is None and len(self.table) >= limits.barriers:
            return Outcome("full", shared.revision, f"barriers: at most {limits.barriers}")
        if command.ttl_ms:
            error, why = shared.leases.complaint(command.ttl_ms)
            if error:
                return Outcome(error, shared.revision, why)
        return None

    def on_leave(self, command: BarrierLeave) -> Outcome:
        barrier = self.table.get(command.name)
        if barrier is None:
            return Outcome("not_found", self.shared.revision)
        who = (command.lease, command.owner)
        if who not in barrier.inside:
            return Outcome("not_owner", self.shared.revision)
        generation = barrier.generation
        self._out(command.name, barrier, who)
        if not any(lease == command.lease for lease, _ in barrier.inside):
            names = self.by_lease[command.lease]
            names.discard(command.name)
            if not names:
                del self.by_lease[command.lease]
        return Outcome("", self.shared.revision, (generation, len(barrier.inside)))

    def _out(self, name: bytes, barrier: Barrier, who: Owner) -> None:
        del barrier.inside[who]
        barrier.left = barrier.generation > 0
        if not barrier.inside:
            del self.table[name]
        self.shared.touch(BARRIERS, name)

    # -- Part

    def lease_ended(self, lease: int, expired: bool) -> None:
        for name in sorted(self.by_lease.pop(lease, ())):
            barrier = self.table[name]
            for who in [who for who in barrier.inside if who[0] == lease]:
                self._out(name, barrier, who)

    def freeze(self) -> Iterator[Any]:
        rows = [(name, one.parties, list(one.inside), one.generation, one.left) for name, one in self.table.items()]
        rows.sort()
        return iter(rows)

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            name, parties, inside, generation, left = msgspec.convert(row, tuple[bytes, int, list[Owner], int, bool])
            barrier = Barrier(parties)
            barrier.inside = dict.fromkeys(inside)
            barrier.generation = generation
            barrier.left = left
            self.table[name] = barrier
            for lease, _ in inside:
                self.by_lease.setdefault(lease, set()).add(name)


BARRIERS_PART: Final = PartType(
    BARRIERS, VERSION, Barriers, (CommandType(BarrierEnter, Barriers.on_enter), CommandType(BarrierLeave, Barriers.on_leave))
)
