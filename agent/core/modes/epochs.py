"""A replica made of replicas: in each epoch another protocol's, and never two that decide at once. Itself a `Replica`.

Epoch N ends where its log has the first valid `Epoch` (`epoch.wrong_with`), at index i, the same for all since they have the same log up
to there. A replica that delivers i drops N's core, applies nothing of N's after i, writes epoch and place down in one batch, and starts
N + 1's core from the state after i. Messages carry their epoch and reach that epoch's core alone.

Who has not heard that N is over learns it by `Ended`: in answer to anything it says in N, and from everybody who switches. What it takes
to believe it: in a crash-tolerant epoch a member's word; in a Byzantine one a proof by its quorum (`EndProof`), so there a replica leaves
only with such a proof in hand. It then fetches the state as the new protocol does for any member that has nothing.

The fast path decides before the log does. What it decided must be in the log before i; so an epoch in `FAST` mode is first closed (an entry
with `close`; a leader that has it in its log, committed or not, takes nothing the fast way), and ended when that is committed: every
later leader has the closing entry, and what was decided before stands before it, by the fast path's own recovery.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from agent.core.modes.epoch import (
    BYZANTINE,
    FAST,
    Epoch,
    EpochState,
    Kept,
    decode_epoch,
    decode_kept,
    encode_epoch,
    encode_kept,
    next_state,
    wrong_with,
)
from agent.core.modes.messages import Ask, Ended, Tagged
from agent.core.modes.tail import Tail
from agent.core.raft.messages import FastRecord
from agent.core.replica import io
from agent.core.replica.io import Deliver, Effect, FastPropose, Persist, Propose, Proposed, Refused, Replica, Send
from agent.core.replica.log import EPOCH, MEMBERS, NOOP, Entry, HardState, Members, Recovered, SnapshotMeta

RESTARTED: Final = 0
SWITCHED: Final = 1
LED: Final = 2
Make = Callable[[EpochState, Recovered, float, bool, int], Replica]
"""(epoch, recovered, now, blank, how): its core. `blank`: the state is to be fetched. `how`: after a start of the process; in the same life
as the epoch before; and as the member that led it."""

TELL_S: Final = 0.2
"""A member is told no more often than this that its epoch is over, and asked no more often for another's."""
_members: Final = msgspec.msgpack.Decoder(Members)


