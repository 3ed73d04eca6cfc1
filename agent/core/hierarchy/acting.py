"""A region's leader, acting for its region in the global group: a global core whose disk is the region's log.

`Persist` becomes a command to the region's own group (`Keep`), and `Stored` is said when that command is applied: so the core's promises
rest on what a majority of the region has. An acting leader begins from its state machine (`GlobalPart.recovered`), once it has applied
an entry of its own term, as then it has all that those before it were told is kept; it ends when it no longer leads its region.

The host's duties: `step` with every input in its order; offer `wanted()` to the region's own group, one at a time, never through another
node, and say `refused` where that fails; after the state machine has applied entries, `progress`. A core that was not told of a result
is simply let go with its leader's term.

An older leader that does not know that it is one yet may still talk. It can keep nothing any more, so it says only what follows from what
the region had kept in its time: as if it had said it then and the network had been slow, which Raft stands. Answers to "do you still
follow me?" are the exception: they speak of now. So reads by ReadIndex or lease, which rest on them, are never asked of a global core:
a global read is a command, or is told how stale it may be.
"""

from collections import deque
from math import inf
from typing import Final

from msgspec import Struct

from agent.core.hierarchy.commands import Keep, Piece
from agent.core.hierarchy.part import GlobalPart
from agent.core.machine.envelope import encode_command
from agent.core.machine.outcome import Outcome
from agent.core.replica.io import (
    Applied,
    Changed,
    Chunk,
    Compact,
    Deliver,
    Input,
    Persist,
    Proposed,
    Read,
    ReadChunk,
    Refused,
    Replica,
    Send,
    SnapshotStored,
    SnapshotTaken,
    StoreChunk,
    Stored,
)
from agent.core.replica.log import Entry, HardState, SnapshotMeta

KEEP_BYTES_MAX: Final = 512 << 10
"""Of one command to the region's group, about."""


class ToRegion(Struct, frozen=True):
    """A message for whoever acts for that region."""

    region: int
    message: object


class Answered(Struct, frozen=True):
    """The ticket's command is applied here, at this index of the global log. `outcome` None: what came of it is not known here (another
    took its place, or a snapshot jumped over it); under a session it may be asked again."""

    ticket: int
    index: int
    outcome: Outcome | None


ActingEffect = ToRegion | Answered | Refused | Proposed | Changed


