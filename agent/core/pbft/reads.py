"""From which index on a read is linearizable: by the answers of a quorum, else in the order of the writes.

Every voter answers the highest index that is prepared with it (the paper's read-only requests ask for equal *results*, 4.1; here the
state machine is beside the origin, which needs an index only). The read may be served from index c when
- a quorum's answers are at most c: what was committed before at index i is prepared at f + 1 correct members at least, one of them
  is in this quorum, and it answered i or more; so c >= i;
- f + 1 answers are at least c: a correct member has it prepared, so that liars cannot put it out of reach.
With all answers there always is such a c; with a quorum's only, if they agree. Else the read is ordered.
"""

from math import inf

from msgspec import Struct

from agent.core.pbft.board import Board
from agent.core.pbft.messages import ReadAnswer, ReadAsk
from agent.core.replica.io import ReadReady, Refused


class Asked(Struct, gc=False):
    """`index`: what was decided and is not executed yet; -1 before."""

    tickets: list[int]
    until: float
    answers: dict[int, int]
    index: int = -1
    ordered: bool = False


def decide(answers: list[int], quorum: int, faults: int) -> int | None:
    """The least index that the rule above allows."""
    ordered = sorted(answers)
    for index in ordered:
        below = sum(1 for one in ordered if one <= index)
        above = sum(1 for one in ordered if one >= index)
        if below >= quorum and above > faults:
            return index
    return None


class Reads:
    """Tickets of one step share a question. `order(nonce)` puts a mark into the log, whose execution calls `ordered`."""

    def __init__(self, board: Board, first_nonce: int) -> None:
        self._board = board
        self._desk = board.desk
        self._nonce = first_nonce
        self._asked: dict[int, Asked] = {}
        self._gathering: list[int] = []
        self._tickets = 0

    def ask(self, ticket: int) -> None:
        if self._tickets >= self._board.config.reads_max:
            self._desk.out.append(Refused(ticket, "busy"))
            return
        self._tickets += 1
        self._gathering.append(ticket)

    def flush(self) -> None:
        """At the end of a step: one question for all that was asked in it."""
        if self._gathering:
            self._nonce += 1
            self._asked[self._nonce] = Asked(self._gathering, self._desk.now + self._board.config.read_s, {})
            self._gathering = []
            self._desk.send_all(ReadAsk(self._nonce))
            own = self._board.prepared_index() if self._desk.voting else None
            if own is not None:
                self._note(self._nonce, self._desk.me, own)

    def on_ask(self, sender: int, message: ReadAsk) -> None:
        index = self._board.prepared_index()
        if index is not None and self._desk.voting:
            self._desk.send(sender, self._desk.signed(ReadAnswer(message.nonce, index, self._desk.me)))

    def on_answer(self, sender: int, message: ReadAnswer) -> None:
        asked = self._asked.get(message.nonce)
        if asked is None or message.sender not in self._desk.voters or message.sender in asked.answers:
            return
        if self._desk.proves(message.sender, message):
            self._note(message.nonce, message.sender, message.index)
        else:
            self._desk.blame(sender, "signature", message)

    def _note(self, nonce: int, sender: int, index: int) -> None:
        asked = self._asked[nonce]
        asked.answers[sender] = index
        if asked.index < 0:
            found = decide(list(asked.answers.values()), self._desk.quorum, self._desk.f)
            if found is not None:
                asked.index = found
                self.settle()

    def settle(self) -> None:
        """Answer those whose index is executed."""
        executed = self._board.executed.index
        for nonce in [nonce for nonce, asked in self._asked.items() if 0 <= asked.index <= executed]:
            self._answer(nonce, self._asked[nonce].index)

    def _answer(self, nonce: int, index: int) -> None:
        asked = self._asked.pop(nonce)
        self._tickets -= len(asked.tickets)
        self._desk.out += [ReadReady(ticket, index) for ticket in asked.tickets]

    def overdue(self) -> list[int]:
        """Questions to order instead, each given once."""
        late = []
        for nonce, asked in self._asked.items():
            if not asked.ordered and asked.until <= self._desk.now:
                asked.ordered = True
                asked.until = inf
                late.append(nonce)
        return late

    def refuse(self, nonce: int, reason: str) -> None:
        asked = self._asked.pop(nonce, None)
        if asked is not None:
            self._tickets -= len(asked.tickets)
            self._desk.out += [Refused(ticket, reason) for ticket in asked.tickets]

    def ordered(self, nonce: int, index: int) -> None:
        """The mark of this question stands at this index."""
        if nonce in self._asked:
            self._answer(nonce, index)

    def next_wake(self) -> float:
        return min((asked.until for asked in self._asked.values()), default=inf)

    def __len__(self) -> int:
        return self._tickets