class Epochs:
    """`recovered` may be of a log that knew no epochs: it is then in epoch 0, ordered. Raises ValueError for what does not fit."""

    def __init__(self, me: int, make: Make, recovered: Recovered, now: float, first: EpochState | None = None) -> None:
        self.me = me
        self._make = make
        kept = decode_kept(recovered.hard.extra, recovered.snapshot.members)
        if first is not None and not kept.state.number and not recovered.hard.extra:
            kept = Kept(first, False, b"")
        self.state = kept.state
        self.blank = kept.blank
        self.members = recovered.snapshot.members if recovered.snapshot.index >= self.state.index else self.state.members
        self.switches = 0
        self._number = 0
        self._sent: deque[tuple[int, int]] = deque()
        """Our number and the core's own of each of this core's batches that may not be durable."""
        self._tail = Tail()
        self._last = Entry(recovered.snapshot.term, recovered.snapshot.index, NOOP, b"")
        """The last one delivered, or what stands for the snapshot."""
        self._tickets: set[int] = set()
        self._ending: tuple[Entry, Epoch] | None = None
        """A Byzantine epoch's end that is not proved yet."""
        self._closing: tuple[int, Epoch] | None = None
        """The ticket of an end that waits for the fast path to be closed."""
        self._told: dict[int, float] = {}
        self._tagged: Tagged | None = None
        """The last one: the same message often goes to several."""
        self._fast_is_closed = kept.closed
        self._later: list[io.Input] = []
        self._words: dict[int, EpochState] = {}
        """What voters of a Byzantine epoch say of a later one."""
        self._out: list[Effect] = []
        self._dirty = not recovered.hard.extra.startswith(b"\xc1")
        self._first: tuple[Entry, ...] = ()
        self._hard = replace(recovered.hard, extra=kept.inner)
        self.core = self._recover(recovered, kept, now)

    def _recover(self, recovered: Recovered, kept: Kept, now: float) -> Replica:
        start, snapshot = self.state.index, recovered.snapshot
        hard = replace(recovered.hard, extra=kept.inner)
        if snapshot.index >= start:
            self._tail.entries.extend(recovered.entries)
            return self._make(self.state, replace(recovered, hard=hard), now, kept.blank, RESTARTED)
        before = tuple(entry for entry in recovered.entries if entry.index <= start)
        if kept.blank:
            return self._make(self.state, Recovered(hard, self._meta(blank=True)), now, True, RESTARTED)
        if len(before) != start - snapshot.index:
            raise ValueError(f"epoch {self.state.number} began after index {start}, and the log ends at {snapshot.index + len(before)}")
        self._first = before
        after = tuple(entry for entry in recovered.entries if entry.index > start)
        self._tail.entries.extend(after)
        return self._make(self.state, Recovered(hard, self._meta(), after), now, False, RESTARTED)

    def _meta(self, *, blank: bool = False) -> SnapshotMeta:
        """The state that the epoch began with, as a snapshot of which only the place is known: a size, so that it is not taken for an
        empty state, and no digest, so that nothing is it."""
        state = self.state
        if blank and state.mode != BYZANTINE:
            return SnapshotMeta()
        return SnapshotMeta(state.index, state.term, state.members, state.number, size=1)

    # -- the contract

    @property
    def leader(self) -> int:
        return self.core.leader

    @property
    def commit(self) -> int:
        return max(self.core.commit, self._last.index)

    @property
    def mode(self) -> int:
        return self.state.mode

    def next_wake(self) -> float:
        return -inf if self._first or self._dirty else self.core.next_wake()

    def step(self, now: float, event: io.Input) -> tuple[Effect, ...]:
        if self._first:
            # What the epoch's beginning rests on, delivered again after a start; a snapshot of it may never have become durable.
            entries, self._first = self._first, ()
            self._out.append(Deliver(entries))
            self._last = entries[-1]
            self._out.append(io.TakeSnapshot(self._last.index))
        if self._dirty:
            self._persist(Persist(0, self._hard))
        if isinstance(event, io.Receive):
            self._receive(now, event)
        elif isinstance(event, io.Stored):
            self._stored(now, event.number)
        elif isinstance(event, Propose):
            self._propose(now, event)
        elif isinstance(event, FastPropose):
            self._fast_propose(now, event)
        else:
            if isinstance(event, io.Read | io.Change | io.Transfer):
                self._tickets.add(event.ticket)
            self._feed(now, event)
            if isinstance(event, io.SnapshotStored) and event.ok:
                self._snapshot_stored(event.meta)
        out = tuple(self._out)
        self._out = []
        return out

    # -- inputs

    def _feed(self, now: float, event: io.Input) -> None:
        self._carry(now, self.core.step(now, event))
        while self._later:
            self._carry(now, self.core.step(now, self._later.pop(0)))
        if self._ending is not None and self._proven() >= self._ending[0].index:
            entry, epoch = self._ending
            self._switch(now, entry, epoch)

    def _receive(self, now: float, event: io.Receive) -> None:
        message = event.message
        if isinstance(message, Tagged):
            if message.epoch == self.state.number and message.mode == self.state.mode:
                if not (isinstance(message.message, FastRecord) and self._is_closed()):
                    self._feed(now, io.Receive(event.sender, message.message))
            elif message.epoch < self.state.number:
                self._tell(now, event.sender, Ended(self.state))
            elif message.epoch > self.state.number:
                self._tell(now, event.sender, Ask(self.state.number))
        elif isinstance(message, Ask) and message.number < self.state.number:
            self._tell(now, event.sender, Ended(self.state))
        elif isinstance(message, Ended) and message.state.number > self.state.number:
            self._ended(now, event.sender, message.state)

    def _tell(self, now: float, to: int, message: Ended | Ask) -> None:
        if now - self._told.get(to, -inf) >= TELL_S:
            if len(self._told) > 1024:
                self._told.clear()
            self._told[to] = now
            self._out.append(Send(to, message))

    def _stored(self, now: float, number: int) -> None:
        inner = 0
        while self._sent and self._sent[0][0] <= number:
            inner = self._sent.popleft()[1]
        if inner:
            self._feed(now, io.Stored(inner))

    def _propose(self, now: float, event: Propose) -> None:
        if event.kind == EPOCH:
            self._propose_end(now, event)
        elif self._is_closed(ends_only=True):
            self._out += [Refused(ticket, "transferring", self.leader) for ticket, _ in event.items]
        else:
            self._tickets.update(ticket for ticket, _ in event.items)
            self._feed(now, event)

    def _propose_end(self, now: float, event: Propose) -> None:
        """One epoch's end. In `FAST` mode the closing entry first, and the end when that is committed here."""
        ticket, data = event.items[0]
        self._out += [Refused(other, "busy", self.leader) for other, _ in event.items[1:]]
        epoch = decode_epoch(data)
        if wrong_with(epoch, self.state, self.members) or self._ending is not None or self.blank:
            self._out.append(Refused(ticket, "invalid", self.leader))
        elif self._closing is not None or self._is_closed(ends_only=True):
            self._out.append(Refused(ticket, "pending_change", self.leader))
        elif epoch is not None and self.state.mode == FAST and not epoch.close and self.leader == self.me:
            self._closing = (ticket, epoch)
            self._feed(now, Propose(((0, encode_epoch(replace(epoch, close=True))),), EPOCH))
        else:
            self._tickets.add(ticket)
            self._feed(now, Propose(((ticket, data),), EPOCH))

    def _fast_propose(self, now: float, event: FastPropose) -> None:
        if self.state.mode != FAST:
            self._propose(now, Propose(tuple((ticket, command) for ticket, command, _ in event.items)))
        elif self._is_closed():
            self._out += [Refused(ticket, "transferring", self.leader) for ticket, _, _ in event.items]
        else:
            self._tickets.update(ticket for ticket, _, _ in event.items)
            self._feed(now, event)

    def _is_closed(self, *, ends_only: bool = False) -> bool:
        """Is there an entry in the log, committed or not, after which the fast path (or anything) may take nothing?"""
        if self._ending is not None:
            return True
        if self.state.mode == BYZANTINE:
            return False
        return self._tail.has_end(closing_too=not ends_only) or (self._fast_is_closed and not ends_only)

    # -- effects

    def _carry(self, now: float, effects: tuple[Effect, ...]) -> None:
        """The core's effects as the host's; what follows an epoch's end is dropped."""
        number = self.state.number
        for effect in effects:
            if isinstance(effect, Persist):
                self._persist(effect)
            elif isinstance(effect, Send):
                if self._tagged is None or self._tagged.message is not effect.message:
                    self._tagged = Tagged(number, self.state.mode, effect.message)
                self._out.append(Send(effect.to, self._tagged))
            elif isinstance(effect, Deliver):
                self._deliver(now, effect.entries)
                if self.state.number != number:
                    return
            else:
                if isinstance(effect, Proposed | Refused | io.ReadReady | io.FastUndecided | io.FastDecided):
                    self._tickets.discard(effect.ticket)
                    if not effect.ticket:
                        self._closing_refused(effect)
                        continue
                self._out.append(effect)

    def _closing_refused(self, effect: Any) -> None:
        if isinstance(effect, Refused) and self._closing is not None:
            self._out.append(Refused(self._closing[0], effect.reason, effect.leader))
            self._closing = None

    def _persist(self, effect: Persist) -> None:
        self._number += 1
        if effect.number:
            self._sent.append((self._number, effect.number))
        if effect.hard is not None:
            self._hard = effect.hard
        if effect.entries:
            self._tail.write(effect.entries, self._last.index, self.state.number + 1)
        hard = effect.hard
        if hard is not None or self._dirty:
            hard = self._wrapped(hard or self._hard)
            self._dirty = False
        self._out.append(Persist(self._number, hard, effect.entries, effect.sync))

    def _wrapped(self, hard: HardState) -> HardState:
        return replace(hard, extra=encode_kept(Kept(self.state, self.blank, hard.extra, self._fast_is_closed)))

    def _deliver(self, now: float, entries: tuple[Entry, ...]) -> None:
        for at, entry in enumerate(entries):
            if entry.kind == MEMBERS:
                self.members = _members.decode(entry.data)
            elif entry.kind == EPOCH:
                epoch = decode_epoch(entry.data)
                if epoch is None or wrong_with(epoch, self.state, self.members):
                    continue
                if epoch.close:
                    self._fast_is_closed = self._dirty = True
                    self._persist(Persist(0, self._hard))
                    self._close_done()
                    continue
                self._hand_on(entries[: at + 1])
                if self.state.mode == BYZANTINE:
                    self._ending = (entry, epoch)
                else:
                    self._switch(now, entry, epoch)
                return
        if self._ending is None:
            self._hand_on(entries)

    def _hand_on(self, entries: tuple[Entry, ...]) -> None:
        self._last = entries[-1]
        self._tail.delivered(self._last.index)
        self._out.append(Deliver(entries))

    def _close_done(self) -> None:
        """The closing entry is committed: the end may be proposed, if it is ours to propose."""
        if self._closing is not None:
            ticket, wanted = self._closing
            self._closing = None
            self._tickets.add(ticket)
            self._later.append(Propose(((ticket, encode_epoch(wanted)),), EPOCH))

    # -- from one epoch to the next

    def _proven(self) -> int:
        return int(getattr(self.core, "proven_index", 0))

    def _switch(self, now: float, entry: Entry, epoch: Epoch) -> None:
        """Everything up to the end is delivered: begin the next epoch."""
        proof = self.core.end_proof() if self.state.mode == BYZANTINE else self.state.proof  # type: ignore[attr-defined]
        led = self.core.leader == self.me
        self._begin(now, replace(next_state(epoch, self.members, entry.index, entry.term), proof=proof), blank=False, led=led)

    def _begin(self, now: float, state: EpochState, *, blank: bool, led: bool) -> None:
        lost = sorted(self._tickets - {0})
        if self._closing is not None:
            lost.append(self._closing[0])
        self._out += [Refused(ticket, "lost") for ticket in lost]
        self._tickets.clear()
        self.state, self.members, self.blank = state, state.members, blank
        self._ending = self._closing = None
        self._fast_is_closed = False
        for table in (self._sent, self._tail, self._later, self._words):
            table.clear()
        self.switches += 1
        # The entry takes the place of itself and of all that the old log had after it.
        cut = Entry(self._last.term, self._last.index + 1, NOOP, b"") if blank else self._last
        self._hard = HardState(state.term, 0, self._last.index, b"")
        self._dirty = True
        self._persist(Persist(0, self._hard, (cut,)))
        self._tail.clear()
        if not blank:
            self._out.append(io.TakeSnapshot(state.index))
        for member in sorted({*state.members.voters, *state.members.learners} - {self.me}):
            self._out.append(Send(member, Ended(state)))
        hard = HardState(state.term, 0, 0 if blank else state.index, b"")
        self.core = self._make(state, Recovered(hard, self._meta(blank=blank)), now, blank, LED if led else SWITCHED)
        self._carry(now, self.core.step(now, io.Wake()))

    def _ended(self, now: float, sender: int, state: EpochState) -> None:
        """Somebody is further. Believe it as far as this epoch believes anybody."""
        if self.state.mode == BYZANTINE:
            self._ended_by_proof(now, sender, state)
            return
        entries = self._tail.end_at(state.index, state.term)
        if state.number == self.state.number + 1 and entries:
            # The same entry of the same term: all before it is the same too (Raft's log matching), and committed.
            self._deliver(now, entries)
        else:
            self._begin(now, state, blank=True, led=False)

    def _ended_by_proof(self, now: float, sender: int, state: EpochState) -> None:
        """A proof that this very epoch is over, or f + 1 of its voters who say the same of a later one."""
        entry = self.core.check_end(state.proof) if state.proof else None  # type: ignore[attr-defined]
        epoch = None if entry is None else decode_epoch(entry.data)
        if entry is not None and self._ending is not None:
            # It lacked the proof alone.
            self._feed(now, io.Wake())
        elif entry is not None and epoch is not None and not wrong_with(epoch, self.state, self.members):
            proven = next_state(epoch, self.members, entry.index, entry.term)
            self._begin(now, replace(proven, proof=state.proof), blank=True, led=False)
        elif sender in self.state.members.voters:
            self._words[sender] = replace(state, proof=b"")
            same = [one for one in self._words.values() if one == self._words[sender]]
            if len(same) > (len(self.state.members.voters) - 1) // 3:
                self._begin(now, state, blank=True, led=False)

    def _snapshot_stored(self, meta: SnapshotMeta) -> None:
        """The state is here."""
        self._last = Entry(meta.term, meta.index, NOOP, b"")
        self.members = meta.members
        self._tail.delivered(meta.index)
        self.blank = self.blank and meta.index < self.state.index
        # A closing entry may be among what it took the place of: who cannot know takes nothing the fast way.
        self._fast_is_closed = self._fast_is_closed or meta.index > self.state.index
        self._dirty = True
        self._persist(Persist(0, self._hard))
