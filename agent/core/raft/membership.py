"""A leader's part in changes of the members: new ones are learners until they have caught up (4.2.1), then a joint configuration (4.3).

A change that waits for learners is in the log as `Members.target`, so that the next leader goes on with it. Another change may take its
place as long as the joint part has not begun; the joint part ends by itself.
"""

from collections.abc import Callable

import msgspec

from agent.core.raft import confchange
from agent.core.raft.config import MEMBERS_MAX, PRIORITY_MAX, VOTERS_MAX
from agent.core.raft.desk import Desk
from agent.core.raft.replication import Replication
from agent.core.replica.io import Change, Proposed
from agent.core.replica.log import MEMBERS, Members, Peer

replace = msgspec.structs.replace


class Membership:
    """`append(kind, data)`: put an entry into the log, send it; its index."""

    def __init__(self, desk: Desk, replication: Replication, append: Callable[[int, bytes], int]) -> None:
        self._desk = desk
        self._replication = replication
        self._append = append
        self.why = ""

    def begin(self) -> None:
        self._begin_rounds()

    def on_change(self, event: Change) -> None:
        desk = self._desk
        now = desk.members
        if now.outgoing or desk.log.members_index > desk.commit:
            desk.refuse(event.ticket, "pending_change")
            return
        following = plan(now, event.members)
        if following is None:
            desk.refuse(event.ticket, "invalid")
            return
        self._forget_rounds()
        index = self._put(following)
        desk.out.append(Proposed(event.ticket, index, desk.term))

    def _put(self, members: Members) -> int:
        return self._append(MEMBERS, msgspec.msgpack.encode(members))

    def on_members(self) -> None:
        """Others are in force."""
        self._begin_rounds()

    def on_commit(self) -> None:
        """Once the joint configuration is committed, the outgoing part may go."""
        desk = self._desk
        members = desk.members
        if members.outgoing and desk.log.members_index <= desk.commit:
            self._put(confchange.leave_joint(members))

    # -- rounds of replication (4.2.1)

    def _waited_for(self) -> list[int]:
        members = self._desk.members
        return [member for member in members.target if member in members.learners]

    def _begin_rounds(self) -> None:
        for member in self._waited_for():
            progress = self._replication.progress.get(member)
            if progress is not None and not progress.rounds:
                progress.rounds = 1
                progress.round_goal = self._desk.log.last
                progress.round_began = self._desk.now

    def _forget_rounds(self) -> None:
        for progress in self._replication.progress.values():
            progress.rounds = 0

    def on_progress(self) -> None:
        """Someone's log has grown: has everybody caught up whom we wait for?"""
        desk = self._desk
        members = desk.members
        if not members.target or members.outgoing or desk.log.members_index > desk.commit:
            return
        ready = True
        for member in self._waited_for():
            progress = self._replication.progress[member]
            if progress.match < progress.round_goal:
                ready = False
            elif desk.now - progress.round_began >= desk.config.election_s:
                ready = False
                progress.rounds += 1
                progress.round_goal = desk.log.last
                progress.round_began = desk.now
        if ready:
            changes = [(confchange.VOTER, member) for member in members.target]
            going = [member for member in members.voters if member not in members.target]
            changes += [(confchange.LEARNER if member in members.learners_next else confchange.REMOVE, member) for member in going]
            plain = replace(members, target=(), learners_next=())
            self._put(confchange.enter_joint(plain, changes, True))

    def on_tick(self) -> None:
        """Give up on learners that do not catch up: they stay learners."""
        desk = self._desk
        members = desk.members
        if not members.target or members.outgoing or desk.log.members_index > desk.commit:
            return
        config = desk.config
        for member in self._waited_for():
            progress = self._replication.progress[member]
            if progress.rounds > config.promotion_rounds_max or desk.now - progress.round_began >= config.promotion_timeout_s:
                desk.why = f"{member} does not catch up"
                self._forget_rounds()
                self._put(replace(members, target=(), learners_next=()))
                return
        self.on_progress()


def plan(now: Members, wanted: Members) -> Members | None:
    """The first configuration on the way from `now` (not joint) to `wanted`; None: that is no group."""
    if now.outgoing or not _is_group(wanted):
        return None
    known = {peer.id: peer for peer in now.peers}
    known.update({peer.id: peer for peer in wanted.peers})
    named = {*wanted.voters, *wanted.learners}
    if not named <= known.keys() or not any(known[voter].priority for voter in wanted.voters):
        return None
    base = replace(now, target=(), learners_next=(), peers=_sorted([known[one] for one in sorted(named | set(now.voters))]))
    going = [voter for voter in now.voters if voter not in wanted.voters]
    coming = [voter for voter in wanted.voters if voter not in now.voters]
    changes = [(confchange.LEARNER, member) for member in wanted.learners if member not in now.voters]
    changes += [(confchange.LEARNER, member) for member in coming]
    changes += [(confchange.REMOVE, member) for member in now.learners if member not in named]
    demoted = tuple([voter for voter in going if voter in wanted.learners])
    if coming:
        waiting = confchange.simple(base, changes)
        return replace(waiting, target=tuple(sorted(wanted.voters)), learners_next=tuple(sorted(demoted)), peers=base.peers)
    if not going:
        return replace(confchange.simple(base, changes), peers=base.peers)
    changes += [(confchange.LEARNER if voter in demoted else confchange.REMOVE, voter) for voter in going]
    return replace(confchange.enter_joint(base, changes, True), peers=base.peers)


def _sorted(peers: list[Peer]) -> tuple[Peer, ...]:
    return tuple(sorted(peers, key=lambda peer: peer.id))


def _is_group(wanted: Members) -> bool:
    voters, learners = set(wanted.voters), set(wanted.learners)
    return (
        0 < len(voters) <= VOTERS_MAX
        and len(voters | learners) <= MEMBERS_MAX
        and not voters & learners
        and len(voters) == len(wanted.voters)
        and len(learners) == len(wanted.learners)
        and not wanted.outgoing
        and not wanted.learners_next
        and not wanted.target
        and all(0 < member < 1 << 53 for member in voters | learners)
        and all(0 <= peer.priority <= PRIORITY_MAX for peer in wanted.peers)
    )
