"""A simulated member of a Byzantine group: its core, its disk, and a state machine that is a hash over what it applied."""

from collections.abc import Callable
from hashlib import sha256
from math import inf
from typing import Any

import msgspec

from agent.core.replica import io
from agent.core.replica.log import Entry, HardState, Recovered, SnapshotMeta
from agent.sim.engine import Engine

FSYNC_S = 0.001
Make = Callable[[int, Recovered], Any]
SendTo = Callable[[int, int, object], None]


class Disk:
    """What survives a crash: batches that were written and synchronised, in order."""

    def __init__(self, snapshot: SnapshotMeta, octets: bytes) -> None:
        self.hard = HardState()
        self.entries: list[Entry] = []
        self.snapshots: dict[int, tuple[SnapshotMeta, bytes]] = {snapshot.index: (snapshot, octets)}

    def write(self, persist: io.Persist) -> None:
        if persist.hard is not None:
            self.hard = persist.hard
        if persist.entries:
            first = persist.entries[0].index
            self.entries = [entry for entry in self.entries if entry.index < first]
            self.entries.extend(persist.entries)

    def recovered(self) -> tuple[Recovered, bytes]:
        meta, octets = self.snapshots[max(self.snapshots)]
        entries: list[Entry] = []
        for entry in self.entries:
            if entry.index == meta.index + 1 + len(entries):
                entries.append(entry)
        return Recovered(self.hard, meta, tuple(entries)), octets


class Machine:
    """`digest` depends on everything that was applied, in order."""

    def __init__(self, octets: bytes, term: int = 0) -> None:
        self.index, self.digest = msgspec.msgpack.decode(octets, type=tuple[int, bytes])
        self.term = term

    def apply(self, entry: Entry) -> None:
        assert entry.index == self.index + 1, f"index {entry.index} after {self.index}"
        self.index, self.term = entry.index, entry.term
        self.digest = sha256(self.digest + msgspec.msgpack.encode(entry)).digest()

    def octets(self) -> bytes:
        return msgspec.msgpack.encode((self.index, self.digest))


BEGINNING = Machine(msgspec.msgpack.encode((0, b""))).octets()


class Node:
    """`on_entry(node, entry)`, `on_answer(node, effect)`: what the oracle hears."""

    def __init__(self, engine: Engine, me: int, make: Make, send: SendTo, snapshot: SnapshotMeta, octets: bytes = BEGINNING) -> None:
        self.engine = engine
        self.me = me
        self.up = True
        self.make = make
        self.send_to = send
        self.disk = Disk(snapshot, octets)
        self.machine = Machine(octets, snapshot.term)
        self.on_entry: Callable[[Node, Entry], None] = lambda node, entry: None
        self.on_answer: Callable[[Node, io.Effect], None] = lambda node, effect: None
        self.life = 0
        self.fsync_s = FSYNC_S
        self.disk_busy_until = 0.0
        self.wake_at = inf
        self.incoming = b""
        self.snapshot_every = 0
        """After so many entries the host takes a snapshot by itself; 0: when it is asked to."""
        self.last_snapshot = 0
        self.core: Any = make(me, self.disk.recovered()[0])
        self.schedule()

    # -- driving

    def feed(self, event: io.Input) -> None:
        if not self.up:
            return
        effects = self.core.step(self.engine.now, event)
        for effect in effects:
            self.carry_out(effect)
        self.schedule()

    def schedule(self) -> None:
        due = max(self.core.next_wake(), self.engine.now)
        if due < self.wake_at:
            self.wake_at = due
            self.engine.at(due, self._wake, self.life, due)

    def _wake(self, life: int, due: float) -> None:
        if life == self.life and due == self.wake_at and self.up:
            self.wake_at = inf
            self.feed(io.Wake())

    def carry_out(self, effect: io.Effect) -> None:
        if isinstance(effect, io.Persist):
            self.disk_busy_until = max(self.disk_busy_until, self.engine.now) + self.fsync_s
            self.engine.at(self.disk_busy_until, self._stored, self.life, effect)
        elif isinstance(effect, io.Send):
            self.send_to(self.me, effect.to, effect.message)
        elif isinstance(effect, io.Deliver):
            for entry in effect.entries:
                self.machine.apply(entry)
                self.on_entry(self, entry)
            if self.snapshot_every and self.machine.index - self.last_snapshot >= self.snapshot_every:
                self._take_snapshot()
        elif isinstance(effect, io.TakeSnapshot):
            assert effect.index == self.machine.index
            self._take_snapshot()
        elif isinstance(effect, io.ReadChunk):
            self._read_chunk(effect)
        elif isinstance(effect, io.StoreChunk):
            self._store_chunk(effect)
        elif isinstance(effect, io.Compact):
            self.disk.entries = [entry for entry in self.disk.entries if entry.index > effect.index]
        else:
            self.on_answer(self, effect)

    def _take_snapshot(self) -> None:
        machine = self.machine
        octets = machine.octets()
        self.last_snapshot = machine.index
        meta = SnapshotMeta(machine.index, machine.term, self.core.members, 0, len(octets), sha256(octets).digest())
        self.engine.after(0.01, self._snapshot_taken, self.life, meta, octets)

    def _stored(self, life: int, persist: io.Persist) -> None:
        if life == self.life and self.up:
            self.disk.write(persist)
            self.feed(io.Stored(persist.number))

    def _snapshot_taken(self, life: int, meta: SnapshotMeta, octets: bytes) -> None:
        if life == self.life and self.up:
            self.disk.snapshots = {**self.disk.snapshots, meta.index: (meta, octets)}
            for index in sorted(self.disk.snapshots)[:-2]:
                del self.disk.snapshots[index]
            self.feed(io.SnapshotTaken(meta))

    def _read_chunk(self, effect: io.ReadChunk) -> None:
        found = self.disk.snapshots.get(effect.meta.index)
        data = None if found is None or found[0] != effect.meta else found[1][effect.offset : effect.offset + effect.size]
        self.engine.after(0.0005, self.feed, io.Chunk(effect.to, effect.meta, effect.offset, data))

    def _store_chunk(self, effect: io.StoreChunk) -> None:
        self.incoming = (b"" if not effect.offset else self.incoming) + effect.data
        if effect.last:
            octets, meta = self.incoming, effect.meta
            right = sha256(octets).digest() == meta.digest
            if right:
                self.disk.snapshots[meta.index] = (meta, octets)
                self.disk.entries = [entry for entry in self.disk.entries if entry.index > meta.index]
                self.machine = Machine(octets, meta.term)
            self.engine.after(FSYNC_S, self._snapshot_stored, self.life, meta, right)

    def _snapshot_stored(self, life: int, meta: SnapshotMeta, ok: bool) -> None:
        if life == self.life:
            self.feed(io.SnapshotStored(meta, ok))

    # -- faults

    def crash(self) -> None:
        """Kill -9 and power: what was not synchronised is gone."""
        self.up = False
        self.life += 1
        self.wake_at = inf

    def restart(self) -> None:
        if self.up:
            return
        recovered, octets = self.disk.recovered()
        self.machine = Machine(octets, recovered.snapshot.term)
        self.last_snapshot = recovered.snapshot.index
        self.core = self.make(self.me, recovered)
        self.up = True
        self.disk_busy_until = 0.0
        self.schedule()
