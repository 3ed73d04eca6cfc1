"""State transfer (4.6): how one that lags gets to a stable checkpoint, by entries whose hash chain it proves, or by a snapshot.

Entries come from one member at a time, so that wrong ones are known to be its; then the next is asked. A snapshot is taken where f + 1
members vouch for its octets' digest. Nothing is believed for who sent it.
"""

from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from agent.core.pbft.board import Board
from agent.core.pbft.certificates import wrong_with_proof, wrong_with_vouches
from agent.core.pbft.messages import Checkpoint, EntriesAre, FetchChunk, FetchEntries, Offer, Part, StableProof, Vouch
from agent.core.pbft.state import State, link, table_of
from agent.core.pbft.wire import table_digest
from agent.core.replica.io import SnapshotStored, StoreChunk
from agent.core.replica.log import Entry, Members, SnapshotMeta

Proved = Callable[[State, tuple[Checkpoint, ...]], None]
Adopted = Callable[[State, tuple[Checkpoint, ...], tuple[Entry, ...]], None]


class Laggard:
    """`target`: a stable checkpoint beyond what is executed here. `adopted(state, proof, entries)`: this state was fetched; the proof is
    empty for a snapshot's that f + 1 vouch for. `proved(state, proof)`: what was executed here before is stable."""

    def __init__(self, board: Board, members: Members, adopted: Adopted, proved: Proved) -> None:
        self._board = board
        self._desk = board.desk
        self._members = members
        self._adopted = adopted
        self._proved = proved
        self.target: tuple[Checkpoint, ...] = ()
        self._peer = 0
        self._asked: list[int] = []
        self._due = inf
        self._entries: list[Entry] = []
        self._size = 0
        self._chain = b""
        self._base = 0
        """Executed when the entries were begun; meanwhile something may be executed in the ordinary way."""
        self._snapshot: tuple[State, SnapshotMeta] | None = None
        self._offset = 0

    @property
    def busy(self) -> bool:
        return bool(self.target) or self._snapshot is not None

    def behind(self, proof: tuple[Checkpoint, ...]) -> None:
        """A proof that was checked. The way of normal operation gets its time first, where it may suffice."""
        board = self._board
        seq = proof[0].seq
        if seq <= board.best_proof():
            return
        if seq <= board.executed.seq:
            state = board.state_at(seq)
            if state is not None:
                self._proved(state, proof)
            return
        if board.executed.ended and proof[0].chain == board.executed.chain:
            # Batches after an epoch's last entry become nothing: the state is here already.
            self._adopted(replace(board.executed, seq=seq), proof, ())
            return
        if not self.target:
            near = seq <= board.slots.low + board.config.window and not board.blank
            self._due = self._desk.now + (board.config.fetch_s / 2 if near else 0.0)
        self.target = board.proof = proof
        self._desk.dirty = True

    def on_proof(self, sender: int, message: StableProof) -> None:
        proof = message.proof
        if proof and proof[0].seq > self._board.best_proof():
            if wrong_with_proof(self._desk, proof):
                self._desk.blame(sender, "checkpoint", message)
            else:
                self.behind(proof)

    # -- asking

    def begin(self) -> None:
        """At once: there is something to fetch."""
        self._due = self._desk.now

    def tick(self) -> None:
        board = self._board
        if self.target and self.target[0].seq <= board.executed.seq:
            # Reached in the ordinary way.
            proof = self.target
            self._clear()
            state = board.state_at(proof[0].seq)
            if state is not None:
                self._proved(state, proof)
        if self._desk.now < self._due:
            return
        if not self.target and not self._board.blank and self._snapshot is None:
            self._due = inf
            return
        self._next_peer()
        self._ask()

    def _next_peer(self) -> None:
        """Who signed the checkpoint has it, but for liars; each is asked in turn."""
        holders = [one.sender for one in self.target if one.sender != self._desk.me] or [
            one for one in self._desk.voters if one != self._desk.me
        ]
        left = [one for one in holders if one not in self._asked]
        if not left:
            self._asked, left = [], holders
        if left:
            self._peer = left[0]
            self._asked.append(self._peer)
        self._restart()
        self._snapshot = None

    def _restart(self) -> None:
        self._entries, self._size = [], 0
        self._chain, self._base = self._board.executed.chain, self._board.executed.index

    def _ask(self) -> None:
        self._due = self._desk.now + self._board.config.fetch_s
        if self._peer:
            first = 0 if self._board.blank else self._board.executed.index + len(self._entries) + 1
            self._desk.send(self._peer, FetchEntries(first, self.target[0].seq if self.target else 0))

    def _wrong(self, sender: int) -> None:
        self._desk.blame(sender, "state")
        self._due = self._desk.now
        self.tick()

    def _clear(self) -> None:
        self.target, self._entries, self._size, self._due, self._asked = (), [], 0, inf, []
        self._snapshot = None

    # -- entries

    def on_entries(self, sender: int, message: EntriesAre) -> None:
        board = self._board
        if sender != self._peer or not self.target or message.seq != self.target[0].seq or self._board.blank or self._snapshot is not None:
            return
        if self._base != board.executed.index:
            self._restart()
            self._ask()
            return
        expected = self._base + len(self._entries) + 1
        if message.entries and message.entries[0].index < expected:
            return
        for entry in message.entries:
            self._size += len(entry.data) + 64
            if entry.index != expected or entry.index > self.target[0].index or self._size > board.config.catch_up_bytes:
                self._wrong(sender)
                return
            self._chain = link(self._chain, entry)
            self._entries.append(entry)
            expected += 1
        if expected <= self.target[0].index:
            if message.entries:
                self._ask()
            return
        self._finish(sender, message)

    def _finish(self, sender: int, message: EntriesAre) -> None:
        proven = self.target[0]
        rows = message.table or ()
        if self._chain != proven.chain or table_digest(rows) != proven.table:
            self._wrong(sender)
            return
        entries, proof = tuple(self._entries), self.target
        state = State(proven.seq, proven.index, proven.term, proven.chain, table_of(rows))
        self._clear()
        self._adopted(state, proof, entries)

    # -- snapshots

    def on_offer(self, sender: int, message: Offer) -> None:
        board = self._board
        if sender != self._peer or self._snapshot is not None or not (self.target or self._board.blank) or not message.vouches:
            return
        vouch = message.vouches[0]
        if vouch.index <= board.executed.index and not self._board.blank:
            return
        if wrong_with_vouches(self._desk, message.vouches) or table_digest(message.table) != vouch.table:
            self._wrong(sender)
            return
        state = State(vouch.seq, vouch.index, vouch.term, vouch.chain, table_of(message.table))
        meta = SnapshotMeta(vouch.index, vouch.term, self._members, board.config.epoch, vouch.size, vouch.digest)
        self._snapshot, self._offset = (state, meta), 0
        # On disk before the snapshot is, so that a crash in between finds what belongs to it.
        board.incoming = state
        self._desk.dirty = True
        self._fetch()

    def _fetch(self) -> None:
        assert self._snapshot is not None
        self._due = self._desk.now + self._board.config.fetch_s
        self._desk.send(self._peer, FetchChunk(self._snapshot[1].index, self._offset))

    def on_part(self, sender: int, message: Part) -> None:
        if self._snapshot is None or sender != self._peer:
            return
        meta = self._snapshot[1]
        if message.index != meta.index or message.offset != self._offset or self._offset >= max(1, meta.size):
            return
        if self._offset + len(message.data) > meta.size or (not message.data and meta.size):
            self._wrong(sender)
            return
        self._offset += len(message.data)
        last = self._offset == meta.size
        self._desk.out.append(StoreChunk(meta, message.offset, message.data, last))
        if last:
            self._due = self._desk.now + 20 * self._board.config.fetch_s
            self._offset = max(1, meta.size)
        else:
            self._fetch()

    def on_stored(self, event: SnapshotStored) -> None:
        if self._snapshot is None or event.meta != self._snapshot[1]:
            return
        state = self._snapshot[0]
        if not event.ok:
            self._wrong(self._peer)
            return
        self._snapshot = None
        board = self._board
        board.blank = False
        board.history.restart(state.index + 1)
        board.marks = (*board.marks, state)[-2:]
        board.incoming = None
        if self.target and self.target[0].seq <= state.seq:
            proof = self.target if self.target[0].seq == state.seq else ()
            self._clear()
        else:
            proof = ()
            self._due = self._desk.now
        self._adopted(state, proof, ())

    def next_wake(self) -> float:
        return self._due


