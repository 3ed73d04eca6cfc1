"""View changes (4.4): leaving a view, what a new one takes over, and the timers that make views meet (4.5.2)."""

from collections.abc import Callable
from math import inf

from agent.core.pbft.board import Board
from agent.core.pbft.certificates import Plan, plan, wrong_with_new_view, wrong_with_view_change
from agent.core.pbft.messages import Checkpoint, NewView, Proposal, ViewChange
from agent.core.pbft.state import State
from agent.core.replica.io import Changed
from agent.core.replica.log import Members


class Views:
    """`changes`: of each voter the view-change to the highest view, found right. At most one new view is kept."""

    def __init__(
        self,
        board: Board,
        members: Members,
        on_proof: Callable[[tuple[Checkpoint, ...]], None],
        on_stable: Callable[[State, tuple[Checkpoint, ...]], None],
        on_entered: Callable[[], None],
    ) -> None:
        self._board = board
        self._desk = board.desk
        self._members = members
        self._on_proof = on_proof
        self._on_stable = on_stable
        self._on_entered = on_entered
        self.changes: dict[int, ViewChange] = {}
        self.new_view: NewView | None = None
        self.own: ViewChange | None = None
        """What this replica said when it left its view, once the disk has it."""
        self.tries = 0
        """Views entered or tried since something was executed: each after the first doubles the timeout."""
        self.deadline = inf
        """By when the new view must have come; set once a quorum has asked for it."""

    def timeout_s(self) -> float:
        config = self._board.config
        return min(config.timeout_max_s, config.request_timeout_s * 2.0 ** min(max(0, self.tries - 1), 30))

    def progressed(self) -> None:
        self.tries = 0

    # -- leaving

    def give_up(self, why: str) -> None:
        self.start(self._board.view + 1, why)

    def start(self, view: int, why: str) -> None:
        """Stop taking part in the view; say what is prepared here."""
        board, desk = self._board, self._desk
        if not desk.voting or view <= board.view:
            return
        self.tries += 1
        board.view, board.active = view, False
        board.offers.clear()
        self.own = None
        self.deadline = inf
        self.ask()
        desk.out.append(Changed("follower", view, 0, self._members, why))

    def ask(self) -> None:
        """VIEW-CHANGE with n, C and P. C may prove a checkpoint that is still being fetched: it is stable all the same."""
        board, desk = self._board, self._desk
        stable = board.best_proof()
        certificates = tuple(slot.cert for slot in board.slots.in_order() if slot.cert is not None and slot.seq > stable)
        desk.hold(desk.signed(ViewChange(board.view, stable, board.proof, certificates, desk.me)))

    def expire(self) -> None:
        """Time has come: the next view, if this one does not begin (4.5.2)."""
        if self._desk.now >= self.deadline:
            self._desk.blame(self._desk.primary(self._board.view), "silence")
            self.start(self._board.view + 1, "no new view in time")

    # -- asking

    def on_view_change(self, sender: int, message: ViewChange) -> None:
        board, desk = self._board, self._desk
        if message.view < board.view or (message.view == board.view and board.active):
            return
        if sender == desk.me:
            self.own = self.changes[desk.me] = message
        else:
            known = self.changes.get(message.sender)
            if known is not None and known.view >= message.view:
                return
            wrong = wrong_with_view_change(desk, message)
            if wrong:
                is_own = message.sender in desk.voters and desk.proves(message.sender, message)
                desk.blame(message.sender if is_own else sender, "view_change" if is_own else "signature", message)
                return
            self.changes[message.sender] = message
            if message.stable > board.executed.seq:
                self._on_proof(message.proof)
        self.follow()

    def follow(self) -> None:
        """f + 1 who want on take one along (4.5.2); so does a primary that gives up its own view."""
        board, desk = self._board, self._desk
        above = sorted(
            (change.view for sender, change in self.changes.items() if sender != desk.me and change.view > board.view), reverse=True
        )
        if len(above) > desk.f:
            self.start(above[desk.f], "f + 1 members want another view")
            return
        given = self.changes.get(desk.primary(board.view))
        if board.active and given is not None and given.view > board.view:
            self.start(board.view + 1, "the primary gives way")
            return
        if board.active:
            return
        asked = [sender for sender in sorted(self.changes) if self.changes[sender].view >= board.view]
        if len(asked) >= desk.quorum and self.deadline == inf:
            self.deadline = desk.now + self.timeout_s()
        exact = tuple(self.changes[sender] for sender in asked if self.changes[sender].view == board.view)
        if desk.voting and desk.primary(board.view) == desk.me and len(exact) >= desk.quorum and self.own is not None:
            self._begin(exact[: desk.quorum])

    def _begin(self, changes: tuple[ViewChange, ...]) -> None:
        """The new primary's part."""
        board, desk = self._board, self._desk
        made = plan(changes)
        proposals = tuple(desk.signed(Proposal(board.view, seq, digest)) for seq, digest in enumerate(made.digests, made.stable + 1))
        new = desk.signed(NewView(board.view, changes, proposals))
        desk.send_all(new)
        self._enter(new, made)

    # -- entering

    def on_new_view(self, sender: int, message: NewView) -> None:
        board, desk = self._board, self._desk
        if message.view < board.view or (message.view == board.view and board.active):
            return
        wrong = self.wrong_with(message)
        if not wrong:
            self._enter(message, plan(message.changes))
            return
        primary = desk.primary(message.view)
        if desk.proves(primary, message):
            desk.blame(primary, "new_view", message)
            if message.view == board.view:
                self.start(board.view + 1, f"the new view is wrong: {wrong}")
        else:
            desk.blame(sender, "signature", message)

    def wrong_with(self, message: NewView) -> str:
        return wrong_with_new_view(self._desk, message, self.changes)

    def _enter(self, new: NewView, made: Plan) -> None:
        board, desk = self._board, self._desk
        board.view, board.active = new.view, True
        self.new_view, self.own, self.deadline = new, None, inf
        for sender in [sender for sender, change in self.changes.items() if change.view <= new.view]:
            del self.changes[sender]
        for slot in board.slots.in_order():
            slot.new_view()
            if slot.seq > board.executed.seq:
                slot.unplace()
        board.wants.clear()
        board.offers = {proposal.seq: proposal for proposal in new.proposals}
        board.next_seq = made.stable + len(made.digests) + 1
        if made.stable > board.stable.seq:
            state = board.state_at(made.stable)
            if state is not None:
                self._on_stable(state, made.proof)
            else:
                self._on_proof(made.proof)
        board.accepted = max(made.stable, board.stable.seq)
        board.next_seq = max(board.next_seq, board.accepted + 1)
        board.pending.new_view(desk.now)
        desk.dirty = True
        primary = desk.primary(new.view)
        role = "leader" if primary == desk.me else "follower" if desk.voting else "learner"
        desk.out.append(Changed(role, new.view, primary, self._members, "a new view"))
        self._on_entered()
