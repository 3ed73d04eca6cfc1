"""Requests from their origin to the primary, the timers by which a silent primary is noticed (4.1, 4.4), and answers to tickets.

The paper's client is here the agent that proposes: it signs its commands, so that no primary can invent any, and sends them to the
primary; after `relay_s` to everybody, who then watch the primary as well.
"""

from collections.abc import Callable
from math import inf

from agent.core.pbft.board import Board
from agent.core.pbft.messages import PrePrepare, Request, StableProof, Status
from agent.core.pbft.normal import Normal
from agent.core.pbft.state import Placed, State, is_done
from agent.core.pbft.transfer import Giver
from agent.core.pbft.views import Views
from agent.core.replica.io import Proposed, Refused
from agent.core.replica.log import NOOP, Entry

RESERVED = 1 << 20
"""Numbers that are marked as used on disk before the first of them is: none is ever used twice."""
RESENT = 8
"""Batches whose messages are sent again in answer to one status."""
COMMAND_BYTES = 32
"""What a command costs beside its octets, generously."""


class Requests:
    def __init__(self, board: Board, normal: Normal, views: Views) -> None:
        self._board = board
        self._desk = board.desk
        self._normal = normal
        self._views = views
        self._number = 0
        self.ready = False
        """The reservation of numbers is on disk."""
        self._reads: dict[int, tuple[int, Callable[[int, int], None]]] = {}
        """Marks of reads that are ordered: by request number, the question and whom to tell."""
        self._answered: dict[int, float] = {}

    # -- one's own

    def begin(self) -> None:
        self._number = self._board.reserved
        self._board.reserved += RESERVED
        self._desk.dirty = True

    def stored(self) -> None:
        if not self.ready:
            self.ready = True
            self.entered()

    def propose(self, items: tuple[tuple[int, bytes], ...], kind: int) -> None:
        """As few requests as the bounds allow."""
        config = self._board.config
        tickets: list[int] = []
        commands: list[bytes] = []
        size = 0
        for ticket, command in items:
            cost = len(command) + COMMAND_BYTES
            if cost > config.max_batch_bytes:
                self._desk.out.append(Refused(ticket, "too_large", self._board.desk.primary(self._board.view)))
                continue
            if commands and (size + cost > config.max_batch_bytes or len(commands) >= config.max_request_items):
                self._request(tuple(tickets), tuple(commands), kind)
                tickets, commands, size = [], [], 0
            tickets.append(ticket)
            commands.append(command)
            size += cost
        if commands:
            self._request(tuple(tickets), tuple(commands), kind)

    def _request(self, tickets: tuple[int, ...], commands: tuple[bytes, ...], kind: int) -> int:
        board, desk = self._board, self._desk
        if not board.pending.room(desk.me) or self._number + 1 >= board.reserved:
            desk.out += [Refused(ticket, "busy", desk.primary(board.view)) for ticket in tickets]
            return 0
        self._number += 1
        if self._number + RESERVED // 2 > board.reserved:
            board.reserved += RESERVED
            desk.dirty = True
        request = desk.signed(Request(desk.me, self._number, kind, commands))
        board.pending.add(request, desk.now, tickets)
        if self.ready and board.active:
            desk.send(desk.primary(board.view), request)
        return self._number

    def mark(self, nonce: int, ordered: Callable[[int, int], None], refuse: Callable[[int, str], None]) -> None:
        """A read that its answers did not decide: its place in the order does."""
        number = self._request((), (b"",), NOOP)
        if number:
            self._reads[number] = (nonce, ordered)
        else:
            refuse(nonce, "busy")

    def entered(self) -> None:
        """A view begins: its primary gets what waits here."""
        board, desk = self._board, self._desk
        if board.active and self.ready:
            for waiting in board.pending.mine(desk.me):
                desk.send(desk.primary(board.view), waiting.request)

    # -- others'

    def on_request(self, sender: int, request: Request) -> None:
        board, desk = self._board, self._desk
        if request.origin not in desk.everyone:
            desk.blame(sender, "malformed")
            return
        if is_done(board.executed.table, request.origin, request.number):
            return
        if board.pending.get(request.origin, request.number) is not None or not board.pending.room(request.origin):
            return
        if not self._normal.is_authentic(request):
            desk.blame(sender, "signature", request)
            return
        board.pending.add(request, desk.now)
        if board.active and not board.is_primary and sender == request.origin:
            # Shown to all because the primary did not take it up: perhaps it never got it (4.1).
            desk.send(desk.primary(board.view), request)

    # -- answers

    def executed(self, placed: Placed) -> None:
        for origin, number, index in placed:
            if origin == self._desk.me and number in self._reads:
                nonce, ordered = self._reads.pop(number)
                ordered(nonce, index)

    def caught_up(self, state: State, entries: tuple[Entry, ...]) -> None:
        """What was executed elsewhere: one's own commands are found by their octets, or, behind a snapshot, not at all."""
        board, desk = self._board, self._desk
        where = {entry.data: entry for entry in entries}
        for waiting in board.pending.all():
            request = waiting.request
            if not is_done(state.table, request.origin, request.number):
                continue
            board.pending.done(request.origin, request.number)
            if request.origin == desk.me and request.number in self._reads:
                nonce, ordered = self._reads.pop(request.number)
                ordered(nonce, state.index)
            for ticket, item in zip(waiting.tickets, request.items, strict=False):
                entry = where.get(item)
                desk.out.append(Refused(ticket, "lost") if entry is None else Proposed(ticket, entry.index, entry.term))

    # -- time

    def tick(self) -> None:
        board, desk = self._board, self._desk
        # To everybody also where this member waits for a view that nobody else wants: theirs goes on, and serves it.
        for waiting in board.pending.mine(desk.me) if self.ready else ():
            if waiting.show_at(board.config.relay_s) <= desk.now:
                waiting.shown = desk.now
                desk.send_all(waiting.request)
        if desk.voting and board.active and board.pending.oldest() + self._views.timeout_s() <= desk.now:
            desk.blame(desk.primary(board.view), "silence")
            self._views.give_up("a request waited too long")

    def next_wake(self) -> float:
        board = self._board
        show = min((one.show_at(board.config.relay_s) for one in board.pending.mine(self._desk.me)), default=inf) if self.ready else inf
        return min(show, board.pending.oldest() + self._views.timeout_s()) if self._desk.voting and board.active else show

    # -- what was lost on the way

    def catch_up(self, sender: int, status: Status, views: Views, giver: Giver) -> None:
        """What the sender lacks, at most twice in `status_s`."""
        board, desk = self._board, self._desk
        if desk.now - self._answered.get(sender, -inf) < board.config.status_s / 2:
            return
        self._answered[sender] = desk.now
        if status.view < board.view or (status.view == board.view and not status.active):
            if board.active and views.new_view is not None:
                desk.send(sender, views.new_view)
            elif not board.active and views.own is not None:
                desk.send(sender, views.own)
        if status.stable < board.best_proof():
            desk.send(sender, StableProof(board.proof))
        giver.resend(sender)
        same = board.active and status.active and status.view == board.view
        for seq in range(status.executed + 1, status.executed + 1 + RESENT):
            slot = board.slots.find(seq)
            if slot is None:
                continue
            if same and board.is_primary and slot.proposal is not None and slot.batch is not None and slot.batch.view == board.view:
                desk.send(sender, PrePrepare(slot.proposal, slot.batch))
            if same and (prepare := slot.prepares.get(desk.me)) is not None:
                desk.send(sender, prepare)
            if slot.decision is not None:
                desk.send(sender, slot.decision)
            elif (commit := slot.commits.get(desk.me)) is not None:
                desk.send(sender, commit)
        for checkpoint in board.checkpoints.of(desk.me):
            if checkpoint.seq > status.stable:
                desk.send(sender, checkpoint)
