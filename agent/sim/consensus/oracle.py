"""The promises of a replicated log, checked at every step against what all replicas together have done.

Ongaro and Ousterhout (2014), figure 3: election safety, leader append-only, log matching, leader completeness, state-machine safety.
Beside them: a leader commits what is of its own term (figure 8), nobody votes twice in a term, nothing that was synchronised is
forgotten, the commit index only grows, what is delivered is durable on a majority, and what a client was told stays true (`acked`,
`read_at`).

Each check costs the same however long the run: the oracle keeps, for each replica, the terms of its log, and for each place and term
that ever was in a log, what stood there and the term before it. That logs match then follows by induction.
"""

from bisect import bisect_right
from zlib import crc32

from agent.core.replica.io import Changed, Persist
from agent.core.replica.log import Entry, Members, Recovered, SnapshotMeta
from agent.sim.consensus.driver import Driver
from agent.sim.consensus.host import Host
from agent.sim.consensus.watch import Watcher


class Violation(AssertionError):
    """A promise is broken. The engine adds the seed and the time."""


class Shadow:
    """What the oracle knows of one life of a log."""

    __slots__ = (
        "base",
        "base_term",
        "commit",
        "durable",
        "durable_base",
        "durable_term",
        "durable_vote",
        "led_last",
        "term",
        "terms",
        "vote",
    )

    def __init__(self) -> None:
        self.base = 0
        """Index of the snapshot that the log begins after."""
        self.base_term = 0
        self.terms: list[int] = []
        """Of the entries from `base` + 1 on, written or not."""
        self.durable: list[int] = []
        """Of those, as far as they were synchronised."""
        self.durable_base = 0
        self.term = 0
        self.vote = 0
        self.durable_term = 0
        self.durable_vote = 0
        self.commit = 0
        self.led_last = 0
        """While it leads: the last index that it has written."""

    def last(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int:
        """0: nothing stands there. What a snapshot covers is taken for right."""
        if index <= self.base:
            return self.base_term if index == self.base else -1
        place = index - self.base - 1
        return self.terms[place] if place < len(self.terms) else 0

    def has_durably(self, index: int, term: int) -> bool:
        if index <= self.durable_base:
            return True
        place = index - self.durable_base - 1
        return place < len(self.durable) and self.durable[place] == term


def put(terms: list[int], base: int, entries: tuple[Entry, ...]) -> None:
    """Entries replace whatever stands at their indices and after."""
    start = entries[0].index - base - 1
    skip = max(0, -start)
    del terms[max(0, start) :]
    terms.extend(entry.term for entry in entries[skip:])


class Oracle(Watcher):
    """`durable_majorities`: what is delivered must be on the disks of a majority (not so where the disk is not asked: in memory)."""

    def __init__(self, driver: Driver, *, durable_majorities: bool = True, one_leader: bool = True) -> None:
        self.driver = driver
        self.durable_majorities = durable_majorities
        self.one_leader = one_leader
        self.shadows: dict[int, Shadow] = {}
        self.leaders: dict[int, int] = {}
        self.written: dict[tuple[int, int], tuple[int, int]] = {}
        """(index, term) of every entry that ever was in a log → (checksum, term of the one before it)."""
        self.committed: dict[int, tuple[int, int]] = {}
        """index → (term, checksum), as first delivered."""
        self.members: list[tuple[int, Members]] = []
        """Who belongs to the group from which committed index on."""
        self.last_committed = 0
        self.digests: dict[int, bytes] = {}
        self.requests: dict[tuple[int, int], int] = {}
        """(session, request) → the index at which it was executed first."""
        self._acked: list[tuple[float, int]] = [(0.0, 0)]
        """Times and the highest index that some client had been told of by then."""
        self.checks = 0

    def broken(self, promise: str, host: Host, **facts: object) -> Violation:
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        return Violation(f"{promise}: {host.name} (id {host.peer}): {told}")

    # -- logs

    def started(self, host: Host, recovered: Recovered) -> None:
        shadow = self.shadows.setdefault(host.peer, Shadow())
        hard, snapshot = recovered.hard, recovered.snapshot
        if (hard.term, hard.vote) < (shadow.durable_term, shadow.durable_vote) and hard.term <= shadow.durable_term:
            raise self.broken("durability: a vote is forgotten", host, found=hard, synchronised=(shadow.durable_term, shadow.durable_vote))
        terms = [entry.term for entry in recovered.entries]
        self._kept(host, shadow, snapshot, terms)
        shadow.base, shadow.base_term, shadow.terms = snapshot.index, snapshot.term, terms
        shadow.durable_base, shadow.durable = snapshot.index, list(terms)
        shadow.term, shadow.vote = hard.term, hard.vote
        shadow.durable_term, shadow.durable_vote = hard.term, hard.vote
        shadow.commit = snapshot.index
        shadow.led_last = 0
        if recovered.entries:
            self._match(host, recovered.entries, snapshot.term if recovered.entries[0].index == snapshot.index + 1 else None)
        self._says_where_it_is(host)
        if snapshot.index and not self.members:
            self.members.append((snapshot.index, snapshot.members))
            self.last_committed = snapshot.index

    def _kept(self, host: Host, shadow: Shadow, snapshot: SnapshotMeta, terms: list[int]) -> None:
        """What was synchronised is still there, unless something else was on its way to take its place."""
        for place, term in enumerate(shadow.durable):
            index = shadow.durable_base + 1 + place
            if index <= snapshot.index or shadow.term_at(index) not in (term, -1):
                continue
            found = terms[index - snapshot.index - 1] if index - snapshot.index - 1 < len(terms) else 0
            if found != term:
                raise self.broken("durability: a synchronised entry is forgotten", host, index=index, found=found, expected=term)

    def persisting(self, host: Host, batch: Persist) -> None:
        shadow = self.shadows[host.peer]
        hard = batch.hard
        if hard is not None:
            if hard.term < shadow.term:
                raise self.broken("terms only grow", host, found=hard.term, before=shadow.term)
            if hard.term == shadow.term and shadow.vote not in (0, hard.vote):
                raise self.broken("one vote a term", host, term=hard.term, first=shadow.vote, then=hard.vote)
            shadow.term, shadow.vote = hard.term, hard.vote
        entries = batch.entries
        if not entries:
            return
        first = entries[0].index
        if first > shadow.last() + 1:
            raise self.broken("a log has no gap", host, found=first, last=shadow.last())
        leads = host.role == "leader" and (hard is None or hard.term == host.term)
        if leads and self.one_leader and first <= shadow.led_last:
            raise self.broken("leader append-only", host, index=first, last=shadow.led_last)
        self._match(host, entries, shadow.term_at(first - 1))
        put(shadow.terms, shadow.base, entries)
        if leads:
            shadow.led_last = shadow.last()

    def _match(self, host: Host, entries: tuple[Entry, ...], before: int | None) -> None:
        """Log matching: an entry of one index and term is the same everywhere, and so is the one before it."""
        for entry in entries:
            key = (entry.index, entry.term)
            content = crc32(entry.data, entry.kind)
            known = self.written.get(key)
            if known is None:
                self.written[key] = (content, -1 if before is None else before)
            elif known[0] != content:
                raise self.broken("log matching: two entries of one index and term", host, index=entry.index, term=entry.term)
            elif before not in (None, -1) and known[1] not in (-1, before):
                raise self.broken(
                    "log matching: two entries before one", host, index=entry.index, term=entry.term, before=(known[1], before)
                )
            before = entry.term
            self.checks += 1

    def durable(self, host: Host, batches: list[Persist]) -> None:
        shadow = self.shadows[host.peer]
        for batch in batches:
            if batch.hard is not None:
                shadow.durable_term, shadow.durable_vote = batch.hard.term, batch.hard.vote
            if batch.entries:
                if batch.entries[0].index > shadow.durable_base + len(shadow.durable) + 1:
                    shadow.durable_base, shadow.durable = batch.entries[0].index - 1, []
                put(shadow.durable, shadow.durable_base, batch.entries)

    # -- who leads

    def changed(self, host: Host, effect: Changed) -> None:
        if effect.role != "leader":
            return
        shadow = self.shadows[host.peer]
        first = self.leaders.setdefault(effect.term, host.peer)
        if first != host.peer and self.one_leader:
            raise self.broken("election safety", host, term=effect.term, other=first)
        shadow.led_last = shadow.last()
        known = self.committed.get(self.last_committed)
        if known is not None and known[0] < effect.term and shadow.term_at(self.last_committed) not in (known[0], -1):
            found = shadow.term_at(self.last_committed)
            raise self.broken("leader completeness", host, term=effect.term, index=self.last_committed, found=found, committed=known[0])

    def stepped(self, host: Host) -> None:
        assert host.core is not None
        shadow = self.shadows[host.peer]
        commit = host.core.commit
        if commit < shadow.commit:
            raise self.broken("the commit index only grows", host, before=shadow.commit, now=commit)
        if commit > shadow.commit:
            shadow.commit = commit
            if host.role == "leader" and self.one_leader and shadow.term_at(commit) not in (host.term, 0, -1):
                # (0: its own disk is not that far; others' are.)
                raise self.broken("a leader commits entries of its own term", host, index=commit, term=shadow.term_at(commit))

    # -- what is committed

    def delivering(self, host: Host, entry: Entry) -> None:
        index = entry.index
        if index != host.applied + 1:
            raise self.broken("delivered in order, once, without a gap", host, found=index, applied=host.applied)
        content = crc32(entry.data, entry.kind)
        known = self.committed.get(index)
        if known is None:
            self.committed[index] = (entry.term, content)
            self.last_committed = max(self.last_committed, index)
            if self.durable_majorities:
                self._on_a_majority(host, entry)
        elif known != (entry.term, content):
            raise self.broken("state-machine safety", host, index=index, term=entry.term, first=known[0])
        self.checks += 1

    def _on_a_majority(self, host: Host, entry: Entry) -> None:
        # A change of members may have come into the log in the step that committed this under those before.
        if not any(self._majorities_have(members, entry) for members in (host.members, host.members_before)):
            holders = [peer for peer in host.members.voters if self._has(peer, entry)]
            raise self.broken("durable before committed", host, index=entry.index, holders=len(holders), voters=len(host.members.voters))

    def _has(self, peer: int, entry: Entry) -> bool:
        shadow = self.shadows.get(peer)
        return shadow is not None and shadow.has_durably(entry.index, entry.term)

    def _majorities_have(self, members: Members, entry: Entry) -> bool:
        return all(not side or sum(self._has(peer, entry) for peer in side) > len(side) // 2 for side in (members.voters, members.outgoing))

    def applied(self, host: Host, entry: Entry, value: object) -> None:
        assert host.machine is not None
        if entry.index % 16 == 0:
            self.same_state(host)

    def same_state(self, host: Host) -> None:
        """All state machines are the same after the same entries."""
        assert host.machine is not None
        digest = host.machine.digest()
        if self.digests.setdefault(host.applied, digest) != digest:
            raise self.broken("state-machine safety: states differ", host, index=host.applied)

    def _says_where_it_is(self, host: Host) -> None:
        """A snapshot holds the state at the index that it is said to be of. (The first one is an empty state, at index 1.)"""
        assert host.machine is not None
        if host.machine.index != host.applied > 1:
            raise self.broken("state-machine safety: a snapshot of another index", host, found=host.machine.index, expected=host.applied)

    def installed(self, host: Host, meta: SnapshotMeta) -> None:
        known = self.committed.get(meta.index)
        if known is not None and known[0] != meta.term:
            raise self.broken("a snapshot of what was not committed", host, index=meta.index, term=meta.term, committed=known[0])
        if meta.index > self.last_committed:
            raise self.broken("a snapshot of what was not committed", host, index=meta.index, last=self.last_committed)
        self._says_where_it_is(host)
        self.same_state(host)
        shadow = self.shadows[host.peer]
        if shadow.term_at(meta.index) != meta.term:
            shadow.base, shadow.base_term, shadow.terms = meta.index, meta.term, []
            shadow.durable_base, shadow.durable = meta.index, []

    # -- what clients were told

    def acked(self, index: int) -> None:
        """Some client knows now that the log is committed up to here."""
        if index > self._acked[-1][1]:
            self._acked.append((self.driver.engine.now, index))

    def floor(self, when: float) -> int:
        """The highest index that a client had been told of before this (simulated) time."""
        return self._acked[max(0, bisect_right(self._acked, (when, 0)) - 1)][1]

    def read_at(self, host: Host, index: int, since: float) -> None:
        """A read was answered from the state at `index` and promised all that was acknowledged before `since`."""
        if index < self.floor(since):
            raise self.broken("no read staler than promised", host, index=index, acknowledged=self.floor(since), since=f"{since:.4f}")
