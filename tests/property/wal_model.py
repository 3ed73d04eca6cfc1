"""A replica's log as a plain list, beside the one on the simulated disk; and a random life for both."""

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from agent.core.replica.io import Persist
from agent.core.replica.log import Entry, HardState, Recovered, SnapshotMeta
from agent.core.wal import snapshot
from agent.core.wal.disk import ASIDE, Write, snapshot_name
from agent.core.wal.log import WalConfig, plan_purge, plan_snapshot
from agent.core.wal.opening import Beginning, Opened, finished, open_log
from agent.sim.disk import SimDisk
from agent.sim.folder import SimFolder

GROUP = "blue"
CONFIG = WalConfig(segment_bytes=3000, fill_bytes=512)


@dataclass
class Model:
    """What the log says, by the rules of the contract and by nothing else."""

    hard: HardState = field(default_factory=HardState)
    snapshots: list[SnapshotMeta] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)
    last: int = 0
    base: int = 0
    """The log begins after this index."""

    def copy(self) -> "Model":
        return Model(self.hard, list(self.snapshots), dict(self.entries), self.last, self.base)

    def persist(self, batch: Persist) -> None:
        self.hard = batch.hard or self.hard
        if batch.entries:
            first = batch.entries[0].index
            self.entries = {index: entry for index, entry in self.entries.items() if index < first}
            self.entries |= {entry.index: entry for entry in batch.entries}
            self.last = batch.entries[-1].index

    def has(self, meta: SnapshotMeta) -> bool:
        """Does the log agree with the snapshot?"""
        there = self.entries.get(meta.index)
        return meta.index <= self.base or (there is not None and there.term == meta.term)

    def install(self, meta: SnapshotMeta) -> None:
        """The replica stands on this snapshot: in its place the log must agree, or begin anew."""
        self.hard = HardState(self.hard.term, self.hard.vote, max(self.hard.commit, meta.index), self.hard.extra)
        if not self.has(meta):
            self.entries, self.last, self.base = {}, meta.index, meta.index

    def expected(self) -> Recovered:
        newest = max(self.snapshots, key=lambda meta: meta.index, default=SnapshotMeta())
        hard = HardState(self.hard.term, self.hard.vote, max(self.hard.commit, newest.index), self.hard.extra)
        known = sorted(self.entries) if self.has(newest) else []
        return Recovered(hard, newest, tuple(self.entries[index] for index in known if index > newest.index))


class Life:
    """Writes at random until the power fails. `surely`: what was reported stored. `perhaps`: what the disk may hold besides."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.disk = SimDisk(random)
        self.surely: Model = Model()
        self.perhaps: list[Model] = []
        self.me = 0
        self.bootstrapped = random.random() < 0.5

    def open(self, fails_after: int | None) -> Opened:
        folder = self.folder = SimFolder(self.disk)
        folder.fails_after = fails_after
        beginning = Beginning(SnapshotMeta(index=1, term=1), b"nothing yet") if self.bootstrapped else None
        opened = open_log(folder, GROUP, lambda: self.random.randrange(1, 2**53), CONFIG, beginning)
        self.log, self.kept = opened.log, list(opened.snapshots)
        return opened

    def adopt(self, opened: Opened) -> None:
        """Go on from what was recovered."""
        recovered = opened.recovered
        last = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
        self.surely = Model(
            recovered.hard, list(opened.snapshots), {entry.index: entry for entry in recovered.entries}, last, recovered.snapshot.index
        )
        self.perhaps = []
        self.me = opened.me

    def live(self, moves: int) -> None:
        for _ in range(moves):
            fate = self.random.random()
            if fate < 0.8:
                self.write()
            elif fate < 0.88:
                self.snapshot(own=True)
            elif fate < 0.92:
                self.snapshot(own=False)
            else:
                self.compact()

    def write(self, hold_commit: bool = False) -> None:
        random = self.random
        batches, model, states = [], self.surely, []
        for _ in range(random.randrange(1, 4)):
            model = model.copy()
            batch = self.batch(model, hold_commit)
            model.persist(batch)
            batches.append(batch)
            states.append(model)
        self.perhaps = states
        for op in self.log.plan_roll():
            self.folder.run(op)
        if self.log._then is not None:
            self.log.done()
        for op in self.log.plan_append(batches):
            self.folder.run(op)
        self.log.done()
        self.surely, self.perhaps = states[-1], []

    def batch(self, model: Model, hold_commit: bool) -> Persist:
        random = self.random
        hard = model.hard
        term = hard.term + (random.random() < 0.2)
        first = model.last + 1
        if model.last > hard.commit and random.random() < 0.2:
            first = random.randrange(hard.commit + 1, model.last + 1)
            term = hard.term + 1
        entries = tuple(Entry(term, first + number, random.randrange(4), self.octets()) for number in range(random.randrange(0, 5)))
        last = entries[-1].index if entries else model.last
        commit = random.randrange(hard.commit, max(last, hard.commit) + 1) if random.random() < 0.6 and not hold_commit else hard.commit
        new = HardState(term, random.randrange(3), commit, b"") if random.random() < 0.7 or entries else None
        return Persist(1, new, entries)

    def octets(self) -> bytes:
        size = self.random.choice((0, 3, 20, 200, 700, 1500))
        return bytes(size) if self.random.random() < 0.3 else self.random.randbytes(size)

    def snapshot(self, own: bool) -> None:
        random, model = self.random, self.surely
        newest = max((meta.index for meta in model.snapshots), default=0)
        if own:
            if model.hard.commit <= newest:
                return
            index = random.randrange(newest + 1, model.hard.commit + 1)
            term = model.entries[index].term
        else:
            index = model.last + random.randrange(-2, 10)
            if index <= max(model.hard.commit, newest):
                return
            term = model.hard.term
        data = random.randbytes(random.choice((0, 100, 1500)))
        meta = finished(SnapshotMeta(index, term), len(data), sha256(data).digest())
        then = model.copy()
        then.snapshots.append(meta)
        self.perhaps = [then]
        self.folder.run(Write(snapshot_name(index, term) + ASIDE, 0, data + snapshot.trailer(GROUP, meta), sync=False))
        for op in plan_snapshot(meta):
            self.folder.run(op)
        self.surely, self.perhaps = then, []
        if not own:
            # While the state machine takes it over, the replica may still write to its log as it was.
            for _ in range(random.randrange(3)):
                self.write(hold_commit=True)
            then = self.surely.copy()
            then.install(meta)
            self.perhaps = [then]
            for op in self.log.plan_append([meta]):
                self.folder.run(op)
            self.log.done()
            self.surely, self.perhaps = then, []
        self.kept, ops = plan_purge([*self.kept, meta], CONFIG)
        for op in ops:
            self.folder.run(op)

    def compact(self) -> None:
        if self.kept:
            newest = self.kept[0].index
            for op in self.log.plan_compact(min(self.random.randrange(newest + 1), self.kept[-1].index)):
                self.folder.run(op)
