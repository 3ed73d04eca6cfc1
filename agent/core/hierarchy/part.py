"""What each replica of a region keeps of the global group: the member's log, and the state that the global commands make.

Global commands are applied where the region's log says how far they are committed: on all replicas of the region between the same two
local commands, and in all regions in the global order.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from agent.core.hierarchy.commands import Found, Keep, Piece
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType, Registry, SnapshotError
from agent.core.machine.shared import Shared
from agent.core.replica.log import MEMBERS, Entry, HardState, Members, Recovered, SnapshotMeta

VERSION: Final = 1
SNAPSHOT_EVERY: Final = 4096
"""Entries between two images of the global state, which other regions are given when they are too far behind. Taken by all replicas at
the same indices, within the command that reaches them, so the global state is meant to be small: configuration, shard maps, leases."""
SNAPSHOT_BYTES_MAX: Final = 64 << 20
FRESH_MAX: Final = 65536
"""Outcomes that are kept for the acting leader to fetch; where nobody acts they are let go."""
HEAD: Final = 0
ENTRY: Final = 1
IMAGE: Final = 2
STATE: Final = 3

REGISTRY: Final = built_in()

_members: Final = msgspec.msgpack.Decoder(Members)


class GlobalPart(Part):
    """`applied`: up to which index the global log is applied in `machine`. `life`, `serial`, `number`: of the last command from the
    acting leader. To be changed by commands alone."""

    snapshot_every = SNAPSHOT_EVERY

    def __init__(self, shared: Shared, registry: Registry = REGISTRY) -> None:
        super().__init__(shared)
        self.machine = Machine(registry)
        self.me = 0
        self.hard = HardState()
        self.meta = SnapshotMeta()
        self.image = b""
        """The global state at `meta`."""
        self.entries: list[Entry] = []
        """Those after `meta`."""
        self.applied = 0
        self.members = Members()
        """At `applied`."""
        self.life = 0
        self.serial = 0
        self.number = 0
        self.incoming = bytearray()
        self.installed: tuple[SnapshotMeta, bool] | None = None
        """The last snapshot from another region: which, and whether it was right."""
        self.fresh: deque[tuple[Entry, Outcome | None]] = deque(maxlen=FRESH_MAX)
        """Applied since the acting leader looked last. Not of the state."""

    @property
    def last(self) -> int:
        return self.meta.index + len(self.entries)

    def recovered(self) -> Recovered:
        """What a global core begins from here: as from a disk."""
        commit = max(min(self.hard.commit, self.last), self.applied)
        hard = HardState(self.hard.term, self.hard.vote, commit, self.hard.extra)
        return Recovered(hard, self.meta, tuple(self.entries))

    # -- commands

    def on_found(self, command: Found) -> Outcome:
        if self.me:
            return Outcome("conflict", self.shared.revision, self.me)
        self.me = command.me
        if command.members.voters:
            self.applied, self.members = 1, command.members
            self._take_image(1)
        return Outcome("", self.shared.revision)

    def _begins(self, life: int, serial: int) -> bool:
        """Is it the next of its life? Others' lives are over: their commands cannot come after this one's."""
        if life < self.life or (life == self.life and serial <= self.serial):
            return False
        if life > self.life:
            self.number = 0
            self.incoming.clear()
            self.installed = None
        self.life, self.serial = life, serial
        return True

    def on_keep(self, command: Keep) -> Outcome:
        if not self._begins(command.life, command.serial):
            return Outcome("conflict", self.shared.revision)
        for batch in command.batches:
            self._put(batch)
        if command.hard is not None:
            self.hard = command.hard
        self.number = max(self.number, command.number)
        self._apply(min(command.commit, self.last))
        return Outcome("", self.shared.revision)

    def _put(self, batch: tuple[Entry, ...]) -> None:
        first = batch[0].index
        if first <= self.meta.index or first > self.last + 1:
            # The core never asks for it; state that is not understood is not gone on from.
            raise ValueError(f"global entry {first} in a log of {self.meta.index + 1} to {self.last}")
        del self.entries[first - self.meta.index - 1 :]
        self.entries.extend(batch)

    def _apply(self, commit: int) -> None:
        machine, base = self.machine, self.meta.index
        for entry in self.entries[self.applied - base : max(0, commit - base)]:
            self.fresh.append((entry, machine.apply(entry)))
            if entry.kind == MEMBERS:
                self.members = _members.decode(entry.data)
        self.applied = max(self.applied, commit)
        if self.applied - self.meta.index >= self.snapshot_every:
            self._take_image(self.entries[self.applied - self.meta.index - 1].term)

    def _take_image(self, term: int) -> None:
        image = b"".join(self.machine.snapshot())
        if len(image) > SNAPSHOT_BYTES_MAX and self.meta.index:
            return
        del self.entries[: self.applied - self.meta.index]
        self._keep_image(SnapshotMeta(self.applied, term, self.members, 0, len(image), hashlib.sha256(image).digest()), image)

    def _keep_image(self, meta: SnapshotMeta, image: bytes) -> None:
        self.meta, self.image = meta, image

    def on_piece(self, command: Piece) -> Outcome:
        if not self._begins(command.life, command.serial):
            return Outcome("conflict", self.shared.revision)
        if command.offset == 0:
            self.incoming.clear()
        self.incoming[command.offset :] = command.data
        if command.last:
            data = bytes(self.incoming)
            self.incoming.clear()
            self.installed = (command.meta, self._install(command.meta, data))
        return Outcome("", self.shared.revision)

    def _install(self, meta: SnapshotMeta, data: bytes) -> bool:
        if hashlib.sha256(data).digest() != meta.digest or len(data) != meta.size:
            return False
        if meta.index <= self.applied:
            return True
        try:
            self.machine.restore([data])
        except SnapshotError:
            return False
        place = meta.index - self.meta.index - 1
        same = 0 <= place < len(self.entries) and self.entries[place].term == meta.term
        self.entries = self.entries[place + 1 :] if same else []
        self._keep_image(meta, data)
        self.applied, self.members = meta.index, meta.members
        return True

    # -- Part

    def roomy(self) -> bool:
        return True

    def freeze(self) -> Iterator[Any]:
        head = (self.me, self.hard, self.meta, self.applied, self.members, self.life, self.serial, self.number, bytes(self.incoming))
        return _rows(msgspec.msgpack.encode(head), list(self.entries), self.image, self.machine.snapshot())

    def load(self, version: int, rows: Iterator[Any]) -> None:
        image, state = [], []
        for row in rows:
            kind, data = msgspec.convert(row, tuple[int, bytes])
            if kind == HEAD:
                self._load_head(data)
            elif kind == ENTRY:
                self.entries.append(msgspec.msgpack.decode(data, type=Entry))
            elif kind == IMAGE:
                image.append(data)
            else:
                state.append(data)
        self.image = b"".join(image)
        self.machine.restore(state)

    def _load_head(self, data: bytes) -> None:
        kinds = tuple[int, HardState, SnapshotMeta, int, Members, int, int, int, bytes]
        self.me, self.hard, self.meta, self.applied, self.members, self.life, self.serial, self.number, incoming = msgspec.msgpack.decode(
            data, type=kinds
        )
        self.incoming = bytearray(incoming)


def _rows(head: bytes, entries: list[Entry], image: bytes, state: Iterator[bytes]) -> Iterator[Any]:
    yield HEAD, head
    for entry in entries:
        yield ENTRY, msgspec.msgpack.encode(entry)
    if image:
        yield IMAGE, image
    for chunk in state:
        yield STATE, chunk


def global_part(kind: Callable[[Shared], GlobalPart] = GlobalPart) -> PartType:
    """For the registry of a region's state machine."""
    commands = (
        CommandType(Found, GlobalPart.on_found),
        CommandType(Keep, GlobalPart.on_keep),
        CommandType(Piece, GlobalPart.on_piece),
    )
    return PartType("global", VERSION, kind, commands)
