"""Elections: who stands and when, pre-votes, votes (3.4, 3.6.1, 9.6), and the promise to a leader that was heard (6.4.1).

A voter that heard a leader within `election_s` takes no part in replacing it: servers that were removed or cut off cannot disrupt the
group (4.2.3), and a leader's lease is sound. A start counts as having heard one. Only a transfer of leadership is exempt.
"""

from collections.abc import Callable
from math import inf

from agent.core.raft import quorum
from agent.core.raft.desk import CANDIDATE, FOLLOWER, LEADER, PRECANDIDATE, Desk
from agent.core.raft.messages import Held, VoteReply, VoteRequest


class Elections:
    """`won`: called when this replica has become the leader; `lead_ends`: when it gives up being one."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._votes: dict[int, bool] = {}
        self._held: dict[int, tuple[Held, ...]] = {}
        """What those hold who voted for us."""
        self._transfer = False
        self._own_vote = 0
        """The number of the `Persist` that makes the own vote durable; it counts only then."""
        self._lost_leader = 0
        self.won: Callable[[dict[int, tuple[Held, ...]]], None] = _nobody
        self.lead_ends: Callable[[], None] = _nothing
        self.leader_changed: Callable[[], None] = _nothing
        self.arm()

    # -- timers

    @property
    def may_stand(self) -> bool:
        desk = self._desk
        return desk.is_voter and not desk.removed and desk.writable and desk.priority(desk.me) > 0

    def arm(self) -> None:
        """Draw a new time to wait for a leader: between once and twice `election_s`, earlier where the priority is the highest (of
        those that are left), later where it is not."""
        desk = self._desk
        spread = desk.chance.random()
        mine = desk.priority(desk.me)
        others = [peer.priority for peer in desk.members.peers if peer.id not in (desk.me, self._lost_leader) and self._votes_too(peer.id)]
        if others and max(others) > mine:
            spread = 0.5 + spread / 2
        elif others and max(others) < mine:
            spread /= 2
        desk.timeout_s = desk.config.election_s * (1 + spread)
        desk.deadline = desk.now + desk.timeout_s

    def _votes_too(self, member: int) -> bool:
        return member in self._desk.members.voters

    def heard(self) -> None:
        """The leader of this term spoke."""
        desk = self._desk
        desk.heard_at = desk.now
        desk.deadline = desk.now + desk.timeout_s

    @property
    def wake_at(self) -> float:
        desk = self._desk
        return desk.deadline if desk.role != LEADER and self.may_stand else inf

    def on_wake(self) -> None:
        if self._desk.now >= self.wake_at:
            self.stand(False)

    @property
    def promised(self) -> bool:
        """A leader was heard so lately that no other may be helped."""
        desk = self._desk
        return desk.role == LEADER or desk.now < desk.heard_at + desk.config.election_s

    # -- roles

    def become_follower(self, term: int, leader: int, why: str = "") -> None:
        desk = self._desk
        was = desk.role
        if desk.leader and desk.leader != leader:
            self._lost_leader = desk.leader
        changed = term > desk.term or leader != desk.leader
        if term > desk.term:
            desk.set_term(term)
        desk.role = FOLLOWER
        if was == LEADER:
            self.lead_ends()
        desk.leader = leader
        desk.why = why or desk.why
        if changed:
            self.leader_changed()
        self.arm()

    def stand(self, transfer: bool) -> None:
        """Ask whether we would be elected; after a transfer, or alone, stand at once."""
        desk = self._desk
        self._transfer = transfer
        if desk.leader:
            self._lost_leader = desk.leader
            desk.leader = 0
            self.leader_changed()
        if transfer:
            self._become_candidate()
            return
        desk.role = PRECANDIDATE
        self.arm()
        self._votes = {desk.me: True}
        request = VoteRequest(desk.term + 1, desk.log.last, desk.log.last_term, pre=True)
        for voter in self._voters():
            desk.send(voter, request)
        self._tally()

    def _become_candidate(self) -> None:
        desk = self._desk
        desk.role = CANDIDATE
        desk.counters.elections += 1
        desk.set_term(desk.term + 1, desk.me)
        self.arm()
        self._votes = {}
        self._held = {}
        self._own_vote = desk.number + 1
        # Durable first: a log that is claimed here must not be shorter after a crash, when old answers may still arrive.
        request = VoteRequest(desk.term, desk.log.last, desk.log.last_term, transfer=self._transfer)
        for voter in self._voters():
            desk.say_when_stored(voter, request)

    def _voters(self) -> list[int]:
        members = self._desk.members
        return [voter for voter in sorted({*members.voters, *members.outgoing}) if voter != self._desk.me]

    def on_stored(self) -> None:
        desk = self._desk
        if desk.role == CANDIDATE and desk.stored >= self._own_vote and desk.me not in self._votes:
            self._votes[desk.me] = True
            self._tally()

    def _tally(self) -> None:
        desk = self._desk
        members = desk.members
        result = quorum.joint_vote(members.voters, members.outgoing, self._votes)
        if result == quorum.LOST:
            self.become_follower(desk.term, 0, "not elected")
        elif result == quorum.WON:
            if desk.role == PRECANDIDATE:
                self._become_candidate()
            elif desk.me in self._votes:
                desk.counters.wins += 1
                self._held[desk.me] = desk.witness.all()
                self.won(self._held)

    # -- messages

    def on_vote_request(self, sender: int, message: VoteRequest) -> None:
        desk = self._desk
        if message.term < desk.term:
            desk.send(sender, VoteReply(desk.term, False, message.pre))
            return
        if (message.term > desk.term and self.promised and not message.transfer) or not desk.writable:
            desk.counters.ignored += 1
            return
        if message.pre:
            free = message.term > desk.term or desk.vote == sender or (not desk.vote and not desk.leader)
            granted = free and desk.log.is_as_new(message.last_index, message.last_term)
            desk.send(sender, VoteReply(message.term if granted else desk.term, granted, True))
            return
        if message.term > desk.term:
            self.become_follower(message.term, 0, "another stands for election")
        free = desk.vote == sender or (not desk.vote and not desk.leader)
        if free and desk.log.is_as_new(message.last_index, message.last_term):
            if desk.vote != sender:
                desk.set_term(desk.term, sender)
            self.arm()
            desk.say_when_stored(sender, VoteReply(desk.term, True, held=desk.witness.all()))
        else:
            desk.send(sender, VoteReply(desk.term, False))

    def on_vote_reply(self, sender: int, message: VoteReply) -> None:
        desk = self._desk
        asked = desk.term + 1 if message.granted and message.pre else desk.term
        if message.term > asked:
            self.become_follower(message.term, 0, "a higher term")
        elif message.term == asked and desk.role == (PRECANDIDATE if message.pre else CANDIDATE):
            self._votes.setdefault(sender, message.granted)
            if message.granted and not message.pre:
                self._held.setdefault(sender, message.held)
            self._tally()
        else:
            desk.counters.ignored += 1

    def on_timeout_now(self, sender: int) -> None:
        """The leader hands over to us (3.10)."""
        desk = self._desk
        if self.may_stand and desk.role == FOLLOWER and sender == desk.leader:
            desk.counters.transfers += 1
            self.stand(True)


def _nobody(held: dict[int, tuple[Held, ...]]) -> None:
    """Before the parts are put together."""


def _nothing() -> None:
    """Before the parts are put together."""
