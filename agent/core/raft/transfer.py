"""Handing over the leadership (3.10): by wish, to a voter of higher priority, away from a slow or full disk, or from a leader that goes."""

from agent.core.raft.desk import Desk
from agent.core.raft.messages import TimeoutNow
from agent.core.raft.progress import REPLICATE, Progress
from agent.core.raft.replication import Replication
from agent.core.replica.io import Proposed, Transfer

BACKOFF_MAX = 64


class Handover:
    def __init__(self, desk: Desk, replication: Replication) -> None:
        self._desk = desk
        self._replication = replication
        self.target = 0
        self._until = 0.0
        self._next_try = 0.0
        self._backoff = 1
        self.lease_given_up = False
        """Someone was told to stand regardless of our lease: for the rest of the term there is none."""

    def begin(self) -> None:
        self.target = 0
        self._next_try = 0.0
        self._backoff = 1
        self.lease_given_up = False

    def end(self) -> None:
        self.target = 0

    def on_transfer(self, event: Transfer) -> None:
        desk = self._desk
        if self.target:
            desk.refuse(event.ticket, "transferring")
            return
        to = event.to or self.best(0.0)
        if to == desk.me:
            desk.out.append(Proposed(event.ticket, 0, desk.term))
        elif to not in desk.members.voters or to not in self._replication.progress or not desk.priority(to):
            desk.refuse(event.ticket, "invalid")
        else:
            desk.out.append(Proposed(event.ticket, 0, desk.term))
            self._start(to, "asked to hand over")

    def _start(self, to: int, why: str) -> None:
        desk = self._desk
        desk.why = why
        self.target = to
        self._until = desk.now + desk.config.election_s
        self.on_progress(to, self._replication.progress[to])

    def on_progress(self, member: int, progress: Progress) -> None:
        """Has the one who is to lead everything?"""
        desk = self._desk
        if member != self.target:
            return
        if progress.match == desk.log.last:
            self.lease_given_up = True
            desk.send(member, TimeoutNow(desk.term))
        else:
            self._replication.send_entries(member, progress)

    def follow_members(self) -> None:
        """Whom we hand over to must still be a voter."""
        if self.target and self.target not in self._desk.members.voters:
            self.target = 0

    def say_good_bye(self) -> None:
        """We are not of the group any more: whoever is best stands at once."""
        best = self.best(0.0)
        if best:
            self._desk.send(best, TimeoutNow(self._desk.term))

    def best(self, well_for_s: float, above: int = 0) -> int:
        """The voter to hand over to: heard, replicating, its disk well; of the highest priority, then the longest log. 0: nobody."""
        desk = self._desk
        best, best_key = 0, (0, -1)
        for member, progress in self._replication.progress.items():
            priority = desk.priority(member)
            if member not in desk.members.voters or priority <= above or not self._is_well(progress, well_for_s):
                continue
            if (priority, progress.match) > best_key:
                best, best_key = member, (priority, progress.match)
        return best

    def _is_well(self, progress: Progress, well_for_s: float) -> bool:
        desk = self._desk
        config = desk.config
        return (
            progress.heard
            and progress.state == REPLICATE
            and progress.writable
            and progress.disk_s < config.disk_slow_s / 2
            and desk.now - progress.heard_at <= 3 * config.heartbeat_s
            and desk.now - progress.well_since >= well_for_s
            and progress.match >= desk.commit - config.margin_entries
        )

    def on_tick(self) -> None:
        """Each heartbeat: end what did not succeed, and see whether another should lead."""
        desk = self._desk
        config = desk.config
        if self.target:
            if desk.now < self._until:
                return
            self.target = 0
            self._next_try = desk.now + config.priority_settle_s * self._backoff
            self._backoff = min(2 * self._backoff, BACKOFF_MAX)
        if not desk.writable or desk.disk_s >= config.disk_slow_s:
            to = self.best(0.0)
            if to:
                self._start(to, "disk full or failed" if not desk.writable else "slow disk")
            return
        mine = desk.priority(desk.me) if desk.me in desk.members.voters else -1
        if desk.now >= self._next_try and self._any_above(mine):
            to = self.best(config.priority_settle_s, above=mine)
            if to and self._replication.progress[to].match >= desk.commit:
                self._start(to, "another has a higher priority")

    def _any_above(self, mine: int) -> bool:
        return any(peer.priority > mine for peer in self._desk.members.peers)
