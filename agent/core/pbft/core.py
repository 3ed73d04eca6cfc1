"""PBFT as a `Replica`: Castro and Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, with signatures; sections are that paper's.

Here: inputs to parts, requests and their timers, what is persisted and what is held back until it is. Rules stand in the parts:
`normal` (4.2), `certificates` and `views` (4.4), `transfer` (4.6), `reads` (4.1).
"""

from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from agent.core.pbft import messages as m
from agent.core.pbft.board import Board, Diverged
from agent.core.pbft.config import PbftConfig
from agent.core.pbft.desk import Desk, Sign, Verify
from agent.core.pbft.durable import decode_extra, encode_extra, restore
from agent.core.pbft.ending import EndProof, checked_end, encode_end
from agent.core.pbft.evidence import Suspicions
from agent.core.pbft.normal import Acceptable, Normal, anything
from agent.core.pbft.reads import Reads
from agent.core.pbft.requests import Requests
from agent.core.pbft.state import Ends, Placed, State, genesis, never
from agent.core.pbft.transfer import Giver, Laggard
from agent.core.pbft.views import Views
from agent.core.replica import io
from agent.core.replica.io import Deliver, Effect, Persist, ReadChunk, Refused
from agent.core.replica.log import Entry, HardState, Members, Recovered


class Pbft:
    """A member of a group of n >= 3f + 1 voters. `sign` makes this member's signature, `verify(member, octets, signature)` checks one.

    `acceptable(origin, command)`: commands that it turns down are not agreed to when a primary proposes them. `blank`: the state that
    is recovered is not the epoch's beginning; it is fetched. `ends`: is this command of kind EPOCH the epoch's last? Raises ValueError
    for a log that does not fit.
    """

    def __init__(
        self,
        me: int,
        config: PbftConfig,
        members: Members,
        recovered: Recovered,
        sign: Sign,
        verify: Verify,
        *,
        acceptable: Acceptable = anything,
        nonce: int = 0,
        blank: bool = False,
        ends: Ends = never,
    ) -> None:
        if not members.voters or members.outgoing:
            raise ValueError("a Byzantine group has its voters from the start of its epoch, and changes them with the next")
        self.members = members
        self.desk = Desk(me, members.voters, members.learners, config, sign, verify)
        term = max(recovered.snapshot.term, config.first_term)
        beginning = genesis(config.context, recovered.snapshot.index, term)
        self.board = board = Board(self.desk, beginning, ends)
        self._begun = bool(recovered.hard.extra)
        if self._begun:
            restore(board, decode_extra(recovered.hard.extra), recovered)
        else:
            board.marks = (board.stable,)
        board.blank = board.blank or blank
        self.laggard = Laggard(board, members, self._adopt, self._on_stable)
        self.giver = Giver(board)
        self.views = Views(board, members, self.laggard.behind, self._on_stable, self._on_entered)
        self.normal = Normal(board, self.views.give_up, self._on_executed, acceptable)
        self.normal.try_stable = self._try_stable
        self.requests = Requests(board, self.normal, self.views)
        self.reads = Reads(board, nonce)
        self._status_at = -inf
        self._writable = True
        self._compacted = recovered.snapshot.index
        self._snapshot = recovered.snapshot
        self._waking = True
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[..., None]]:
        normal, views, laggard, giver = self.normal, self.views, self.laggard, self.giver
        return {
            m.Request: self.requests.on_request,
            m.PrePrepare: normal.on_pre_prepare,
            m.Prepare: normal.on_prepare,
            m.Commit: normal.on_commit,
            m.Decision: normal.on_decision,
            m.Checkpoint: self._on_checkpoint,
            m.ViewChange: views.on_view_change,
            m.NewView: views.on_new_view,
            m.Status: self._on_status,
            m.StableProof: laggard.on_proof,
            m.FetchBatch: normal.on_fetch_batch,
            m.BatchIs: normal.on_batch,
            m.FetchEntries: giver.on_fetch_entries,
            m.EntriesAre: laggard.on_entries,
            m.Vouch: giver.on_vouch,
            m.Offer: laggard.on_offer,
            m.FetchChunk: self._on_fetch_chunk,
            m.Part: laggard.on_part,
            m.ReadAsk: self.reads.on_ask,
            m.ReadAnswer: self.reads.on_answer,
        }

    # -- the contract

    @property
    def leader(self) -> int:
        return self.desk.primary(self.board.view) if self.board.active else 0

    @property
    def commit(self) -> int:
        return self.board.executed.index

    @property
    def suspicions(self) -> Suspicions:
        return self.desk.suspicions

    @property
    def proven_index(self) -> int:
        """Up to here a quorum has signed what the state is."""
        return self.board.stable.index if self.board.proof and not self.laggard.target else 0

    def end_proof(self) -> bytes:
        """What convinces another member that the epoch is over: for when `proven_index` has reached its last entry."""
        assert self.board.end is not None
        before, entry = self.board.end
        return encode_end(EndProof(self.board.proof, before, entry))

    def check_end(self, proof: bytes) -> Entry | None:
        """The epoch's last entry, if this proves it; what it proves of the state here is taken over."""
        end = checked_end(self.desk, proof)
        if end is None or not self.board.ends(end.entry.data):
            return None
        self.laggard.on_proof(0, m.StableProof(end.checkpoints))
        return end.entry

    def step(self, now: float, event: io.Input) -> tuple[Effect, ...]:
        desk = self.desk
        desk.now = now
        if self._waking:
            self._waking = False
            self._wake_up()
        if isinstance(event, io.Receive):
            self._receive(event.sender, event.message)
        elif isinstance(event, io.Stored):
            self._on_stored(event.number)
        elif isinstance(event, io.Propose):
            self._propose(event)
        elif isinstance(event, io.Read):
            self._read(event)
        else:
            self._other(event)
        self._due()
        if self.requests.ready:
            self.normal.propose()
        self.reads.settle()
        self.reads.flush()
        self._persist()
        out = tuple(desk.out)
        desk.out.clear()
        return out

    def next_wake(self) -> float:
        if self._waking:
            return -inf
        times = (self.requests.next_wake(), self.views.deadline, self.laggard.next_wake(), self.reads.next_wake(), self.board.wants_due())
        return min(self._status_at, *times)

    # -- inputs

    def _wake_up(self) -> None:
        """The first step of a life: what was committed before is applied again, and a primary that was away gives way: it may have
        proposed what it does not remember."""
        board, desk = self.board, self.desk
        entries = board.history.between(board.history.first, board.executed.index, 1 << 62)
        while entries:
            desk.out.append(Deliver(entries))
            entries = board.history.between(entries[-1].index + 1, board.executed.index, 1 << 62)
        self._status_at = desk.now
        self.requests.begin()
        if not self._begun:
            desk.dirty = True
        elif desk.voting and not board.active:
            self.views.ask()
        elif board.is_primary:
            self.views.start(board.view + 1, "the primary has restarted")
        if desk.voting:
            self._say_checkpoints_again()
        if board.blank or self.laggard.target:
            self.laggard.begin()
        elif board.proof and board.proof[0].seq > board.executed.seq:
            proof, board.proof = board.proof, ()
            self.laggard.behind(proof)
        if self._snapshot.digest:
            self.giver.took(self._snapshot)

    def _receive(self, sender: int, message: object) -> None:
        handler = self._handlers.get(type(message))
        if handler is None or sender == self.desk.me or sender not in self.desk.everyone:
            self.desk.blame(sender if sender in self.desk.everyone else 0, "malformed")
            return
        handler(sender, message)

    def _other(self, event: io.Input) -> None:
        desk = self.desk
        if isinstance(event, io.SnapshotTaken):
            self._snapshot = event.meta
            self.giver.took(event.meta)
            self._compact()
        elif isinstance(event, io.SnapshotStored):
            if event.ok:
                self._snapshot = event.meta
            self.laggard.on_stored(event)
            if event.ok:
                self.giver.took(event.meta)
        elif isinstance(event, io.Chunk):
            if event.data is not None:
                desk.send(event.to, m.Part(event.meta.index, event.offset, event.data))
        elif isinstance(event, io.Storage):
            self._writable = event.writable
        elif isinstance(event, io.Change):
            desk.out.append(Refused(event.ticket, "invalid", self.leader))
        elif isinstance(event, io.Transfer):
            if self.board.is_primary and event.to in (0, desk.primary(self.board.view + 1)):
                self.views.give_up("handed over")
                desk.out.append(io.Proposed(event.ticket, 0, self.board.view))
            else:
                desk.out.append(Refused(event.ticket, "not_leader" if not self.board.is_primary else "invalid", self.leader))

    def _propose(self, event: io.Propose) -> None:
        if not self._writable or self.desk.me not in self.desk.everyone:
            reason = "read_only" if not self._writable else "stopped"
            self.desk.out += [Refused(ticket, reason, self.leader) for ticket, _ in event.items]
        else:
            self.requests.propose(event.items, event.kind)

    def _read(self, event: io.Read) -> None:
        """`lease` changes nothing: a Byzantine group has no leases."""
        self.reads.ask(event.ticket)

    # -- time

    def _due(self) -> None:
        desk, board = self.desk, self.board
        self.views.expire()
        self.requests.tick()
        board.ask_again()
        self.laggard.tick()
        for nonce in self.reads.overdue():
            self.requests.mark(nonce, self.reads.ordered, self.reads.refuse)
        if desk.now >= self._status_at:
            idle = board.active and not len(board.pending) and board.executed.seq == board.accepted and not self.laggard.busy
            self._status_at = desk.now + board.config.status_s * (5.0 if idle else 1.0)
            desk.send_all(m.Status(board.view, board.active, board.executed.seq, board.best_proof()))

    def _on_status(self, sender: int, message: m.Status) -> None:
        self.requests.catch_up(sender, message, self.views, self.giver)

    def _on_fetch_chunk(self, sender: int, message: m.FetchChunk) -> None:
        meta = self.giver.meta_for(sender, message.index)
        if meta is not None and message.offset <= meta.size:
            self.desk.out.append(ReadChunk(sender, meta, message.offset, self.board.config.fetch_bytes))

    # -- checkpoints (4.3)

    def _say_checkpoints_again(self) -> None:
        """Those that are not stable yet: nobody else remembers that this member has the state."""
        board, desk = self.board, self.desk
        for slot in board.slots.in_order():
            if slot.after is not None and board.best_proof() < slot.seq <= board.executed.seq:
                if slot.seq % board.config.checkpoint_interval == 0 or (slot.after.ended and slot.entries):
                    desk.hold(desk.signed(m.Checkpoint(*slot.after.body(), desk.me)))

    def _on_checkpoint(self, sender: int, message: m.Checkpoint) -> None:
        board, desk = self.board, self.desk
        if message.sender not in desk.voters:
            desk.blame(sender, "malformed", message)
        elif message.seq > board.slots.low:
            if sender != desk.me and not desk.proves(message.sender, message):
                desk.blame(sender, "signature", message)
                return
            if other := board.checkpoints.add(message):
                desk.blame(message.sender, "checkpoint", message, other)
            self._try_stable(message.seq)

    def _try_stable(self, seq: int) -> None:
        board, desk = self.board, self.desk
        groups = board.checkpoints.matching(seq)
        if not groups or len(groups[0]) < desk.quorum or seq <= board.best_proof():
            return
        for group in groups[1:]:
            for one in group:
                if one.sender != desk.me:
                    desk.blame(one.sender, "checkpoint", one)
        proof = groups[0][: desk.quorum]
        state = board.state_at(seq)
        if state is not None:
            self._on_stable(state, proof)
        else:
            self.laggard.behind(proof)

    def _on_stable(self, state: State, proof: tuple[m.Checkpoint, ...]) -> None:
        board = self.board
        if state.body() != proof[0].body():
            raise Diverged(f"a quorum has another state after batch {state.seq} than this member")
        if state.seq <= board.stable.seq:
            return
        board.stable, board.proof = state, proof
        board.slots.raise_low(state.seq)
        board.checkpoints.drop(state.seq)
        board.accepted = max(board.accepted, state.seq)
        board.next_seq = max(board.next_seq, board.accepted + 1)
        self.desk.dirty = True
        self._compact()
        self.normal.advance()

    def _compact(self) -> None:
        """Entries that are in a durable snapshot and below a stable checkpoint are needed by nobody who could not fetch the snapshot.
        The ones since the snapshot before are kept for those who lag a little."""
        board = self.board
        if not self.giver.proven(self._snapshot.index):
            return
        index = min(self._snapshot.index, board.stable.index, min((mark.index for mark in board.marks), default=0))
        if index > self._compacted:
            self._compacted = index
            board.history.compact(index)
            self.desk.out.append(io.Compact(index))

    # -- reached by others' help

    def _adopt(self, state: State, proof: tuple[m.Checkpoint, ...], entries: tuple[Entry, ...]) -> None:
        """A proven state was fetched: with the entries that lead to it, or without, by a snapshot."""
        board = self.board
        before, board.executed = board.executed.chain, state
        if board.note_end(before, entries):
            board.executed = state = replace(state, ended=True)
        board.last_checkpoint = state.index
        board.unplace_below(state.seq)
        board.accepted = max(board.accepted, state.seq)
        board.next_seq = max(board.next_seq, board.accepted + 1)
        self.desk.dirty = True
        self.requests.caught_up(state, entries)
        if entries:
            board.write(entries)
            board.history.extend(entries)
            self.desk.out.append(Deliver(entries))
        # The log's tail was just replaced: what is accepted beyond is written anew before anything of it is executed.
        self.normal.render_again(state.seq + 1)
        if proof:
            self._on_stable(state, proof)
        self.normal.advance()

    def _on_entered(self) -> None:
        self.requests.entered()
        self.normal.advance()

    def _on_executed(self, placed: Placed) -> None:
        self.views.progressed()
        self.requests.executed(placed)

    # -- the disk

    def _on_stored(self, number: int) -> None:
        """Say what was held back, to oneself as well."""
        desk = self.desk
        self.requests.stored()
        while desk.held and desk.held[0][0] <= number:
            _, to, message = desk.held.popleft()
            if to:
                desk.send(to, message)
                continue
            desk.send_all(message)
            handler = self._handlers[type(message)]
            handler(desk.me, message)

    def _persist(self) -> None:
        """One batch for all of the step, before anything that it sends."""
        desk, board = self.desk, self.board
        if not desk.dirty:
            return
        desk.number += 1
        desk.dirty = False
        entries: tuple[Entry, ...] = tuple(board.writes)
        board.writes.clear()
        hard = HardState(board.view, 0, board.executed.index, encode_extra(board))
        desk.out.insert(0, Persist(desk.number, hard, entries))
