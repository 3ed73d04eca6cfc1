"""Which agents should vote: three to seven, over distinct zones, alive. Pure; the leader asks it now and then and carries out one change
at a time.

A change never counts on more than who is there now: it is made only where a majority of the voters before it and of those after it is
alive. A voter that is merely gone is not given up without another to take its place, since it may come back with its log, unless that
leaves the rest safer. One whose agent is back with another log (or none) is gone for good.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from agent.cluster.consensus.seats import Seen
from agent.core.gossip.facts import LEARNER, VOTER
from agent.core.replica.log import Members, Peer

LEARNERS_MAX: Final = 64
"""Agents that hold the state without voting; more ask others."""
VOTERS_LEAST: Final = 3
"""Below this, losing one is not survived: no voter is given up without another in its place."""
FOR_GOOD_S: Final = float("inf")


class Wish(Struct, frozen=True):
    """How a group should be. replace_after_s: how long a voter must have been gone."""

    voters: int = 3
    learners: int = 2
    replace_after_s: float = 60.0


class Plan(Struct, frozen=True):
    members: Members
    why: str


class View:
    """Who is who, as the leader sees it. `gone_s(id)`: for how long a member has been gone that membership does not know."""

    def __init__(self, members: Members, me: int, group_id: int, seen: Mapping[str, Seen], gone_s: Callable[[int], float]) -> None:
        self.members = members
        self.me = me
        self.group_id = group_id
        self.peers = {peer.id: peer for peer in members.peers}
        self.seen = seen
        self._gone_s = gone_s

    def gone_s(self, member: int) -> float:
        """0 where it is there; infinite where it will not come back under this id."""
        if member == self.me:
            return 0.0
        row = self.seen.get(self.peers[member].name)
        if row is None:
            return max(self._gone_s(member), 1e-9)
        if not row.alive:
            return max(row.failed_s, 1e-9)
        if row.seat.member == member:
            return 0.0
        # It is there with another log; or (0) it takes no part at present, and may again.
        return FOR_GOOD_S if row.seat.member else max(self._gone_s(member), 1e-9)

    def alive(self, members: Iterable[int]) -> set[int]:
        return {member for member in members if self.gone_s(member) == 0.0}

    def leaving(self, member: int) -> bool:
        row = self.seen.get(self.peers[member].name)
        return member != self.me and row is not None and row.seat.member == member and row.seat.leaving

    def able(self, wants: int) -> list[Seen]:
        """Agents that may be taken in, or are learners already, and want at least this much."""
        voters = {self.peers[member].name for member in self.members.voters if self.gone_s(member) != FOR_GOOD_S}
        return [
            row
            for name, row in sorted(self.seen.items())
            if row.alive
            and row.seat.member
            and not row.seat.leaving
            and wants <= row.seat.wants <= VOTER
            and row.seat.group_id in (0, self.group_id)
            and row.seat.promised in (0, self.group_id)
            and name not in voters
        ]


def plan(view: View, wish: Wish) -> Plan | None:
    """The next change; None where all is well, or nothing can be done now."""
    members = view.members
    if members.outgoing:
        return None  # a change is under way, and ends by itself
    if len(view.alive(members.voters)) <= len(members.voters) // 2:
        return None  # nothing could be committed
    if members.target:
        return _given_up(view, wish)
    for step in (_gone_learners, _gone_voters, _leaving, _told_otherwise, _too_few, _too_many, _zones, _learners):
        found = step(view, wish)
        if found is not None:
            return found
    return None


def _given_up(view: View, wish: Wish) -> Plan | None:
    """A change waits for a learner to catch up that is not there any more."""
    for member in view.members.target:
        if member in view.members.learners and (view.gone_s(member) > wish.replace_after_s or view.leaving(member)):
            return _plan(view, set(view.members.voters), drop={member}, why=f"{_name(view, member)} was to vote and is gone")
    return None


def _gone_learners(view: View, wish: Wish) -> Plan | None:
    for learner in view.members.learners:
        row = view.seen.get(view.peers[learner].name)
        gone_s = view.gone_s(learner)
        unwanted = row is not None and row.alive and row.seat.member == learner and row.seat.wants not in (LEARNER, VOTER)
        if gone_s == FOR_GOOD_S or gone_s > wish.replace_after_s or view.leaving(learner) or unwanted:
            return _plan(view, set(view.members.voters), drop={learner}, why=f"{_name(view, learner)} holds the state no more")
    return None


def _gone_voters(view: View, wish: Wish) -> Plan | None:
    gone = [(view.gone_s(voter), voter) for voter in view.members.voters]
    gone = sorted(((s, voter) for s, voter in gone if s > wish.replace_after_s), reverse=True)
    for gone_s, voter in gone:
        why = (
            f"{_name(view, voter)} is back without its log"
            if gone_s == FOR_GOOD_S
            else f"{_name(view, voter)} has been gone for {gone_s:.0f} s"
        )
        found = _swap(view, voter, why) or _give_up(view, voter, len(gone), why)
        if found is not None:
            return found
    return None


def _leaving(view: View, wish: Wish) -> Plan | None:
    for voter in view.members.voters:
        if view.leaving(voter):
            why = f"{_name(view, voter)} leaves"
            found = _swap(view, voter, why)
            if found is None and len(view.members.voters) > 1:
                found = _checked(view, set(view.members.voters) - {voter}, why)
            if found is not None:
                return found
    return None


def _swap(view: View, voter: int, why: str) -> Plan | None:
    """Another in its place."""
    rest = set(view.members.voters) - {voter}
    spare = _best(view, rest)
    return _checked(view, rest | {spare.seat.member}, f"{why}; {spare.name} takes its place", spare) if spare is not None else None


def _give_up(view: View, voter: int, gone: int, why: str) -> Plan | None:
    """Without it, where that makes the rest safer or at least not less safe: two of five that are gone, not one of three."""
    rest = set(view.members.voters) - {voter}
    if len(rest) < VOTERS_LEAST or gone < 2:
        return None
    return _checked(view, rest, why)


def _too_few(view: View, wish: Wish) -> Plan | None:
    """By two where it is an odd number now: an even number of voters survives no more than one less does."""
    voters = set(view.members.voters)
    missing = wish.voters - len(voters)
    if missing <= 0:
        return None
    coming: list[Seen] = []
    for _ in range(2 if len(voters) % 2 else 1):
        spare = _best(view, voters | {row.seat.member for row in coming}, coming)
        if spare is None:
            return None
        coming.append(spare)
    names = " and ".join(row.name for row in coming)
    return _checked(view, voters | {row.seat.member for row in coming}, f"{len(voters)} of {wish.voters} voters; {names} joins", *coming)


def _too_many(view: View, wish: Wish) -> Plan | None:
    voters = set(view.members.voters)
    if len(voters) <= wish.voters:
        return None
    zones = Counter(view.peers[voter].zone for voter in voters)
    going = max(voters - {view.me}, key=lambda voter: (zones[view.peers[voter].zone], -view.peers[voter].priority, _name(view, voter)))
    return _checked(view, voters - {going}, f"{len(voters)} voters, {wish.voters} wanted: {_name(view, going)} stands back")


def _zones(view: View, wish: Wish) -> Plan | None:
    """A zone that has none in place of one that has two; while everybody is well."""
    voters = set(view.members.voters)
    if len(view.alive(voters)) < len(voters):
        return None
    zones = Counter(view.peers[voter].zone for voter in voters)
    crowded = [voter for voter in sorted(voters) if view.peers[voter].zone and zones[view.peers[voter].zone] > 1 and voter != view.me]
    spare = _best(view, voters)
    if not crowded or spare is None or not spare.zone or zones[spare.zone]:
        return None
    going = min(crowded, key=lambda voter: (-zones[view.peers[voter].zone], view.peers[voter].priority, _name(view, voter)))
    why = f"zone {spare.zone} has no voter, {view.peers[going].zone} has {zones[view.peers[going].zone]}"
    return _checked(view, voters - {going} | {spare.seat.member}, why, spare)


def _learners(view: View, wish: Wish) -> Plan | None:
    members = view.members
    held = {view.peers[learner].name for learner in members.learners}
    if len(held) >= LEARNERS_MAX:
        return None
    for row in view.able(LEARNER):
        wanted = row.seat.wants == LEARNER or len(held) < wish.learners
        if wanted and row.name not in held:
            return _plan(view, set(members.voters), add=(row,), why=f"{row.name} holds the state")
    return None


def _told_otherwise(view: View, wish: Wish) -> Plan | None:
    """Zones, regions and priorities as their agents say them now."""
    others = []
    for peer in view.members.peers:
        row = view.seen.get(peer.name)
        if row is not None and row.alive and row.seat.member == peer.id and _peer(row) != peer:
            others.append(row)
    if not others:
        return None
    names = ", ".join(row.name for row in others)
    return _plan(view, set(view.members.voters), add=others, why=f"zone, region or priority of {names}", keep_learners=True)


def _best(view: View, voters: set[int], besides: Iterable[Seen] = ()) -> Seen | None:
    """Of those that may vote and do not: a zone that has fewest, one that has the state already, the higher priority, the first name."""
    taken = {row.name for row in besides}
    zones = Counter(view.peers[voter].zone for voter in voters if voter in view.peers)
    zones.update(row.zone for row in besides)
    held = set(view.members.learners)
    spares = [row for row in view.able(VOTER) if row.name not in taken and row.seat.member not in voters]
    return min(
        spares,
        key=lambda row: (zones[row.zone], row.seat.member not in held, not row.seat.durable, -row.seat.priority, row.name),
        default=None,
    )


def _checked(view: View, voters: set[int], why: str, *coming: Seen) -> Plan | None:
    """None where a majority of those voters is not there."""
    there = view.alive(voter for voter in voters if voter in view.peers) | {row.seat.member for row in coming}
    return _plan(view, voters, add=coming, why=why) if len(there) > len(voters) // 2 else None


def _plan(
    view: View, voters: set[int], *, add: Iterable[Seen] = (), drop: Iterable[int] = (), why: str, keep_learners: bool = False
) -> Plan:
    members = view.members
    peers = dict(view.peers)
    learners = set(members.learners) - set(drop) - voters
    for row in add:
        peers[row.seat.member] = _peer(row)
        if row.seat.member not in voters and not (keep_learners and row.seat.member in members.learners):
            learners.add(row.seat.member)
    named = voters | learners
    return Plan(
        replace(
            members,
            voters=tuple(sorted(voters)),
            learners=tuple(sorted(learners)),
            peers=tuple(peer for _, peer in sorted(peers.items()) if peer.id in named),
            target=(),
            learners_next=(),
        ),
        why,
    )


def _peer(row: Seen) -> Peer:
    return Peer(row.seat.member, row.name, row.zone, row.region, row.seat.priority)


def _name(view: View, member: int) -> str:
    return view.peers[member].name
