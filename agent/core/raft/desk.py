"""What the parts of a Raft replica share: who we are, the log, the term, who leads, and the effects of the step under way.

One `Persist` a step: the parts change the log, `term` and `vote`, and `finish` writes down what is new, before what is to be sent.
What must not be said before it is durable goes through `say_when_stored`.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from agent.core.raft.config import RaftConfig
from agent.core.raft.fast.witness import Witness
from agent.core.raft.log import RaftLog
from agent.core.raft.messages import Message
from agent.core.replica.io import Changed, Deliver, Effect, Persist, Refused, Send
from agent.core.replica.log import Entry, HardState, Members, Recovered

FOLLOWER: Final = 0
PRECANDIDATE: Final = 1
CANDIDATE: Final = 2
LEADER: Final = 3
ROLE_NAMES: Final = ("follower", "candidate", "candidate", "leader")


class Chance(Protocol):
    """Where random choices come from; `random.Random` fits."""

    def random(self) -> float: ...


class Counters:
    """What happened since the start, for metrics."""

    def __init__(self) -> None:
        self.elections = 0
        """Times that this replica stood (pre-votes not counted)."""
        self.wins = 0
        self.transfers = 0
        self.snapshots_sent = 0
        self.snapshots_received = 0
        self.rejected_appends = 0
        self.ignored = 0
        """Messages that were old, or not for us."""
        self.reads = 0
        self.lease_reads = 0
        self.fast_decided = 0
        self.fast_ordered = 0
        """Submitted the fast way, and committed before it was decided, or in its place in the log."""
        self.fast_lost = 0


class Desk:
    def __init__(self, me: int, config: RaftConfig, chance: Chance, recovered: Recovered, now: float) -> None:
        self.me = me
        self.config = config
        self.chance = chance
        self.now = now
        self.log = RaftLog(recovered)
        # Entries and term are written in order, but a crash between two files may show the entries first.
        self.term = max(recovered.hard.term, self.log.last_term)
        self.vote = recovered.hard.vote if recovered.hard.term == self.term else 0
        self.extra = recovered.hard.extra
        self.witness = Witness(config.max_held, config.max_held_bytes, self.extra, now)
        self.fast_index = 0
        """A leader's: the last entry that was said to be as good as committed."""
        self.watched: Callable[[tuple[Entry, ...]], None] | None = None
        """Told of entries before they are delivered."""
        self.to_self: list[Message] = []
        """What we said to ourselves, durable now."""
        self.commit = max(self.log.offset, min(recovered.hard.commit, self.log.last))
        self.delivered = self.log.offset
        self.applied = self.log.offset
        self.role = FOLLOWER
        self.leader = 0
        self.heard_at = now
        """When a leader was last heard. A start counts: before it, a promise may have been made to one."""
        self.timeout_s = config.election_s
        self.deadline = inf
        """When to stand for election."""
        self.removed = False
        self.was_member = self.is_member
        self.writable = True
        self.disk_s = 0.0
        self.out: list[Effect] = []
        self.counters = Counters()
        self.number = 0
        """Of the latest `Persist`; `stored`: of the latest that is durable."""
        self.stored = 0
        self.hard_dirty = self.term != recovered.hard.term
        self.commit_dirty = False
        self.commit_saved = self.commit
        self.resign = ""
        """Why a leader is to step down at the end of this step; empty: it is not."""
        self.held: deque[tuple[int, int, Message]] = deque()
        self.why = ""
        self.announced = (-1, False, -1, 0)
        self.member = self.was_member
        self.announced_members: Members | None = None

    @property
    def members(self) -> Members:
        return self.log.configs[-1][1]

    @property
    def is_voter(self) -> bool:
        members = self.members
        return self.me in members.voters or self.me in members.outgoing

    @property
    def role_name(self) -> str:
        if self.role != FOLLOWER:
            return ROLE_NAMES[self.role]
        if self.is_gone:
            return "removed"
        return "follower" if self.is_voter else "learner"

    @property
    def is_gone(self) -> bool:
        """Told so, or seen to be committed. Who is not a member *yet* (an old snapshot does not name it) is a learner."""
        return self.removed or (self.was_member and not self.is_member and self.log.members_index <= self.commit)

    @property
    def is_member(self) -> bool:
        return self.is_voter or self.me in self.members.learners

    def priority(self, member: int) -> int:
        for peer in self.members.peers:
            if peer.id == member:
                return peer.priority
        return 1

    # -- effects

    def send(self, to: int, message: Message) -> None:
        self.out.append(Send(to, message))

    def say_when_stored(self, to: int, message: Message) -> None:
        """Send it when everything up to the end of this step is durable. Dropped if the term is another by then."""
        self.held.append((self.number + (1 if self.is_dirty else 0), to, message))

    def refuse(self, ticket: int, reason: str) -> None:
        self.out.append(Refused(ticket, reason, self.leader if self.leader != self.me else 0))

    @property
    def is_dirty(self) -> bool:
        return self.hard_dirty or self.log.unsaved <= self.log.last

    def set_term(self, term: int, vote: int = 0) -> None:
        assert term > self.term or (term == self.term and self.vote in (0, vote)), "a term has one vote"
        self.term = term
        self.vote = vote
        self.hard_dirty = True

    def commit_to(self, index: int) -> bool:
        """Everything up to `index` is committed: give it to the state machine. False: known already."""
        if index <= self.commit:
            return False
        log = self.log
        assert index <= log.last, "committed what is not here"
        self.commit = index
        self.deliver()
        return True

    def deliver(self) -> None:
        if self.delivered < self.commit:
            entries = self.log.between(self.delivered, self.commit)
            if self.watched is not None:
                self.watched(entries)
            if self.witness.commands:
                self.witness.forget_entries(entries)
            self.out.append(Deliver(entries))
            self.delivered = self.commit

    def stored_up_to(self, number: int) -> None:
        """A write is durable: let go of what waited for it."""
        assert number <= self.number, "stored what was not written"
        self.stored = max(self.stored, number)
        self.log.stored(number)
        held = self.held
        while held and held[0][0] <= number:
            _, to, message = held.popleft()
            if message.term != self.term:
                continue
            if to == self.me:
                self.to_self.append(message)
            else:
                self.out.append(Send(to, message))

    def save_commit(self) -> None:
        """Now and then, for a quicker start: nothing rests on it."""
        self.commit_dirty = self.commit_saved < self.commit

    def finish(self) -> tuple[Effect, ...]:
        """The effects of this step: what is to be written first. A disk that takes nothing leaves it for later."""
        out = self.out
        if (self.hard_dirty or self.log.unsaved <= self.log.last or self.commit_dirty) and self.writable:
            self._write()
        members = self.log.configs[-1][1]
        if members is not self.announced_members:
            self.member = self.is_member
            self.was_member = self.was_member or self.member
        now_known = (self.role, (self.removed or not self.member) and self.is_gone, self.term, self.leader)
        if now_known != self.announced or self.announced_members is not members:
            self.announced, self.announced_members = now_known, members
            out.append(Changed(self.role_name, self.term, self.leader, self.members, self.why))
            self.why = ""
        if not out:
            return ()
        effects = tuple(out)
        out.clear()
        return effects

    def _write(self) -> None:
        log = self.log
        self.number += 1
        entries = log.between(log.unsaved - 1, log.last) if log.unsaved <= log.last else ()
        sync = self.hard_dirty or bool(entries)
        log.saved(self.number)
        if self.witness.changed:
            self.extra = self.witness.encoded()
        self.hard_dirty = self.commit_dirty = False
        self.commit_saved = self.commit
        self.out.insert(0, Persist(self.number, HardState(self.term, self.vote, self.commit, self.extra), entries, sync))
