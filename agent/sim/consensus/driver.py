"""What the agent's host does for a replica, in simulated time: inputs in their order, effects in theirs (`core/replica/io.py`)."""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from math import inf
from random import Random
from typing import Any, cast

import msgspec

from agent.core.replica.io import (
    Applied,
    Changed,
    Chunk,
    Compact,
    Deliver,
    Input,
    Persist,
    Proposed,
    ReadChunk,
    ReadReady,
    Receive,
    Refused,
    Replica,
    Send,
    SnapshotStored,
    SnapshotTaken,
    Storage,
    StoreChunk,
    Stored,
    TakeSnapshot,
    Unreachable,
    Wake,
)
from agent.core.replica.log import MEMBERS, Entry, Members, Recovered, SnapshotMeta
from agent.core.wal.disk import Op
from agent.sim.consensus.host import Host
from agent.sim.consensus.machine import state_of
from agent.sim.consensus.service import Service
from agent.sim.consensus.settings import Settings
from agent.sim.consensus.watch import Watcher
from agent.sim.engine import Engine
from agent.sim.network import Network

WAKE = Wake()
Factory = Callable[[int, Random, Recovered, float], Replica]

CONNECT_S = 0.002
"""Until a host learns that nobody listens where it sent to."""
SLOW_S = 0.1
"""How often a host tells its core that the disk is still busy."""
SPACE_S = 0.2
"""How often a host looks whether a full disk has space again."""
LAZY_S = 0.1
"""How long what need not be durable waits for company."""
NOTES_MAX = 60
ROUNDING_S = 1e-7
"""What the conversion between clocks loses."""


