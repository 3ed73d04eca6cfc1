"""Brings commands to whoever leads: the own replica or a peer's, again and again until the deadline, never twice where that could show.

A command that was refused, or lost its place in the log to another, is said again to the next leader. One of which nobody knows what
became of it (the way to the leader broke, the leader changed) is said again only where that is safe: under a session, whose table of
outcomes answers the second saying with the first one's outcome, or where the command itself is such.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from agent.cluster.consensus.faces import Job
from agent.cluster.consensus.host import Host
from agent.cluster.consensus.messages import Ask, Commands, Outcomes, Told
from agent.core.machine.outcome import Outcome, decode_outcome, encode_outcome

JOBS_MAX: Final = 10_000
"""Commands of this agent's applications under way; more are refused (`busy`)."""
LOOK_S: Final = 0.02
"""How often parked commands look for a leader, while there are any."""
DEADLINES_S: Final = 0.25
"""How exactly deadlines are kept."""
AGAIN: Final = frozenset(("not_leader", "transferring", "lost", "read_only", "stopped"))
"""Nothing came of it, and another leader may take it."""
MESSAGE_ITEMS_MAX: Final = 512
MESSAGE_BYTES_MAX: Final = 512 * 1024

Done = Callable[[str, Outcome | None], None]
"""Called once: "" and the outcome, or why there is none (REFUSALS of `io`, `timeout`, `unknown`) and None."""


class Ways(Protocol):
    """What the forwarder knows of others."""

    def host(self) -> Host | None:
        """The own replica, where there is one that may lead."""

    def leader_name(self) -> str:
        """The agent whose member leads, as far as is known; empty for nobody."""

    def say(self, name: str, message: Commands | Outcomes) -> bool:
        """Send to the agent; whether something leads there."""


class LocalJob(Job):
    """An own application's command."""

    __slots__ = ("_owner", "deadline", "done", "doubt", "said", "ticket", "to", "tried", "why")

    def __init__(
        self,
        owner: "Forwarder",
        command: bytes,
        session: int,
        request: int,
        acked: int,
        safe: bool,
        now: float,
        deadline: float,
        done: Done,
    ) -> None:
        super().__init__(command, session, request, acked, safe, now)
        self._owner = owner
        self.deadline = deadline
        self.done = done
        self.ticket = 0
        self.to = ""
        """The agent that has it; empty: the own replica, or nobody."""
        self.said = False
        """It may stand in somebody's log by now."""
        self.doubt = False
        """Of an earlier saying nobody knows what came: no later refusal can undo that."""
        self.why = "not_leader"
        self.tried = False
        """On the fast path, or it cannot take that."""

    def finish(self, outcome: Outcome) -> None:
        self._owner.end(self, "", outcome)

    def fail(self, reason: str, leader: int) -> None:
        self._owner.failed(self, reason)


class RemoteJob(Job):
    """Another agent's command, which it brought here."""

    __slots__ = ("_answer", "_name", "_ticket")

    def __init__(self, item: Ask, name: str, answer: Callable[[str, Told], None], now: float) -> None:
        super().__init__(item.command, item.session, item.request, item.acked, False, now)
        self._ticket = item.ticket
        self._name = name
        self._answer = answer

    def finish(self, outcome: Outcome) -> None:
        self._answer(self._name, Told(self._ticket, "", encode_outcome(outcome)))

    def fail(self, reason: str, leader: int) -> None:
        self._answer(self._name, Told(self._ticket, reason))