class Giver:
    """The other side: entries as long as they are kept, then the newest snapshot that f + 1 vouch for."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._desk = board.desk
        self._vouches: dict[int, dict[int, Vouch]] = {}
        """Of each voter its last two, by index."""
        self.own: dict[int, SnapshotMeta] = {}
        """One's own snapshots, by index."""
        self._given: dict[int, tuple[float, int]] = {}

    def _too_much(self, sender: int) -> bool:
        """At most 32 answers per member in each `status_s`: who asks more is flooding."""
        since, count = self._given.get(sender, (-inf, 0))
        if self._desk.now - since >= self._board.config.status_s:
            since, count = self._desk.now, 0
        self._given[sender] = (since, count + 1)
        return count >= 32

    def on_fetch_entries(self, sender: int, message: FetchEntries) -> None:
        board = self._board
        if self._too_much(sender):
            return
        state = board.state_at(message.seq) if message.seq else None
        if message.seq and state is None:
            if board.proof and board.stable.seq > message.seq:
                self._desk.send(sender, StableProof(board.proof))
            return
        if state is None or message.index < board.history.first:
            self._offer(sender)
            return
        entries = board.history.between(message.index, state.index, board.config.fetch_bytes)
        whole = (entries[-1].index if entries else message.index - 1) >= state.index
        self._desk.send(sender, EntriesAre(message.seq, entries, state.rows() if whole else None))

    # -- snapshots

    def on_vouch(self, sender: int, message: Vouch) -> None:
        mine = self._vouches.setdefault(message.sender, {}) if message.sender in self._desk.voters else None
        if mine is None or message.index in mine:
            return
        if not self._desk.proves(message.sender, message):
            self._desk.blame(sender, "signature", message)
            return
        mine[message.index] = message
        if len(mine) > 2:
            del mine[min(mine)]

    def took(self, meta: SnapshotMeta) -> None:
        """A snapshot of one's own is durable: tell what it is."""
        board = self._board
        self.own[meta.index] = meta
        for index in sorted(self.own)[:-2]:
            del self.own[index]
        state = next((one for one in (*board.marks, board.stable) if one.index == meta.index), None)
        if state is not None and self._desk.voting:
            vouch = self._desk.signed(Vouch(*state.body(), meta.digest, meta.size, self._desk.me))
            self.on_vouch(self._desk.me, vouch)
            self._desk.send_all(vouch)

    def proven(self, index: int) -> tuple[Vouch, ...]:
        """f + 1 vouches that agree with one's own of the snapshot at this index."""
        own = self._vouches.get(self._desk.me, {}).get(index)
        if own is None:
            return ()
        same = [
            one for sender in sorted(self._vouches) if (one := self._vouches[sender].get(index)) is not None and one.body() == own.body()
        ]
        return tuple(same) if len(same) > self._desk.f else ()

    def resend(self, to: int) -> None:
        for vouch in self._vouches.get(self._desk.me, {}).values():
            self._desk.send(to, vouch)

    def _offer(self, to: int) -> None:
        board = self._board
        for index in sorted(self.own, reverse=True):
            vouches = self.proven(index)
            state = next((one for one in (*board.marks, board.stable) if one.index == index), None)
            if vouches and state is not None:
                self._desk.send(to, Offer(vouches, state.rows()))
                return

    def meta_for(self, sender: int, index: int) -> SnapshotMeta | None:
        return None if self._too_much(sender) else self.own.get(index)
