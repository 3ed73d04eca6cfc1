"""Reads that see everything committed before they were asked: by a round of heartbeats (ReadIndex, 6.4) or by the lease (6.4.1).

A leader answers only once an entry of its own term is committed: before, it may not know what is. Reads that come together share a
round. Followers ask the leader; what was asked of a leader that is no longer one is `lost`.
"""

from collections import deque
from math import inf

from agent.core.raft.desk import LEADER, Desk
from agent.core.raft.messages import ReadReply, ReadRequest
from agent.core.replica.io import Read, ReadReady

Asker = tuple[int, int, bool]
"""Member (0: our own host), its number for the read, whether the lease is enough."""


class Reads:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._early: list[Asker] = []
        self._gathering: list[Asker] = []
        self._open: deque[tuple[int, int, list[Asker]]] = deque()
        """Rounds under way: round, the commit index when it began, who asked."""
        self._asked: dict[int, tuple[int, bool, float, float]] = {}
        """What we asked the leader: our number to the host's ticket, lease, when, and when to ask again."""
        # Not from 0: an answer from before a crash must not fit a question from after it.
        self._number = int(desk.chance.random() * (1 << 48))
        self._unsynced: deque[tuple[int, Asker]] = deque()
        """Right, but what they must see is not committed yet (the fast path answers before)."""
        self.waiting = 0

    @property
    def wake_at(self) -> float:
        return min([one[3] for one in self._asked.values()]) if self._asked else inf

    # -- the leader's part

    def ask(self, asker: Asker, own_term: bool, lease: bool) -> bool:
        """`own_term`: an entry of this term is committed. `lease`: the lease holds now. True: a round is wanted."""
        if self.waiting >= self._desk.config.max_reads:
            self._refuse(asker, "busy")
        elif not own_term:
            self.waiting += 1
            self._early.append(asker)
        elif asker[2] and lease:
            self._desk.counters.lease_reads += 1
            self.waiting += 1
            self._settle(asker, self._index)
        else:
            self.waiting += 1
            self._gathering.append(asker)
            return True
        return False

    def take_early(self) -> list[Asker]:
        early = self._early
        self._early = []
        self.waiting -= len(early)
        return early

    @property
    def wants_round(self) -> bool:
        return bool(self._gathering) and len(self._open) < self._desk.config.max_read_rounds

    def begin_round(self, number: int) -> None:
        """The heartbeats of this round go out now: they answer for all reads that came before."""
        if self._gathering:
            self._open.append((number, self._index, self._gathering))
            self._gathering = []

    def confirm(self, number: int) -> None:
        """A majority answered this round: we led when it began."""
        opened = self._open
        while opened and opened[0][0] <= number:
            _, index, askers = opened.popleft()
            for asker in askers:
                self._desk.counters.reads += 1
                self._settle(asker, index)

    @property
    def _index(self) -> int:
        """What a read that comes now must see."""
        return max(self._desk.commit, self._desk.fast_index)

    def _settle(self, asker: Asker, index: int) -> None:
        """Not before it is committed: another leader's log may have something else at that index."""
        if index <= self._desk.commit:
            self.waiting -= 1
            self._answer(asker, index)
        else:
            self._unsynced.append((index, asker))

    def on_commit(self) -> None:
        unsynced = self._unsynced
        while unsynced and unsynced[0][0] <= self._desk.commit:
            index, asker = unsynced.popleft()
            self.waiting -= 1
            self._answer(asker, index)

    def lead_ends(self) -> None:
        askers = self._early + self._gathering + [asker for one in self._open for asker in one[2]]
        askers += [one[1] for one in self._unsynced]
        self._unsynced.clear()
        self._early, self._gathering = [], []
        self._open.clear()
        self.waiting = 0
        for asker in askers:
            self._refuse(asker, "lost")

    def _answer(self, asker: Asker, index: int) -> None:
        member, number, _ = asker
        desk = self._desk
        if member:
            desk.send(member, ReadReply(desk.term, number, index))
        else:
            desk.out.append(ReadReady(number, index))

    def _refuse(self, asker: Asker, reason: str) -> None:
        member, number, _ = asker
        desk = self._desk
        if member:
            desk.send(member, ReadReply(desk.term, number, 0, False))
        else:
            desk.refuse(number, reason)

    # -- a follower's part

    def forward(self, read: Read) -> None:
        desk = self._desk
        if not desk.leader:
            desk.refuse(read.ticket, "not_leader")
            return
        if len(self._asked) >= desk.config.max_reads:
            desk.refuse(read.ticket, "busy")
            return
        self._number += 1
        again = desk.now + 2 * desk.config.heartbeat_s
        self._asked[self._number] = (read.ticket, read.lease, desk.now, again)
        desk.send(desk.leader, ReadRequest(desk.term, self._number, read.lease))

    def on_reply(self, message: ReadReply) -> None:
        asked = self._asked.pop(message.number, None)
        if asked is None:
            return
        if message.ok:
            self._desk.out.append(ReadReady(asked[0], message.index))
        else:
            self._desk.refuse(asked[0], "lost")

    def on_leader_changed(self) -> None:
        asked = self._asked
        self._asked = {}
        for one in asked.values():
            self._desk.refuse(one[0], "lost")

    def on_wake(self) -> None:
        """Ask again what is not answered; give up after `election_s`."""
        desk = self._desk
        if desk.role == LEADER or desk.now < self.wake_at:
            return
        for number, (ticket, lease, when, again) in list(self._asked.items()):
            if desk.now >= when + desk.config.election_s:
                del self._asked[number]
                desk.refuse(ticket, "lost")
            elif desk.now >= again:
                self._asked[number] = (ticket, lease, when, desk.now + 2 * desk.config.heartbeat_s)
                desk.send(desk.leader, ReadRequest(desk.term, number, lease))
