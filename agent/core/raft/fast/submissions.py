"""What came to this replica to be committed the fast way, and what its own witness accepts.

A command goes to all voters at once. It is decided when `keys.needed` of them, the leader among them, have accepted it in one term, each
durably: then it will stand in the log of every leader to come, before whatever conflicts with it and begins later.
"""

from collections import deque
from math import inf

from agent.core.raft.desk import CANDIDATE, Desk
from agent.core.raft.fast.keys import KEYS_MAX, needed
from agent.core.raft.fast.ordering import RELAYED
from agent.core.raft.messages import FastAnswer, FastRecord, FastReply, Record
from agent.core.replica.io import FastDecided, FastPropose, FastUndecided, Proposed
from agent.core.replica.log import Entry

RELAY_MAX = 64


class Submission:
    def __init__(self, ticket: int, command: bytes, term: int, until: float) -> None:
        self.ticket = ticket
        self.command = command
        self.term = term
        self.until = until
        self.accepted: set[int] = set()
        self.refused: set[int] = set()
        self.index = 0
        """Where the leader put it."""
        self.config = 0
        """The index of the leader's members when it accepted; 0: it did not."""


class Submissions:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # Not from 0: an answer to an earlier life must not fit.
        self._number = int(desk.chance.random() * (1 << 50))
        self._open: dict[int, Submission] = {}
        self._by_command: dict[bytes, int] = {}
        self._due: deque[tuple[float, int]] = deque()
        self._relayed: list[bytes] = []
        self._relay_at = 0.0

    @property
    def is_empty(self) -> bool:
        return not self._open

    @property
    def wake_at(self) -> float:
        return self._due[0][0] if self._due else inf

    def on_propose(self, event: FastPropose) -> FastRecord | None:
        """To all voters; what is returned is for our own witness."""
        desk = self._desk
        records = []
        until = desk.now + desk.config.fast_timeout_s
        for ticket, command, keys in event.items:
            if not desk.leader:
                desk.refuse(ticket, "not_leader")
            elif len(command) > desk.config.max_command_bytes:
                desk.refuse(ticket, "too_large")
            elif len(keys) > KEYS_MAX or command in self._by_command or len(self._open) >= desk.config.max_submissions:
                desk.refuse(ticket, "busy")
            else:
                self._number += 1
                self._open[self._number] = Submission(ticket, command, desk.term, until)
                self._by_command[command] = self._number
                self._due.append((until, self._number))
                records.append(Record(self._number, keys, command))
        if not records:
            return None
        message = FastRecord(desk.term, tuple(records))
        members = desk.members
        for voter in members.voters:
            if voter != desk.me:
                desk.send(voter, message)
        if desk.leader not in members.voters:
            desk.send(desk.leader, message)
        return message if desk.me in members.voters else None

    # -- the witness

    def on_record(self, sender: int, message: FastRecord) -> None:
        """Of this term, and not from a leader's point of view: hold it if it conflicts with nothing."""
        desk = self._desk
        taken = message.term == desk.term and desk.role != CANDIDATE and desk.writable
        answers = []
        for record in message.records:
            accepted = taken and desk.witness.accept(record.command, record.keys, desk.now)
            answers.append(FastAnswer(record.number, accepted, 0))
        reply = FastReply(desk.term, 0, tuple(answers))
        if any(answer.accepted for answer in answers):
            if desk.witness.changed:
                desk.hard_dirty = True
            desk.say_when_stored(sender, reply)
        elif sender == desk.me:
            self.on_reply(sender, reply)
        else:
            desk.send(sender, reply)

    def on_heartbeat(self) -> None:
        """Commands that are held for long: their submitter may be gone before the leader had them. It is asked to order them."""
        desk = self._desk
        if not desk.witness.commands or desk.now < self._relay_at:
            return
        self._relayed = desk.witness.older_than(desk.now - desk.config.fast_hold_s, RELAY_MAX)
        if self._relayed:
            self._relay_at = desk.now + desk.config.fast_hold_s
            records = [Record(RELAYED + place, desk.witness.commands[one][0], one) for place, one in enumerate(self._relayed)]
            desk.send(desk.leader, FastRecord(desk.term, tuple(records)))

    # -- answers

    def on_reply(self, sender: int, message: FastReply) -> None:
        desk = self._desk
        for answer in message.answers:
            if answer.number >= RELAYED:
                place = answer.number - RELAYED
                if 0 < answer.index <= desk.commit and place < len(self._relayed):
                    desk.witness.forget(self._relayed[place])
                continue
            one = self._open.get(answer.number)
            if one is not None and message.term == one.term:
                self._count(answer.number, one, sender, message.config, answer)

    def _count(self, number: int, one: Submission, sender: int, config: int, answer: FastAnswer) -> None:
        desk = self._desk
        (one.accepted if answer.accepted else one.refused).add(sender)
        if sender == desk.leader:
            one.index = answer.index
            if answer.accepted:
                one.config = config
            elif answer.index:
                self._end_ordered(number, one)
                return
            else:
                self._give_up(number)
                return
        voters = desk.members.voters
        enough = needed(len(voters))
        if one.config and one.config == desk.log.members_index:
            if len([voter for voter in voters if voter in one.accepted]) >= enough:
                self._forget(number, one)
                desk.counters.fast_decided += 1
                desk.out.append(FastDecided(one.ticket, one.index, one.term))
                return
        if one.index and len([voter for voter in voters if voter not in one.refused]) < enough:
            self._end_ordered(number, one)

    def _end_ordered(self, number: int, one: Submission) -> None:
        """Not decided by votes: it is when it is committed."""
        self._forget(number, one)
        desk = self._desk
        desk.counters.fast_ordered += 1
        if one.index > desk.delivered:
            desk.out.append(Proposed(one.ticket, one.index, one.term))
        else:
            desk.out.append(FastUndecided(one.ticket))

    def on_delivered(self, entries: tuple[Entry, ...]) -> None:
        """Committed before it was decided, or before we heard so: its outcome is near."""
        for entry in entries:
            number = self._by_command.get(entry.data)
            if number is not None:
                one = self._open[number]
                self._forget(number, one)
                self._desk.counters.fast_ordered += 1
                self._desk.out.append(Proposed(one.ticket, entry.index, entry.term))

    def _forget(self, number: int, one: Submission) -> None:
        del self._open[number]
        del self._by_command[one.command]
        while self._due and self._due[0][1] not in self._open:
            self._due.popleft()

    def _give_up(self, number: int) -> None:
        one = self._open[number]
        if one.index:
            self._end_ordered(number, one)
        else:
            self._forget(number, one)
            self._desk.counters.fast_lost += 1
            self._desk.out.append(FastUndecided(one.ticket))

    def on_leader_changed(self) -> None:
        for number in list(self._open):
            self._give_up(number)

    def on_wake(self) -> None:
        while self._due and self._due[0][0] <= self._desk.now:
            number = self._due.popleft()[1]
            if number in self._open:
                self._give_up(number)