class Acting:
    """`life`: the region's term. `core`: made from `part.recovered()`."""

    def __init__(self, part: GlobalPart, life: int, core: Replica) -> None:
        self.life = life
        self.core = core
        self._part = part
        self._serial = part.serial if part.life == life else 0
        self._batches: deque[Persist] = deque()
        self._pieces: deque[StoreChunk] = deque()
        self._commit = part.applied
        """Up to where the core says it is committed."""
        self._offered: bytes | None = None
        self._offered_commit = part.applied
        self._stored = 0
        self._applied = part.meta.index
        self._image = part.meta.index
        self._places: dict[int, tuple[int, int]] = {}
        """Index in the global log → (term, ticket)."""
        self._out: list[ActingEffect] = []
        self.fresh_since = -inf
        """All that was committed by this time, on the host's clock, is in the region's copy of the global state."""
        self._fresh: list[tuple[int, float]] = []
        part.fresh.clear()
        part.installed = None

    @property
    def leads(self) -> bool:
        """Does this region lead the global group?"""
        return self.core.leader == self._part.me

    # -- the global core

    def step(self, now: float, event: Input) -> tuple[ActingEffect, ...]:
        """An input of the core's own: `Wake`, `Receive` (the sender is a region), `Propose`, `Change`, `Transfer`."""
        assert not isinstance(event, Read), "a global core knows nothing of now"
        self._step(now, event)
        return self._taken()

    def _step(self, now: float, event: Input) -> None:
        inputs: deque[Input] = deque((event,))
        while inputs:
            for effect in self.core.step(now, inputs.popleft()):
                if isinstance(effect, Persist):
                    self._keep(effect, inputs)
                elif isinstance(effect, Send):
                    self._out.append(ToRegion(effect.to, effect.message))
                elif isinstance(effect, Deliver):
                    self._commit = max(self._commit, effect.entries[-1].index)
                elif isinstance(effect, ReadChunk):
                    inputs.append(self._chunk(effect))
                elif isinstance(effect, StoreChunk):
                    self._pieces.append(effect)
                elif isinstance(effect, Proposed):
                    self._on_proposed(effect)
                elif isinstance(effect, Refused | Changed):
                    self._out.append(effect)
                else:
                    # What the log forgets, the state machine forgets by itself.
                    assert isinstance(effect, Compact), effect

    def _keep(self, batch: Persist, inputs: deque[Input]) -> None:
        if batch.sync or batch.entries or self._batches or self._offered is not None:
            self._batches.append(batch)
            return
        # A commit index alone, which `Keep` carries anyway: not worth a command of its own.
        self._stored = batch.number
        inputs.append(Stored(batch.number))

    def _on_proposed(self, effect: Proposed) -> None:
        if effect.index:
            before = self._places.get(effect.index)
            if before is not None:
                self._out.append(Answered(before[1], effect.index, None))
            self._places[effect.index] = (effect.term, effect.ticket)
        self._out.append(effect)

    def _chunk(self, wish: ReadChunk) -> Chunk:
        part = self._part
        there = (part.meta.index, part.meta.term) == (wish.meta.index, wish.meta.term)
        return Chunk(wish.to, wish.meta, wish.offset, part.image[wish.offset : wish.offset + wish.size] if there else None)

    def _taken(self) -> tuple[ActingEffect, ...]:
        out = tuple(self._out)
        self._out.clear()
        return out

    # -- the region's log

    def wanted(self) -> bytes | None:
        """A command for the region's group to decide next; None while there is none, or one is under way."""
        if self._offered is not None:
            return None
        command = self._next()
        if command is None:
            return None
        self._serial += 1
        self._offered = encode_command(command)
        return self._offered

    def refused(self) -> bytes:
        """What was wanted was refused, or is lost, and this leader leads on: the same, to be offered again (later)."""
        assert self._offered is not None
        return self._offered

    def _next(self) -> Keep | Piece | None:
        serial = self._serial + 1
        batches = self._batches
        if not batches and self._pieces:
            # In the order in which the core wanted them: what it keeps after a snapshot comes after it.
            piece = self._pieces.popleft()
            return Piece(self.life, serial, piece.meta, piece.offset, piece.data, piece.last)
        if not batches and self._commit <= self._offered_commit:
            return None
        hard: HardState | None = None
        kept: list[tuple[Entry, ...]] = []
        number = size = 0
        while batches and size < KEEP_BYTES_MAX:
            batch = batches.popleft()
            number = batch.number
            hard = batch.hard or hard
            if batch.entries:
                kept.append(batch.entries)
                size += sum(len(entry.data) for entry in batch.entries)
        self._offered_commit = self._commit
        return Keep(self.life, serial, number, hard, tuple(kept), self._commit)

    def progress(self, now: float) -> tuple[ActingEffect, ...]:
        """The region's state machine has applied more: tell the core what is kept, and the clients what came of their commands."""
        part = self._part
        if part.life == self.life:
            if self._offered is not None and part.serial >= self._serial:
                self._offered = None
            self._answer()
            self._tell_installed(now)
            if part.number > self._stored:
                self._stored = part.number
                self._step(now, Stored(part.number))
        if part.applied > self._applied:
            self._applied = part.applied
            self._see_fresh()
            self._step(now, Applied(part.applied))
        if part.meta.index > self._image:
            self._image = part.meta.index
            self._step(now, SnapshotTaken(part.meta))
        return self._taken()

    def _tell_installed(self, now: float) -> None:
        part = self._part
        if part.installed is not None:
            meta, ok = part.installed
            part.installed = None
            if ok:
                self._image = max(self._image, meta.index)
                self._applied = max(self._applied, meta.index)
                self._forget(meta)
            self._step(now, SnapshotStored(meta, ok))

    def _forget(self, meta: SnapshotMeta) -> None:
        """What a snapshot jumped over: what came of those commands is not known here."""
        for index in [index for index in self._places if index <= meta.index]:
            self._out.append(Answered(self._places.pop(index)[1], index, None))

    def _answer(self) -> None:
        fresh = self._part.fresh
        while fresh:
            entry, outcome = fresh.popleft()
            place = self._places.pop(entry.index, None)
            if place is not None:
                term, ticket = place
                self._out.append(Answered(ticket, entry.index, outcome if term == entry.term else None))

    # -- how stale the region's copy may be

    def note_fresh(self, asked: float, index: int) -> None:
        """A global command that was asked at this time stands at this index of the global log: once that is applied here, so is all that
        was committed before it was asked."""
        self._fresh.append((index, asked))
        self._see_fresh()

    def _see_fresh(self) -> None:
        applied = self._part.applied
        for index, asked in self._fresh:
            if index <= applied:
                self.fresh_since = max(self.fresh_since, asked)
        self._fresh = [one for one in self._fresh if one[0] > applied]

    def staleness(self, now: float) -> float:
        """In seconds, at most; infinity: nobody knows."""
        return now - self.fresh_since
