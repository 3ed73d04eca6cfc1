"""What a leader does for its group beside the log: keeps the right voters, one change at a time, and lets machine time go on."""

import time
from collections.abc import Callable
from typing import Final

from agent.cluster.consensus.config import ConsensusConfig
from agent.cluster.consensus.faces import Job
from agent.cluster.consensus.host import Host
from agent.cluster.consensus.placement import Plan, View, Wish, plan
from agent.cluster.consensus.seats import Seen
from agent.core.machine.envelope import TICK
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.runtime.log import Logger

TICK_S: Final = 0.1
"""What ends by itself ends so exactly."""


class _Tick(Job):
    """The time, as a command."""

    __slots__ = ("_steward",)

    def __init__(self, steward: "Steward", now: float) -> None:
        super().__init__(TICK, 0, 0, 0, False, now)
        self._steward = steward

    def finish(self, outcome: Outcome) -> None:
        self._steward.ticking = False

    def fail(self, reason: str, leader: int) -> None:
        self._steward.ticking = False


class Steward:
    """Of one host. `tell(text)`: an event for people."""

    def __init__(
        self, config: ConsensusConfig, host: Host, machine: Machine, group_id: int, log: Logger, tell: Callable[[str], None]
    ) -> None:
        self._wish = Wish(config.voters, config.learners, config.timing.replace_after)
        self._settle_s = config.timing.settle
        self._host = host
        self._machine = machine
        self._group_id = group_id
        self._log = log
        self._tell = tell
        self.ticking = False
        self.changes = 0
        self.last_change = ""
        """For people."""
        self._changed_at = 0.0
        self._view: tuple[object, ...] = ()
        self._view_since = 0.0
        self._missing: dict[int, float] = {}
        self._pending = False

    def tick(self) -> None:
        """Let what is due end."""
        host = self._host
        if host.leads and not self.ticking and host.machine_ms() >= self._machine.next_due():
            self.ticking = True
            host.submit(_Tick(self, time.monotonic()))

    def look(self, seen: dict[str, Seen]) -> None:
        """`seen`: all agents with a seat, ourselves among them."""
        host = self._host
        now = time.monotonic()
        if not host.leads:
            self._view, self._pending = (), False
            return
        self._note_missing(seen, now)
        stable = tuple(sorted((one.name, one.alive, one.seat.member, one.seat.wants) for one in seen.values())), host.term, host.members
        if stable != self._view:
            self._view, self._view_since = stable, now
        someone_leaves = any(one.seat.leaving and one.alive for one in seen.values())
        pause_s = 0.0 if someone_leaves else self._settle_s
        if self._pending or now - self._view_since < pause_s or now - self._changed_at < pause_s:
            return
        found = plan(View(host.members, host.me, self._group_id, seen, lambda member: now - self._missing.get(member, now)), self._wish)
        if found is not None:
            self._change(found, now)

    def _note_missing(self, seen: dict[str, Seen], now: float) -> None:
        """Members that membership does not know, or whose agent takes no part: for how long."""
        missing = set()
        for peer in self._host.members.peers:
            row = seen.get(peer.name)
            if peer.id != self._host.me and (row is None or (row.alive and row.seat.member != peer.id)):
                missing.add(peer.id)
        self._missing = {member: self._missing.get(member, now) for member in missing}

    def _change(self, found: Plan, now: float) -> None:
        self._pending = True
        self._changed_at = now

        def answered(reason: str, index: int) -> None:
            self._pending = False
            if reason:
                self._log.info("consensus_change_refused", why=found.why, reason=reason)
                return
            self.changes += 1
            self.last_change = found.why
            self._log.info("consensus_change", why=found.why, voters=len(found.members.voters), learners=len(found.members.learners))
            self._tell(found.why)

        self._host.change(found.members, answered)
