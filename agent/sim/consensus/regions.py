"""Regions, each a group whose state machine has a part of the global group (`core/hierarchy`); and the promises of the global log."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Protocol
from zlib import crc32

from agent.core.hierarchy.acting import Acting
from agent.core.hierarchy.commands import Piece
from agent.core.hierarchy.part import GlobalPart, global_part
from agent.core.machine.machine import BUILT_IN, Machine
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import Registry
from agent.core.machine.shared import Shared
from agent.core.replica.log import Entry
from agent.sim.consensus.host import Answer, Host
from agent.sim.consensus.oracle import Violation
from agent.sim.consensus.swarm import ConsensusSwarm
from agent.sim.engine import Engine


class Seat:
    """What a host holds while it leads its region. `life`: of the host's process; `term`: of its region."""

    def __init__(self, acting: Acting, life: int, term: int) -> None:
        self.acting = acting
        self.life = life
        self.term = term
        self.ticket = 0
        self.tickets: dict[int, Callable[[Answer], None]] = {}
        self.offering = False
        self.wake_at = inf
        self.lead_since = 0.0
        self.lead_time_ms = 0


class Ears(Protocol):
    """Who hears what the replicas make of the global group's commands."""

    def kept(self, part: GlobalPart) -> None: ...

    def hear(self, part: GlobalPart, entry: Entry) -> None: ...


class Region(ConsensusSwarm):
    """One region's group."""

    def __init__(self, number: int, ears: Ears, *args: Any, **options: Any) -> None:
        self.number = number
        self.registry = Registry((*BUILT_IN, global_part(partial(Heard, ears=ears))))
        super().__init__(*args, **options)

    def new_machine(self) -> Machine:
        return Machine(self.registry)


class Heard(GlobalPart):
    """Images are taken often."""

    snapshot_every = 12

    def __init__(self, shared: Shared, ears: Ears) -> None:
        super().__init__(shared)
        self._ears = ears

    def _apply(self, commit: int) -> None:
        self._ears.kept(self)
        before = self.applied
        entries = self.entries[max(0, before - self.meta.index) : max(0, commit - self.meta.index)]
        super()._apply(commit)
        for entry in entries:
            self._ears.hear(self, entry)

    def on_piece(self, command: Piece) -> Outcome:
        outcome = super().on_piece(command)
        self._ears.kept(self)
        return outcome


def part_of(host: Host) -> GlobalPart:
    assert host.machine is not None
    part = host.machine.parts["global"]
    assert isinstance(part, GlobalPart)
    return part


class Kept:
    """What a region has of the global log, by its first replica to know. `place`: (life, serial) of the last command."""

    def __init__(self) -> None:
        self.place = (0, 0)
        self.term = 0
        self.vote = 0
        self.base = 0
        self.terms: list[int] = []

    def has(self, index: int, term: int) -> bool:
        place = index - self.base - 1
        return place < 0 or (place < len(self.terms) and self.terms[place] == term)


class GlobalOracle:
    """The promises of the global log, over all replicas of all regions."""

    def __init__(self, engine: Engine, regions: int) -> None:
        self.engine = engine
        self.committed: dict[int, tuple[int, int]] = {}
        self.last_committed = 1
        self.leaders: dict[int, int] = {}
        self.regions = {number + 1: Kept() for number in range(regions)}
        self.digests: dict[int, bytes] = {}
        self._acked: list[tuple[float, int]] = [(0.0, 0)]

    def kept(self, part: GlobalPart) -> None:
        """A command of the acting leader's changed what the region has."""
        known = self.regions[part.me]
        if (part.life, part.serial) <= known.place:
            return
        known.place = (part.life, part.serial)
        hard = part.hard
        if hard.term < known.term or (hard.term == known.term and known.vote not in (0, hard.vote)):
            raise Violation(f"one vote a term, for good: region {part.me}: found {hard}, had term {known.term}, vote {known.vote}")
        known.term, known.vote = hard.term, hard.vote
        known.base, known.terms = part.meta.index, [entry.term for entry in part.entries]

    def hear(self, part: GlobalPart, entry: Entry) -> None:
        """A replica applies it."""
        found = (entry.term, crc32(entry.data, entry.kind))
        known = self.committed.get(entry.index)
        if known is None:
            self.committed[entry.index] = found
            self.last_committed = max(self.last_committed, entry.index)
            have = sum(region.has(entry.index, entry.term) for region in self.regions.values())
            if have <= len(self.regions) // 2:
                raise Violation(f"kept before committed: region {part.me} applies {entry.index}, and {have} regions have it")
        elif known != found:
            raise Violation(f"global state-machine safety: region {part.me}, index {entry.index}: found {found}, first {known}")

    def same_state(self, part: GlobalPart) -> None:
        digest = part.machine.digest()
        if self.digests.setdefault(part.applied, digest) != digest:
            raise Violation(f"global states differ: region {part.me}, index {part.applied}")

    def leads(self, region: int, term: int) -> None:
        if self.leaders.setdefault(term, region) != region:
            raise Violation(f"global election safety: term {term}: regions {self.leaders[term]} and {region}")

    def acked(self, index: int) -> None:
        if index > self._acked[-1][1]:
            self._acked.append((self.engine.now, index))

    def floor(self, when: float) -> int:
        return max((index for at, index in self._acked if at < when), default=0)

    def read_at(self, host: Host, index: int, since: float) -> None:
        if index < self.floor(since):
            raise Violation(f"no global read staler than promised: {host.name}: index {index}, acknowledged {self.floor(since)}")
