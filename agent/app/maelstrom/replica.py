"""A replica's host whose log is in memory, for nodes that Maelstrom starts once and never again.

A process that ends takes its log along, and its id must not be used again: under a nemesis that restarts processes this host's
promises end (Maelstrom's own nemeses cut the network only).
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any, Final

from agent.core.machine.envelope import seal
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.wire import WireError, decode, encode
from agent.core.replica.io import (
    Applied,
    Changed,
    Chunk,
    Compact,
    Deliver,
    Input,
    Persist,
    Propose,
    Proposed,
    Read,
    ReadChunk,
    ReadReady,
    Receive,
    Refused,
    Send,
    SnapshotStored,
    SnapshotTaken,
    StoreChunk,
    Stored,
    Wake,
)
from agent.core.replica.log import HardState, Members, Peer, Recovered, SnapshotMeta

SNAPSHOT_ENTRIES: Final = 10_000

Answer = Callable[[Outcome | None, str], None]
"""The outcome, or None and a reason of `core/replica/io.py`'s `REFUSALS`: the command was not and will not be executed."""


class MemoryReplica:
    """`names`: all nodes, alike on all of them. `send(name, octets)`: to another node. `now`: seconds of a clock that never goes back."""

    def __init__(
        self, name: str, names: list[str], machine: Machine, send: Callable[[str, bytes], object], now: Callable[[], float], random: Random
    ) -> None:
        self.machine = machine
        self.names = names
        self._send = send
        self._now = now
        self._ids = {other: number for number, other in enumerate(names, 1)}
        peers = tuple(Peer(number, other) for other, number in self._ids.items())
        self._members = Members(voters=tuple(sorted(self._ids.values())), peers=peers)
        beginning = SnapshotMeta(1, 1, self._members)
        self._core = Raft(self._ids[name], RaftConfig(), random, Recovered(HardState(term=1, commit=1), beginning), now())
        self._me = self._ids[name]
        self._snapshot = beginning
        self._octets = b""
        self._incoming = bytearray()
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._ticket = 0
        self._commands: dict[int, Answer] = {}
        self._places: dict[int, tuple[int, Answer]] = {}
        self._reads: dict[int, Callable[[bool], None]] = {}
        self._unapplied: list[tuple[int, Callable[[bool], None]]] = []
        self._led_since = 0.0
        self._led_time_ms = 0
        self._carry: dict[type, Callable[[Any], object]] = {
            Persist: self._persist,
            Send: lambda effect: self._send(self.names[effect.to - 1], encode(effect.message)),
            Deliver: self._deliver,
            Proposed: self._proposed,
            Refused: self._refused,
            ReadReady: self._read_ready,
            ReadChunk: self._read_chunk,
            StoreChunk: self._store_chunk,
            Compact: lambda effect: None,
            Changed: self._changed,
        }

    @property
    def leader(self) -> str:
        """Its name; empty where nobody is known to lead."""
        leader = self._core.leader
        return self.names[leader - 1] if leader else ""

    @property
    def leads(self) -> bool:
        return self._core.leader == self._me

    def next_wake(self) -> float:
        return self._core.next_wake()

    def wake(self) -> None:
        self._feed(Wake())

    def receive(self, sender: str, data: bytes) -> None:
        """Raises WireError for what is no message, and KeyError for who is no node."""
        self._feed(Receive(self._ids[sender], decode(data)))

    def propose(self, command: bytes, answer: Answer) -> None:
        """For a leader; others answer `not_leader`. May never be answered."""
        self._ticket += 1
        self._commands[self._ticket] = answer
        time_ms = self._led_time_ms + int((self._now() - self._led_since) * 1000.0) if self.leads else 0
        self._feed(Propose(((self._ticket, seal(time_ms, 0, 0, 0, command)),)))

    def read(self, ready: Callable[[bool], None]) -> None:
        """`ready(True)` when the state machine has all that was committed before the call; `ready(False)`: not now."""
        self._ticket += 1
        self._reads[self._ticket] = ready
        self._feed(Read(self._ticket))

    # -- inputs in their order, effects in theirs

    def _feed(self, event: Input) -> None:
        self._inputs.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._inputs:
                for effect in self._core.step(self._now(), self._inputs.popleft()):
                    self._carry[type(effect)](effect)
        finally:
            self._stepping = False

    def _persist(self, effect: Persist) -> None:
        # The core keeps the entries; there is nothing that could survive this process.
        self._inputs.append(Stored(effect.number))

    def _changed(self, effect: Changed) -> None:
        if effect.role == "leader":
            self._led_since, self._led_time_ms = self._now(), self.machine.time_ms

    def _proposed(self, effect: Proposed) -> None:
        answer = self._commands.pop(effect.ticket)
        before = self._places.pop(effect.index, None)
        if before is not None:
            before[1](None, "lost")
        self._places[effect.index] = (effect.term, answer)

    def _refused(self, effect: Refused) -> None:
        answer = self._commands.pop(effect.ticket, None)
        if answer is not None:
            answer(None, effect.reason)
        else:
            self._reads.pop(effect.ticket)(False)

    def _deliver(self, effect: Deliver) -> None:
        for entry in effect.entries:
            outcome = self.machine.apply(entry)
            term, answer = self._places.pop(entry.index, (0, None))
            if answer is not None:
                if term == entry.term:
                    answer(outcome, "")
                else:
                    answer(None, "lost")
        last = effect.entries[-1]
        self._inputs.append(Applied(last.index))
        self._answer_reads()
        if last.index - self._snapshot.index >= SNAPSHOT_ENTRIES:
            data = b"".join(self.machine.snapshot())
            meta = SnapshotMeta(last.index, last.term, self._members, 0, len(data), sha256(data).digest())
            self._snapshot, self._octets = meta, data
            self._inputs.append(SnapshotTaken(meta))

    def _read_ready(self, effect: ReadReady) -> None:
        self._unapplied.append((effect.index, self._reads.pop(effect.ticket)))
        self._answer_reads()

    def _answer_reads(self) -> None:
        index = self.machine.index
        ready = [read for at, read in self._unapplied if at <= index or at <= self._snapshot.index]
        if ready:
            self._unapplied = [(at, read) for at, read in self._unapplied if at > index and at > self._snapshot.index]
            for read in ready:
                read(True)

    # -- snapshots

    def _read_chunk(self, effect: ReadChunk) -> None:
        data = self._octets[effect.offset : effect.offset + effect.size] if effect.meta == self._snapshot else None
        self._inputs.append(Chunk(effect.to, effect.meta, effect.offset, data))

    def _store_chunk(self, effect: StoreChunk) -> None:
        if effect.offset == 0:
            self._incoming.clear()
        self._incoming[effect.offset :] = effect.data
        if not effect.last:
            return
        data, meta = bytes(self._incoming), effect.meta
        good = sha256(data).digest() == meta.digest
        if good:
            self.machine.restore([data])
            self._snapshot, self._octets = meta, data
            # What became of commands that the snapshot jumped over cannot be told: they are never answered.
            self._places = {index: place for index, place in self._places.items() if index > meta.index}
        self._inputs.append(SnapshotStored(meta, good))
        if good:
            self._answer_reads()


__all__ = ["MemoryReplica", "WireError"]
