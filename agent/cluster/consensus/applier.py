"""Brings what is committed to the state machine, in slices, and tells whoever waits for it."""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

import msgspec

from agent.cluster.consensus.faces import Job, Ready
from agent.cluster.consensus.figures import HostFigures
from agent.core.machine.machine import Machine
from agent.core.replica.log import MEMBERS, Entry, Members, SnapshotMeta

SLICE_S: Final = 0.002
"""For so long entries are applied before the loop has its turn again: what else it does must not wait."""
LOOK_ENTRIES: Final = 16
"""Between two looks at the clock."""
_members: Final = msgspec.msgpack.Decoder(Members)


class Applier:
    """`applied(index)` is called at the end of each slice, `failed(why)` where the state machine raises."""

    def __init__(self, machine: Machine, figures: HostFigures, applied: Callable[[int], None], failed: Callable[[str], None]) -> None:
        self.machine = machine
        self.index = 0
        """Everything up to here is in the state machine,"""
        self.term = 0
        """of this term the last of it,"""
        self.members = Members()
        """and these belonged to the group then."""
        self.epoch = 0
        self.fresh_at = float("-inf")
        """A command of our own that was proposed at this moment is applied: so is all that was committed before then."""
        self.bytes_since = 0
        """Octets of entries applied since the last snapshot."""
        self.watchers: list[Callable[[int], None]] = []
        """Called at the end of each slice, with the index. They must not raise or block."""
        self._figures = figures
        self._applied = applied
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._batches: deque[tuple[Entry, ...]] = deque()
        self.on_mark: Callable[[int], None] = lambda index: None
        """Called where a mark was set, with all before it applied and nothing after it."""
        self.on_fault: Callable[[str], None] = lambda text: None
        """Hears of who was told something and raised: their fault is not the replica's."""
        self._at = 0
        """Place in the first batch."""
        self._jobs: dict[int, tuple[int, Job]] = {}
        self._reads: list[tuple[int, int, list[Ready]]] = []
        self._order = 0
        self._scheduled = False
        self.halted = False
        """While a snapshot takes the state machine's place."""

    @property
    def queued(self) -> bool:
        return bool(self._batches)

    @property
    def waiting(self) -> int:
        """Commands that have their place in the log and no outcome yet."""
        return len(self._jobs)

    def queue(self, entries: tuple[Entry, ...]) -> None:
        if entries:
            self._batches.append(entries)

    def mark(self, index: int) -> None:
        """Call `on_mark` when what has been queued so far, whose last index this is, is applied."""
        self._batches.append(())

    def expect(self, index: int, term: int, job: Job) -> None:
        """`job` is told of what comes of the entry there."""
        self._jobs[index] = (term, job)

    def when(self, index: int, reads: list[Ready]) -> None:
        """Call these once everything up to the index is applied."""
        if index <= self.index:
            self._tell_ready(reads)
        else:
            self._order += 1
            heappush(self._reads, (index, self._order, reads))

    def _tell_ready(self, reads: list[Ready]) -> None:
        for ready in reads:
            try:
                ready("", self.index)
            except Exception:
                self.on_fault(traceback.format_exc(limit=-4))

    def run(self) -> None:
        """Apply for a slice; the rest in later turns."""
        if self._scheduled or self.halted or not self._batches:
            return
        before = self.index
        end_at = time.monotonic() + SLICE_S
        while self._batches:
            batch = self._batches[0]
            if not batch:
                self._batches.popleft()
                self.on_mark(self.index)
                continue
            at = self._at
            until = min(at + LOOK_ENTRIES, len(batch))
            self._apply(batch[at:until])
            if until == len(batch):
                self._batches.popleft()
                self._at = 0
            else:
                self._at = until
            if time.monotonic() >= end_at:
                break
        if self._batches:
            self._scheduled = True
            self._loop.call_soon(self._go_on)
        if self.index != before:
            self.tell()

    def _go_on(self) -> None:
        self._scheduled = False
        try:
            self.run()
        except Exception:
            self._failed(traceback.format_exc(limit=-6))

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        machine_apply = self.machine.apply
        jobs = self._jobs
        now = time.monotonic()
        for entry in entries:
            index = entry.index
            if index <= self.index:
                continue  # a snapshot has brought it
            outcome = machine_apply(entry)
            self.index = index
            if entry.kind == MEMBERS:
                self.members = _members.decode(entry.data)
            self.bytes_since += len(entry.data)
            waiting = jobs.pop(index, None) if jobs else None
            if waiting is not None:
                term, job = waiting
                if term == entry.term and outcome is not None:
                    self._figures.commit_s.add(now - job.asked)
                    self.fresh_at = job.asked  # all that was committed before it was proposed stands before it
                    try:
                        job.finish(outcome)
                    except Exception:
                        self.on_fault(traceback.format_exc(limit=-4))
                else:
                    job.fail("lost", 0)
        self.term = entries[-1].term
        self._figures.applied += len(entries)

    def tell(self) -> None:
        """Say how far it is, to everybody who waits."""
        reads = self._reads
        while reads and reads[0][0] <= self.index:
            self._tell_ready(heappop(reads)[2])
        for watcher in self.watchers:
            try:
                watcher(self.index)
            except Exception:
                self.on_fault(traceback.format_exc(limit=-4))
        self._applied(self.index)

    def stand_on(self, meta: SnapshotMeta) -> None:
        """The state machine is as this snapshot says. What had its place before it, nobody can say what came of."""
        self.index, self.term, self.members, self.epoch = meta.index, meta.term, meta.members, meta.epoch
        self.bytes_since = 0
        for place in [place for place in self._jobs if place <= self.index]:
            self._jobs.pop(place)[1].fail("unknown", 0)

    def stop(self) -> None:
        """Nothing more is applied; who waits hears so."""
        self.halted = True
        self._batches.clear()
        jobs, self._jobs = self._jobs, {}
        for _, job in jobs.values():
            job.fail("unknown", 0)
        for _, _, reads in self._reads:
            for ready in reads:
                ready("stopped", 0)
        self._reads.clear()
