"""Drives a replica in the agent: gathers what a turn of the loop brings, steps the core, carries its effects out in order.

A turn costs one `Propose` for all commands, one `Read` for all reads of a kind, one write to each peer and one call to the log, however
much it brings. No task is made for anything. The duties are numbered in `agent.core.replica.io`.
"""

import asyncio
import time
import traceback
from collections.abc import Callable
from math import inf
from typing import Any, Final

from agent.cluster.consensus.applier import Applier
from agent.cluster.consensus.faces import Job, LogFace, Ready
from agent.cluster.consensus.figures import HostFigures
from agent.core.machine.envelope import seal
from agent.core.machine.footprints import blind_keys_in, keys_in
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.raft.fast.keys import Keys
from agent.core.replica.io import (
    Applied,
    Change,
    Changed,
    Compact,
    Deliver,
    FastDecided,
    FastPropose,
    FastUndecided,
    Input,
    Persist,
    Propose,
    Proposed,
    Read,
    ReadChunk,
    ReadReady,
    Refused,
    Replica,
    Send,
    StoreChunk,
    TakeSnapshot,
    Transfer,
    Wake,
)
from agent.core.replica.log import Members
from agent.runtime.log import Logger

TIMER_SLACK_S: Final = 0.0005
TICKETS_MAX: Final = 20_000
"""Commands and reads that wait at once; more are refused (`busy`)."""
FAST_WINDOW_MIN: Final = 1_024
"""Of a session whose commands may take the fast path: far more than voters hold of it at once, in whatever order that is replayed."""
PROPOSE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one turn's commands."""