class Driver:
    """`encode`, `decode`: the core's messages as octets and back; with both, every message goes through them."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        network: Network,
        encode: Callable[[Any], bytes] | None,
        decode: Callable[[bytes], Any] | None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.network = network
        self.hosts: list[Host] = []
        self.by_peer: dict[int, Host] = {}
        self.watchers: list[Watcher] = []
        self.notes: deque[str] = deque(maxlen=NOTES_MAX)
        """The last things that happened, for the report of a failure."""
        self.service = Service(self)
        self._encode, self._decode = encode, decode
        self._last_arrival: dict[tuple[int, int], float] = {}
        self._carry: dict[type, Callable[[Host, Any], None]] = {
            Persist: self._persist,
            Send: self._send,
            Deliver: self._deliver,
            Proposed: self.service.on_proposed,
            Refused: self.service.on_refused,
            ReadReady: self.service.on_read_ready,
            ReadChunk: self._read_chunk,
            StoreChunk: self._store_chunk,
            Compact: self._compact,
            TakeSnapshot: self._take_snapshot,
            Changed: self._changed,
        }

    # -- inputs in their order, effects in theirs

    def local_now(self, host: Host) -> float:
        """What the host's monotonic clock says."""
        return self.engine.now * host.clock_rate + host.clock_offset

    def feed(self, host: Host, event: Input) -> None:
        """Hand an input to the replica and carry out what it wants done. Inputs that come of it follow at once, in their order."""
        host.inputs.append(event)
        if host.stepping:
            return
        host.stepping = True
        try:
            now = host.last_now = max(self.engine.now * host.clock_rate + host.clock_offset, host.last_now)
            while host.inputs and host.core is not None:
                for effect in host.core.step(now, host.inputs.popleft()):
                    self._carry[type(effect)](host, effect)
        finally:
            host.stepping = False
        if host.core is not None:
            for watcher in self.watchers:
                watcher.stepped(host)
            self._schedule(host)

    def watch(self, watcher: Watcher) -> None:
        """Tell this one too of what happens."""
        self.watchers.append(watcher)

    def note(self, text: str) -> None:
        self.notes.append(f"{self.engine.now:.4f} {text}")

    def names(self, members: Members) -> str:
        """The voters, by machine; with the outgoing ones where there are some."""
        sides = [side for side in (members.voters, members.outgoing) if side]
        return " & ".join(",".join(str(self.by_peer[i].index) if i in self.by_peer else "lost" for i in side) for side in sides)

    def later(self, host: Host, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Call after so long, unless the host crashes before; while it is paused, after that."""
        self.engine.after(seconds, self._call, host, host.life, call, args)

    def _call(self, host: Host, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if host.life != life or not host.up:
            return
        if host.paused:
            host.inbox.append((call, args))
        else:
            call(*args)

    def _schedule(self, host: Host) -> None:
        core = host.core
        assert core is not None
        due = (core.next_wake() - host.clock_offset) / host.clock_rate
        if due < host.wake_at:
            host.wake_at = due
            self.engine.at(due, self._on_wake, host, host.life, due)

    def _on_wake(self, host: Host, life: int, due: float) -> None:
        if due != host.wake_at or host.life != life or host.core is None:
            return
        host.wake_at = inf
        if host.paused:
            return
        local = self.local_now(host)
        next_wake = host.core.next_wake()
        if next_wake <= local + ROUNDING_S:
            host.last_now = max(local, next_wake)
            self.feed(host, WAKE)
        else:
            self._schedule(host)

    # -- the network

    def _send(self, host: Host, effect: Send) -> None:
        target = self.by_peer.get(effect.to)
        if target is None or target is host:
            return
        message = effect.message
        if self._encode is not None:
            message = self._encode(message)
        for delay_s in self.network.delays(host.index, target.index):
            when = self.engine.now + delay_s
            if self.settings.in_order:
                pair = (host.index, target.index)
                when = max(when, self._last_arrival.get(pair, 0.0))
                self._last_arrival[pair] = when
            self.engine.at(when, self._arrive, target, host, host.peer, effect.to, message)

    def _arrive(self, target: Host, source: Host, sender: int, to: int, message: object) -> None:
        if target.peer != to:
            return
        if not target.up:
            # The machine is down, or nobody listens: the connection is refused.
            self.later(source, CONNECT_S, self.feed, source, Unreachable(to))
        elif target.paused:
            target.inbox.append((self._receive, (target, to, sender, message)))
        else:
            self._receive(target, to, sender, message)

    def _receive(self, target: Host, to: int, sender: int, message: object) -> None:
        if target.peer == to:
            self.engine.mark(target.index)
            if self._decode is not None:
                message = self._decode(cast(bytes, message))
            self.feed(target, Receive(sender, message))

    # -- the disk: one writer, who takes all that is there, writes it, synchronises, reports

    def _persist(self, host: Host, effect: Persist) -> None:
        for watcher in self.watchers:
            watcher.persisting(host, effect)
        if effect.sync or effect.entries:
            host.queue.append(effect)
            if not host.writing:
                self._write(host)
        else:
            self._put_off(host, effect)

    def _put_off(self, host: Host, effect: Persist) -> None:
        """It need not be durable: it waits for others, or a while; and is as good as stored once all before it is."""
        idle = not host.writing and not host.queue
        host.queue.append(effect)
        if idle:
            host.inputs.append(Stored(effect.number))
        self.later(host, LAZY_S, self._write_lazy, host)

    def _write_lazy(self, host: Host) -> None:
        if host.queue and not host.writing:
            self._write(host)

    def _carry_ops(self, host: Host, ops: tuple[Op, ...], then: Callable[..., None], *args: Any) -> None:
        """One operation after the other, each in its time; a crash finds any of them half done."""
        if ops:
            self.later(host, host.store.start(ops[0]) * host.disk_factor, self._carried, host, ops, then, args)
        else:
            then(*args)

    def _carried(self, host: Host, ops: tuple[Op, ...], then: Callable[..., None], args: tuple[Any, ...]) -> None:
        host.store.finish(ops[0])
        self._carry_ops(host, ops[1:], then, *args)

    def _write(self, host: Host) -> None:
        host.writing = True
        host.writing_since = self.engine.now
        if host.store.full:
            self._run_out_of_space(host)
            return
        self.later(host, SLOW_S, self._still_writing, host, host.writing_since)
        ops = host.store.plan_roll()
        if ops:
            self._carry_ops(host, ops, self._rolled, host)
        else:
            self._append(host)

    def _rolled(self, host: Host) -> None:
        host.store.done()
        self._append(host)

    def _append(self, host: Host) -> None:
        batch, host.queue = host.queue, []
        self._carry_ops(host, host.store.plan_append(batch), self._written, host, batch)

    def _written(self, host: Host, batch: list[Persist | SnapshotMeta]) -> None:
        host.store.done()
        persisted = [one for one in batch if isinstance(one, Persist)]
        for watcher in self.watchers:
            watcher.durable(host, persisted)
        host.writing = False
        if host.queue:
            self._write(host)
        if persisted:
            self.feed(host, Stored(persisted[-1].number))

    def _still_writing(self, host: Host, since: float) -> None:
        if host.writing and host.writing_since == since:
            self.feed(host, Storage(True, self.engine.now - since))
            self.later(host, SLOW_S, self._still_writing, host, since)

    def _run_out_of_space(self, host: Host) -> None:
        """The write fails in its midst, and is undone; it is tried again when there is space."""
        self._carry_ops(host, host.store.run_out(host.store.plan_append(host.queue)), self._wait_for_space, host)
        host.writable = False
        self.feed(host, Storage(False))

    def _wait_for_space(self, host: Host) -> None:
        if host.store.full:
            self.later(host, SPACE_S, self._wait_for_space, host)
            return
        host.writable = True
        self._write(host)
        self.feed(host, Storage(True))

    def _compact(self, host: Host, effect: Compact) -> None:
        self._carry_ops(host, host.store.plan_compact(effect.index), _nothing)

    # -- the state machine and its snapshots

    def _deliver(self, host: Host, effect: Deliver) -> None:
        machine = host.machine
        assert machine is not None
        for entry in effect.entries:
            for watcher in self.watchers:
                watcher.delivering(host, entry)
            value = machine.apply(entry)
            self._note_applied(host, entry)
            for watcher in self.watchers:
                watcher.applied(host, entry, value)
            if host.places:
                self.service.on_applied(host, entry, value)
        self.service.on_progress(host)
        # At the end of what there is: the driver's loop sees to it.
        host.inputs.append(Applied(host.applied))
        if host.applied - host.last_snapshot >= self.settings.snapshot_every and not host.snapshotting:
            self._begin_snapshot(host)

    def _note_applied(self, host: Host, entry: Entry) -> None:
        host.applied, host.applied_term = entry.index, entry.term
        if entry.kind == MEMBERS:
            host.applied_members = msgspec.msgpack.decode(entry.data, type=Members)

    def _take_snapshot(self, host: Host, effect: TakeSnapshot) -> None:
        assert host.applied == effect.index, "a snapshot of what is not there any more"
        self._begin_snapshot(host)

    def _begin_snapshot(self, host: Host) -> None:
        core, machine = host.core, host.machine
        assert core is not None and machine is not None
        data = state_of(machine)
        meta = self.snapshot_meta(host, data)
        host.snapshotting = True
        self.later(host, self.settings.snapshot_s, self._save_snapshot, host, meta, data)

    def _save_snapshot(self, host: Host, meta: SnapshotMeta, data: bytes) -> None:
        if host.store.full:
            self.later(host, SPACE_S, self._save_snapshot, host, meta, data)
            return
        self._carry_ops(host, host.store.plan_snapshot(meta, data), self._end_snapshot, host, meta)

    def snapshot_meta(self, host: Host, data: bytes) -> SnapshotMeta:
        return SnapshotMeta(host.applied, host.applied_term, host.applied_members, host.epoch, len(data), sha256(data).digest())

    def _end_snapshot(self, host: Host, meta: SnapshotMeta) -> None:
        host.snapshotting = False
        host.last_snapshot = max(host.last_snapshot, meta.index)
        self._carry_ops(host, host.store.has_snapshot(meta), _nothing)
        self.feed(host, SnapshotTaken(meta))

    def _read_chunk(self, host: Host, effect: ReadChunk) -> None:
        data = host.store.read_chunk(effect.meta, effect.offset, effect.size)
        host.inputs.append(Chunk(effect.to, effect.meta, effect.offset, data))

    def _store_chunk(self, host: Host, effect: StoreChunk) -> None:
        host.store.store_chunk(effect.offset, effect.data)
        if effect.last:
            data = host.store.incoming(effect.meta)
            if data is None or host.store.full:
                host.inputs.append(SnapshotStored(effect.meta, False))
            else:
                self._carry_ops(host, host.store.plan_snapshot(effect.meta, data), self._install, host, effect.meta, data)

    def _install(self, host: Host, meta: SnapshotMeta, data: bytes) -> None:
        """The snapshot's file is durable. The state machine takes its time to read it; the log goes on as it was meanwhile."""
        self._carry_ops(host, host.store.has_snapshot(meta), _nothing)
        self.later(host, self.engine.random.random() * self.settings.snapshot_s, self._take_over, host, meta, data)

    def _take_over(self, host: Host, meta: SnapshotMeta, data: bytes) -> None:
        """The log is told to begin after it, before anything else that the replica wants written from now on."""
        if meta.index > host.applied:
            assert host.machine is not None
            host.machine.restore([data])
            host.stand_on(meta)
            self.note(f"{host.name} takes the snapshot at {meta.index}")
            for watcher in self.watchers:
                watcher.installed(host, meta)
            self.service.on_progress(host)
        host.queue.append(meta)
        if not host.writing:
            self._write(host)
        self.feed(host, SnapshotStored(meta))

    def _changed(self, host: Host, effect: Changed) -> None:
        host.members_before = host.members
        host.role, host.term, host.members = effect.role, effect.term, effect.members
        self.engine.mark_text(f"{host.name} {effect.role} {effect.term}")
        self.note(f"{host.name} {effect.role} in term {effect.term}, voters {self.names(effect.members)} {effect.why}")
        for watcher in self.watchers:
            watcher.changed(host, effect)
        self.service.on_changed(host, effect)


def _nothing() -> None:
    """After operations that nobody waits for."""