class Forwarder:
    """One group's, on one agent."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[int, LocalJob] = {}
        self._parked: list[LocalJob] = []
        self._out: dict[str, list[Ask]] = {}
        self._answers: dict[str, list[Told]] = {}
        self._last_ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._deadlines_at = 0.0
        self._flushing = False
        self._closed = False
        self.forwarded = 0
        """Commands that went to another agent."""
        self.local = 0
        """Commands that the own replica took first."""
        self.fast = 0
        """Commands that the own replica took by the fast path."""
        self.served = 0
        """Other agents' commands."""
        self.again = 0
        """Times that one was said again."""
        self.failed_count: dict[str, int] = {}
        """Commands without an outcome, by reason."""

    @property
    def under_way(self) -> int:
        return len(self._jobs)

    # -- own commands

    def submit(
        self, command: bytes, done: Done, timeout_s: float, session: int = 0, request: int = 0, acked: int = 0, *, safe: bool = False
    ) -> None:
        """Bring it to the leader; `done` is called once, never within this call. safe: see the module; a session's always is."""
        if len(self._jobs) >= JOBS_MAX or self._closed:
            reason = "stopped" if self._closed else "busy"
            self.failed_count[reason] = self.failed_count.get(reason, 0) + 1
            self._loop.call_soon(done, reason, None)
            return
        now = time.monotonic()
        job = LocalJob(self, command, session, request, acked, safe or session > 0, now, now + timeout_s, done)
        self._bring(job)
        if self._timer is None:
            self._look_later()

    def _bring(self, job: LocalJob) -> None:
        self._last_ticket += 1
        job.ticket = self._last_ticket
        self._jobs[job.ticket] = job
        host = self._ways.host()
        if host is not None and host.leads:
            job.to = ""
            job.said = True
            self.local += 1
            host.submit(job)
            return
        if host is not None and host.fast and not job.tried and job.safe:
            job.tried = True
            if host.submit_fast(job):
                job.to = ""
                job.said = True
                self.fast += 1
                return
        name = self._ways.leader_name()
        if not name:
            self._park(job)
            return
        job.to = name
        job.said = True
        self.forwarded += 1
        self._out.setdefault(name, []).append(Ask(job.ticket, job.session, job.request, job.acked, job.command))
        self._flush_soon()

    def end(self, job: LocalJob, reason: str, outcome: Outcome | None) -> None:
        """It is over."""
        if self._jobs.pop(job.ticket, None) is not job:
            return  # it was given up before
        if reason and job.doubt:
            reason = "unknown"
        if reason:
            self.failed_count[reason] = self.failed_count.get(reason, 0) + 1
        job.done(reason, outcome)

    def failed(self, job: LocalJob, reason: str) -> None:
        """One who had it says that nothing came of it; or (`unknown`) nobody knows."""
        if self._jobs.get(job.ticket) is not job:
            return
        if reason == "unknown":
            job.doubt = True
        if reason in AGAIN or (reason == "unknown" and job.safe):
            job.why = reason
            job.said = False
            job.to = ""
            self._park(job)
        else:
            self.end(job, reason, None)

    def _park(self, job: LocalJob) -> None:
        """It waits for a leader, who is looked for soon, whatever the timer was set for."""
        self._parked.append(job)
        if self._timer is not None and self._timer.when() > self._loop.time() + LOOK_S:
            self._timer.cancel()
            self._look_later()

    def take_outcomes(self, items: tuple[Told, ...]) -> None:
        """A peer answers."""
        for told in items:
            job = self._jobs.get(told.ticket)
            if job is None:
                continue
            if told.reason:
                self.failed(job, told.reason)
                continue
            try:
                outcome = decode_outcome(told.outcome)
            except ValueError:  # msgspec's errors are
                self.failed(job, "unknown")
                continue
            self.end(job, "", outcome)

    def lost(self, name: str) -> None:
        """What was sent to that agent, or what it would have answered, may have been lost."""
        if self._jobs:
            for job in [job for job in self._jobs.values() if job.to == name]:
                self.failed(job, "unknown")

    def leader_changed(self) -> None:
        """Who leads is somebody else: what the old one may still have is said again where that is safe."""
        name = self._ways.leader_name()
        host = self._ways.host()
        if name or (host is not None and host.leads):
            for job in [job for job in self._jobs.values() if job.to and job.to != name and job.safe]:
                self.failed(job, "unknown")
            self._unpark()

    # -- time

    def _look_later(self) -> None:
        wait_s = LOOK_S if self._parked else DEADLINES_S
        self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        self._unpark()
        if now >= self._deadlines_at:
            self._deadlines_at = now + DEADLINES_S
            late = [job for job in self._jobs.values() if job.deadline <= now]
            for job in late:
                self.end(job, ("unknown" if job.said else "timeout") if job.why != "read_only" else "read_only", None)
            if late:
                self._parked = [job for job in self._parked if job.ticket in self._jobs]
        if self._jobs:
            self._look_later()

    def _unpark(self) -> None:
        host = self._ways.host()
        if self._parked and ((host is not None and host.leads) or self._ways.leader_name()):
            parked, self._parked = self._parked, []
            for job in parked:
                if self._jobs.pop(job.ticket, None) is job:
                    self.again += 1
                    self._bring(job)

    # -- others' commands

    def take_commands(self, name: str, items: tuple[Ask, ...]) -> None:
        """Another agent brings these."""
        host = self._ways.host()
        if host is None or not host.leads:
            leader = self._ways.leader_name()
            for item in items:
                self._answer(name, Told(item.ticket, "not_leader", b"", leader))
            return
        now = time.monotonic()
        self.served += len(items)
        for item in items:
            host.submit(RemoteJob(item, name, self._answer, now))

    def _answer(self, name: str, told: Told) -> None:
        self._answers.setdefault(name, []).append(told)
        self._flush_soon()

    # -- sending

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what this turn has gathered."""
        self._flushing = False
        if self._out:
            out, self._out = self._out, {}
            for name, asks in out.items():
                for part in _parts(asks):
                    if not self._ways.say(name, Commands(part)):
                        self._unsaid(part)
        if self._answers:
            answers, self._answers = self._answers, {}
            for name, told in answers.items():
                for at in range(0, len(told), MESSAGE_ITEMS_MAX):
                    self._ways.say(name, Outcomes(tuple(told[at : at + MESSAGE_ITEMS_MAX])))

    def _unsaid(self, asks: tuple[Ask, ...]) -> None:
        """Nothing leads there: these have not left."""
        for ask in asks:
            job = self._jobs.get(ask.ticket)
            if job is not None:
                self.failed(job, "not_leader")

    def stop(self) -> None:
        """Whoever waits hears that it is over."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for job in list(self._jobs.values()):
            self.end(job, "unknown" if job.said else "stopped", None)
        self._parked.clear()


def _parts(asks: list[Ask]) -> list[tuple[Ask, ...]]:
    """In messages of bounded size."""
    parts: list[tuple[Ask, ...]] = []
    part: list[Ask] = []
    size = 0
    for ask in asks:
        if part and (len(part) >= MESSAGE_ITEMS_MAX or size + len(ask.command) > MESSAGE_BYTES_MAX):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(ask)
        size += len(ask.command)
    parts.append(tuple(part))
    return parts