class Host:
    """One replica. The callables are set by whoever puts it together, before `start`."""

    def __init__(self, me: int, core: Replica, log_store: LogFace, machine: Machine, log: Logger) -> None:
        self.me = me
        self.core = core
        self.store = log_store
        self.log = log
        self.figures = HostFigures()
        self.applier = Applier(machine, self.figures, self._applied, self.fail)
        self.applier.on_fault = self._on_fault
        self.send: Callable[[int, object], None] = lambda to, message: None
        self.flush: Callable[[], None] = lambda: None
        self.on_changed: Callable[[Changed], None] = lambda changed: None
        self.read_chunk: Callable[[ReadChunk], None] = lambda wish: None
        self.store_chunk: Callable[[StoreChunk], None] = lambda chunk: None
        self.on_compact: Callable[[int], None] = log_store.compact
        self.role = "follower"
        self.term = 0
        self.members = Members()
        self.broken = ""
        """Why it has stopped, where it has."""
        self._clock = time.monotonic
        self._loop = asyncio.get_running_loop()
        self._inputs: list[Input] = []
        self._proposals: list[tuple[int, bytes]] = []
        self._proposal_bytes = 0
        self.fast = False
        """Blind commands that come to a member that does not lead may be answered after one round trip (`core/raft/fast`)."""
        self._proposal_keys: list[Keys | None] = []
        self._fast: list[tuple[int, bytes, Keys]] = []
        self._fast_tickets: set[int] = set()
        self._reads: list[Ready] = []
        self._lease_reads: list[Ready] = []
        self._ticket = 0
        self._jobs: dict[int, Job] = {}
        self._waiting_reads: dict[int, list[Ready]] = {}
        self._wishes: dict[int, Callable[[str, int], None]] = {}
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._lead_ms = 0
        self._lead_since = 0.0
        self._carry: dict[type, Callable[[Any], None]] = {
            Send: self._on_send,
            Persist: self._on_persist,
            Deliver: self._on_deliver,
            Proposed: self._on_proposed,
            FastDecided: self._on_fast_decided,
            FastUndecided: self._on_fast_undecided,
            Refused: self._on_refused,
            ReadReady: self._on_read_ready,
            ReadChunk: lambda effect: self.read_chunk(effect),
            StoreChunk: lambda effect: self.store_chunk(effect),
            Compact: lambda effect: self.on_compact(effect.index),
            TakeSnapshot: lambda effect: self.applier.mark(effect.index),
            Changed: self._on_changed_effect,
        }

    # -- what is asked

    @property
    def leader(self) -> int:
        return self.core.leader

    @property
    def leads(self) -> bool:
        return self.role == "leader"

    @property
    def under_way(self) -> int:
        """Commands without an outcome yet."""
        return len(self._jobs) + self.applier.waiting

    def submit(self, job: Job) -> None:
        """Propose a command. It ends in the job's `finish` or `fail`, never within this call."""
        if len(self._jobs) + self.applier.waiting >= TICKETS_MAX or self.broken or self._proposal_bytes > PROPOSE_BYTES_MAX:
            reason = "stopped" if self.broken else "busy"
            self.figures.refuse(reason)
            self._loop.call_soon(job.fail, reason, 0)
            return
        data = seal(self.machine_ms(), job.session, job.request, job.acked, job.command)
        self._ticket += 1
        self._jobs[self._ticket] = job
        self._proposals.append((self._ticket, data))
        if self.fast:
            self._proposal_keys.append(keys_in(self.applier.machine.registry, job.command))
        self._proposal_bytes += len(data)
        if not self._scheduled:
            self._schedule()

    def submit_fast(self, job: Job) -> bool:
        """Propose a command by the fast path, from a member that does not lead. False: it has to go the ordered way. What ends in the
        job's `fail` may have had an effect (`unknown`), and may be said again under its session."""
        machine = self.applier.machine
        if not self.fast or self.leads or not self.leader or self.broken or self.me not in self.members.voters:
            return False
        session = machine.sessions.table.get(job.session)
        if session is None or session.window < FAST_WINDOW_MIN or len(self._jobs) >= TICKETS_MAX or not machine.roomy():
            return False
        keys = blind_keys_in(machine.registry, job.command)
        if keys is None:
            return False
        self._ticket += 1
        self._jobs[self._ticket] = job
        self._fast_tickets.add(self._ticket)
        self._fast.append((self._ticket, seal(0, job.session, job.request, 0, job.command), keys))
        if not self._scheduled:
            self._schedule()
        return True

    def read(self, ready: Ready, *, lease: bool = False) -> None:
        """Call `ready` once the state machine has all that was committed before now. Never within this call."""
        if self.broken:
            self._loop.call_soon(ready, "stopped", 0)
            return
        (self._lease_reads if lease else self._reads).append(ready)
        if not self._scheduled:
            self._schedule()

    def change(self, members: Members, answer: Callable[[str, int], None]) -> None:
        """Change who belongs to the group; `answer` hears "" and the index, or why not."""
        self._ticket += 1
        self._wishes[self._ticket] = answer
        self.feed(Change(self._ticket, members))

    def transfer(self, to: int, answer: Callable[[str, int], None]) -> None:
        """Hand the leadership over, to this member or (0) to whoever is best."""
        self._ticket += 1
        self._wishes[self._ticket] = answer
        self.feed(Transfer(self._ticket, to))

    def machine_ms(self) -> int:
        """Machine time as a leader says it: on from where it was when it began to lead, by the monotonic clock."""
        return max(self._lead_ms + int((self._clock() - self._lead_since) * 1000.0), self.applier.machine.time_ms)

    # -- turns

    def feed(self, event: Input) -> None:
        """An input for the next turn."""
        self._inputs.append(event)
        if not self._scheduled:
            self._schedule()

    def start(self) -> None:
        """Let the core run."""
        self.feed(Wake())

    def stop(self) -> None:
        """At once; the log is closed by whoever opened it."""
        self.fail("stopped")

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.broken:
            return
        try:
            self._steps()
            self.flush()
            if self.applier.queued:
                self.applier.run()
        except Exception:
            self.fail(traceback.format_exc(limit=-6))
            return
        self.flush()
        self._set_timer()

    def _steps(self) -> None:
        now = self._clock()
        step, carry = self.core.step, self._carry
        inputs = self._inputs
        if inputs:
            self._inputs = []
            for event in inputs:
                for effect in step(now, event):
                    carry[type(effect)](effect)
        if self._proposals:
            items, self._proposals = tuple(self._proposals), []
            self._proposal_bytes = 0
            self.figures.proposed += len(items)
            self.figures.batch.add(len(items))
            keys, self._proposal_keys = self._proposal_keys, []
            for effect in step(now, Propose(items, keys=tuple(keys) if len(keys) == len(items) else ())):
                carry[type(effect)](effect)
        if self._fast:
            fast, self._fast = tuple(self._fast), []
            for effect in step(now, FastPropose(fast)):
                carry[type(effect)](effect)
        if self._reads:
            reads, self._reads = self._reads, []
            self._ask(now, reads, False)
        if self._lease_reads:
            reads, self._lease_reads = self._lease_reads, []
            self._ask(now, reads, True)

    def _ask(self, now: float, reads: list[Ready], lease: bool) -> None:
        if len(self._waiting_reads) > TICKETS_MAX:
            for ready in reads:
                self._loop.call_soon(ready, "busy", 0)
            return
        self._ticket += 1
        self._waiting_reads[self._ticket] = reads
        for effect in self.core.step(now, Read(self._ticket, lease)):
            self._carry[type(effect)](effect)

    def _wake(self) -> None:
        self._timer = None
        self._timer_at = inf
        self.feed(Wake())

    def _set_timer(self) -> None:
        at = self.core.next_wake()
        if at >= self._timer_at - TIMER_SLACK_S and self._timer is not None:
            return  # the timer that is set comes first; it looks again
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at < inf:
            self._timer_at = at
            self._timer = self._loop.call_later(max(at - self._clock(), 0.0) + TIMER_SLACK_S, self._wake)

    def _applied(self, index: int) -> None:
        """The applier has come so far."""
        for effect in self.core.step(self._clock(), Applied(index)):
            self._carry[type(effect)](effect)

    # -- effects

    def _on_send(self, effect: Send) -> None:
        self.send(effect.to, effect.message)

    def _on_persist(self, effect: Persist) -> None:
        self.store.persist(effect)

    def _on_deliver(self, effect: Deliver) -> None:
        self.applier.queue(effect.entries)

    def _on_fast_decided(self, effect: FastDecided) -> None:
        """It will be executed; its revision is not known yet."""
        self._fast_tickets.discard(effect.ticket)
        job = self._jobs.pop(effect.ticket, None)
        if job is not None:
            self.figures.fast_s.add(self._clock() - job.asked)
            job.finish(Outcome())

    def _on_fast_undecided(self, effect: FastUndecided) -> None:
        self._fast_tickets.discard(effect.ticket)
        job = self._jobs.pop(effect.ticket, None)
        if job is not None:
            self._loop.call_soon(job.fail, "unknown", self.leader)

    def _on_proposed(self, effect: Proposed) -> None:
        self._fast_tickets.discard(effect.ticket)
        job = self._jobs.pop(effect.ticket, None)
        if job is not None:
            self.applier.expect(effect.index, effect.term, job)
            return
        answer = self._wishes.pop(effect.ticket, None)
        if answer is not None:
            answer("", effect.index)

    def _on_refused(self, effect: Refused) -> None:
        job = self._jobs.pop(effect.ticket, None)
        if job is not None:
            reason = effect.reason
            if effect.ticket in self._fast_tickets:
                # Too much for the fast path, perhaps; the ordered one may take it.
                self._fast_tickets.discard(effect.ticket)
                reason = "not_leader"
            else:
                self.figures.refuse(reason)
            self._loop.call_soon(job.fail, reason, effect.leader)
            return
        reads = self._waiting_reads.pop(effect.ticket, None)
        if reads is not None:
            for ready in reads:
                self._loop.call_soon(ready, effect.reason, 0)
            return
        answer = self._wishes.pop(effect.ticket, None)
        if answer is not None:
            answer(effect.reason, 0)

    def _on_read_ready(self, effect: ReadReady) -> None:
        reads = self._waiting_reads.pop(effect.ticket, None)
        if reads is not None:
            self.figures.reads += len(reads)
            self.applier.when(effect.index, reads)

    def _on_changed_effect(self, effect: Changed) -> None:
        if effect.role == "leader" and self.role != "leader":
            self._lead_ms = self.applier.machine.time_ms
            self._lead_since = self._clock()
        if effect.role == "candidate" and self.role != "candidate":
            self.figures.elections += 1
        self.role, self.term, self.members = effect.role, effect.term, effect.members
        self.on_changed(effect)

    # -- the end

    def _on_fault(self, text: str) -> None:
        self.figures.faults += 1
        self.log.error("consensus_fault", text=text)

    def fail(self, why: str) -> None:
        """Stop for good: nothing goes on from a state that is not understood."""
        if self.broken:
            return
        self.broken = why
        if self._timer is not None:
            self._timer.cancel()
        if why != "stopped":
            self.log.error("consensus_stopped", text=why)
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.fail("stopped", 0)
        for reads in (*self._waiting_reads.values(), self._reads, self._lease_reads):
            for ready in reads:
                ready("stopped", 0)
        self._waiting_reads.clear()
        for answer in self._wishes.values():
            answer("stopped", 0)
        self._wishes.clear()
        self.applier.stop()
