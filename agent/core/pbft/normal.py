"""Normal-case operation (4.2): pre-prepare, prepare, commit, and execution in the order of the numbers.

Two rules go beyond the paper's text and are argued in docs/decisions: proposals are accepted in the order of their numbers, so that
a batch's entries have their place in the log when it is written; and a batch is executed when a quorum has committed to it even where
it was not prepared here: f + 1 correct members prepared it, which is what makes it committed.
"""

from collections.abc import Callable

from agent.core.pbft.board import Board, Diverged
from agent.core.pbft.certificates import wrong_with_decision
from agent.core.pbft.messages import (
    NULL,
    Batch,
    BatchIs,
    Checkpoint,
    Commit,
    Decision,
    FetchBatch,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    Request,
)
from agent.core.pbft.slots import Slot
from agent.core.pbft.state import Placed, is_done, render
from agent.core.pbft.wire import KINDS, batch_digest
from agent.core.replica.io import Deliver, Proposed, TakeSnapshot

Acceptable = Callable[[int, bytes], bool]
"""May this origin propose this command now? What a primary's choice must not decide alone is checked here (4.6)."""


def anything(origin: int, command: bytes) -> bool:
    return True


class Normal:
    """`give_up(why)`: leave this view. `executed(placed)`: a batch was. `try_stable(seq)`: is there a stable checkpoint now?"""

    def __init__(self, board: Board, give_up: Callable[[str], None], executed: Callable[[Placed], None], acceptable: Acceptable) -> None:
        self._board = board
        self._desk = board.desk
        self._give_up = give_up
        self._executed = executed
        self._acceptable = acceptable
        self.try_stable: Callable[[int], None] = lambda seq: None

    # -- proposing

    def propose(self) -> None:
        """Batches from what waits, while the watermarks and the bound of what is under way allow."""
        board = self._board
        while board.is_primary and board.slots.has(board.next_seq):
            if board.accepted + 1 != board.next_seq or board.accepted - board.executed.seq >= board.config.max_inflight:
                return
            batch = board.pending.take(board.view)
            if batch is None:
                return
            proposal = self._desk.signed(Proposal(board.view, board.next_seq, batch_digest(batch)))
            board.next_seq += 1
            self._desk.send_all(PrePrepare(proposal, batch))
            slot = board.slots.at(proposal.seq)
            slot.offered, slot.offered_batch = proposal, batch
            self.advance()

    # -- pre-prepare

    def on_pre_prepare(self, sender: int, message: PrePrepare) -> None:
        board, proposal, batch = self._board, message.proposal, message.batch
        if not board.active or proposal.view != board.view:
            return
        if not board.slots.has(proposal.seq):
            self._note_beyond(sender, proposal.seq)
            return
        slot = board.slots.at(proposal.seq)
        known = slot.proposal or slot.offered or board.offers.get(proposal.seq)
        if known is not None:
            if known.digest != proposal.digest:
                if self._desk.equivocation(known, proposal):
                    self._give_up("the primary proposed two batches for one place")
            else:
                self.fill(slot, known.digest, batch)
            return
        if not self._desk.proves(self._desk.primary(board.view), proposal):
            self._desk.blame(sender, "signature", message)
        elif batch.view != board.view or not batch.requests or batch_digest(batch) != proposal.digest or not self._is_sound(batch):
            # What a signature of the primary's does not cover, its messenger may have spoilt.
            self._desk.blame(sender, "proposal", message)
        else:
            slot.offered, slot.offered_batch = proposal, batch
            if slot.seq <= board.executed.seq:
                self._accept(slot, proposal, batch)
            else:
                self.advance()

    def _is_sound(self, batch: Batch) -> bool:
        config = self._board.config
        if len(batch.requests) > config.max_batch_requests:
            return False
        size = 0
        for request in batch.requests:
            size += sum(map(len, request.items))
            if not self.is_authentic(request) or (len(batch.requests) > 1 and size > 2 * config.max_batch_bytes):
                return False
        return True

    def is_authentic(self, request: Request) -> bool:
        """Its origin is a member and signed it: a primary cannot invent commands."""
        board = self._board
        if request.kind not in KINDS or request.origin not in self._desk.everyone or len(request.items) > board.config.max_request_items:
            return False
        if not board.pending.knows(request):
            if not self._desk.proves(request.origin, request):
                return False
        return is_done(board.executed.table, request.origin, request.number) or all(
            self._acceptable(request.origin, item) for item in request.items
        )

    def _note_beyond(self, sender: int, seq: int) -> None:
        board = self._board
        if seq > board.slots.low + 4 * board.config.window:
            self._desk.blame(sender, "window")

    def fill(self, slot: Slot, digest: bytes, batch: Batch) -> None:
        """A batch that a proposal, a certificate or a decision of this slot's was lacking."""
        if slot.content(digest) is not None or batch_digest(batch) != digest:
            return
        if slot.cert is not None and slot.cert.digest == digest:
            slot.cert_batch = batch
        elif slot.decided == digest and (slot.seq > self._board.executed.seq):
            slot.batch, slot.digest, slot.after = batch, digest, None
        else:
            slot.offered = slot.offered or self._board.offers.get(slot.seq)
            if slot.offered is None or slot.offered.digest != digest:
                return
            slot.offered_batch = batch
        self._board.wants.pop(slot.seq, None)
        self.advance()

    def advance(self) -> None:
        """Execute what is decided and accept what is offered, in the order of the numbers."""
        self.execute()
        self._accept_offers()
        self.execute()

    def _accept_offers(self) -> None:
        board = self._board
        while True:
            seq = board.accepted + 1
            if not board.slots.has(seq):
                board.accepted = max(board.accepted, min(board.slots.low, board.executed.seq))
                if board.accepted < seq:
                    return
                continue
            slot = board.slots.find(seq)
            offered = board.offers.get(seq) or (slot.offered if slot is not None else None)
            if offered is None:
                if seq > board.executed.seq:
                    return
                board.accepted = seq
                continue
            slot = board.slots.at(seq)
            slot.offered = offered
            if seq > board.executed.seq and board.base_of(seq) is None:
                return
            batch = slot.content(offered.digest)
            if batch is None:
                board.want(seq, offered.digest)
                return
            board.accepted = seq
            self._accept(slot, offered, batch)

    def _accept(self, slot: Slot, proposal: Proposal, batch: Batch) -> None:
        board, desk = self._board, self._desk
        if slot.seq <= board.executed.seq:
            if slot.decided and slot.decided != proposal.digest:
                raise Diverged(f"batch {slot.seq} was executed, and view {proposal.view} proposes another")
        elif slot.decided and slot.decided != proposal.digest:
            return
        slot.proposal = proposal
        slot.offered = slot.offered_batch = None
        if slot.seq > board.executed.seq:
            base = board.base_of(slot.seq)
            assert base is not None
            slot.batch, slot.digest = batch, proposal.digest
            slot.entries, slot.after, slot.placed = render(base, slot.seq, batch, board.ends)
            board.write(slot.entries)
        board.pending.note_proposed(batch, board.view)
        desk.dirty = True
        if desk.voting and desk.primary(proposal.view) != desk.me:
            desk.hold(desk.signed(Prepare(proposal.view, proposal.seq, proposal.digest, desk.me, proposal.sig)))
        self.settle(slot)

    # -- prepare and commit

    def on_prepare(self, sender: int, message: Prepare) -> None:
        board, desk = self._board, self._desk
        if not board.active or message.view != board.view:
            return
        if not board.slots.has(message.seq):
            self._note_beyond(sender, message.seq)
            return
        slot = board.slots.at(message.seq)
        primary = desk.primary(board.view)
        if message.sender in slot.prepares:
            return
        if message.sender not in desk.voters or message.sender == primary:
            desk.blame(sender, "malformed", message)
            return
        if sender != desk.me and not desk.proves(message.sender, message):
            desk.blame(sender, "signature", message)
            return
        slot.prepares[message.sender] = message
        known = slot.proposal or slot.offered
        if known is not None and known.digest != message.digest:
            if desk.equivocation(known, Proposal(message.view, message.seq, message.digest, message.shown)):
                self._give_up("the primary proposed two batches for one place")
                return
        self.settle(slot)

    def settle(self, slot: Slot) -> None:
        """prepared(m, v, n, i): the proposal, and prepares from a quorum less the primary that match it."""
        desk, proposal = self._desk, slot.proposal
        if proposal is None or (slot.cert is not None and slot.cert.view >= proposal.view):
            return
        matching = [(one.sender, one.sig) for _, one in sorted(slot.prepares.items()) if one.digest == proposal.digest]
        if len(matching) < desk.quorum - 1:
            return
        slot.cert = Prepared(proposal.view, slot.seq, proposal.digest, proposal.sig, tuple(matching[: desk.quorum - 1]))
        slot.cert_batch = slot.content(proposal.digest)
        desk.dirty = True
        if desk.voting:
            desk.hold(desk.signed(Commit(proposal.view, slot.seq, proposal.digest, desk.me)))

    def on_commit(self, sender: int, message: Commit) -> None:
        """Of any view: a quorum's commits to one batch in one view prove it, wherever this replica stands."""
        board, desk = self._board, self._desk
        if not board.slots.has(message.seq):
            self._note_beyond(sender, message.seq)
            return
        slot = board.slots.at(message.seq)
        known = slot.commits.get(message.sender)
        if slot.decision is not None or (known is not None and known.view >= message.view):
            return
        if message.sender not in desk.voters:
            desk.blame(sender, "malformed", message)
            return
        if sender != desk.me and not desk.proves(message.sender, message):
            desk.blame(sender, "signature", message)
            return
        slot.commits[message.sender] = message
        if vote := slot.agreed(desk.quorum):
            view, digest = vote
            votes = ((one.sender, one.sig) for _, one in sorted(slot.commits.items()) if (one.view, one.digest) == vote)
            self._decide(slot, Decision(view, slot.seq, digest, tuple(votes)))

    def on_decision(self, sender: int, message: Decision) -> None:
        board = self._board
        if board.slots.has(message.seq) and board.slots.at(message.seq).decision is None:
            if wrong_with_decision(self._desk, message):
                self._desk.blame(sender, "signature", message)
            else:
                self._decide(board.slots.at(message.seq), message)

    def _decide(self, slot: Slot, decision: Decision) -> None:
        if slot.decided and slot.decided != decision.digest:
            raise Diverged(f"two batches are committed at {slot.seq}")
        slot.decided, slot.decision = decision.digest, decision
        self._desk.dirty = True
        self.advance()

    # -- execution

    def execute(self) -> None:
        """What is decided, in order, without a gap."""
        board = self._board
        while not board.blank and (slot := board.slots.find(board.executed.seq + 1)) is not None and slot.decided:
            batch = slot.content(slot.decided)
            if batch is None:
                board.want(slot.seq, slot.decided)
                return
            stood = slot.digest == slot.decided and slot.after is not None
            if not stood:
                slot.batch, slot.digest = batch, slot.decided
                slot.entries, slot.after, slot.placed = render(board.executed, slot.seq, batch, board.ends)
                board.write(slot.entries)
                if slot.proposal is not None and slot.proposal.digest != slot.decided:
                    slot.proposal = None
            assert slot.after is not None
            before, board.executed = board.executed.chain, slot.after
            board.wants.pop(slot.seq, None)
            if not stood:
                self.render_again(slot.seq + 1)
            self._deliver(slot, before)

    def render_again(self, first: int) -> None:
        """Another batch than the accepted one stands before these."""
        board = self._board
        for seq in range(first, board.accepted + 1):
            slot = board.slots.find(seq)
            if slot is None:
                continue
            base = board.base_of(seq)
            if slot.batch is None or base is None:
                slot.after = None
                continue
            slot.entries, slot.after, slot.placed = render(base, seq, slot.batch, board.ends)
            board.write(slot.entries)

    def _deliver(self, slot: Slot, before: bytes) -> None:
        board, desk = self._board, self._desk
        for origin, number, index in slot.placed:
            waiting = board.pending.done(origin, number)
            if waiting is not None:
                desk.out += [Proposed(ticket, index + i, board.executed.term) for i, ticket in enumerate(waiting.tickets) if ticket]
        if slot.batch is not None:
            for request in slot.batch.requests:
                # Left out because it was executed before: its tickets were answered then.
                board.pending.done(request.origin, request.number)
        if slot.entries:
            board.history.extend(slot.entries)
            desk.out.append(Deliver(slot.entries))
        self._executed(slot.placed)
        if board.note_end(before, slot.entries) or slot.seq % board.config.checkpoint_interval == 0:
            self._checkpoint(slot.seq)

    def _checkpoint(self, seq: int) -> None:
        """4.3; also where the epoch ends. Every `snapshot_entries` a snapshot, too, at the same place everywhere."""
        board, desk = self._board, self._desk
        state = board.executed
        every = board.config.snapshot_entries
        if not state.ended and state.index // every > board.last_checkpoint // every:
            board.marks = (*board.marks, state)[-2:]
            desk.dirty = True
            desk.out.append(TakeSnapshot(state.index))
        board.last_checkpoint = state.index
        if desk.voting:
            desk.hold(desk.signed(Checkpoint(*state.body(), desk.me)))
        self.try_stable(seq)

    # -- batches asked for

    def on_fetch_batch(self, sender: int, message: FetchBatch) -> None:
        if message.digest != NULL and (batch := self._board.content(message.seq, message.digest)) is not None:
            self._desk.send(sender, BatchIs(message.seq, batch))

    def on_batch(self, sender: int, message: BatchIs) -> None:
        board = self._board
        wanted = board.wants.get(message.seq)
        if wanted is None or not board.slots.has(message.seq):
            return
        if batch_digest(message.batch) != wanted[0]:
            self._desk.blame(sender, "state", message)
            return
        self.fill(board.slots.at(message.seq), wanted[0], message.batch)
