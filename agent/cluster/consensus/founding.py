"""How a group begins: once, with voters on whom all of them agree. Pure; the host of it tells seats and keeps promises.

Everybody who may found it says by gossip which voters it would found it with: names and the ids of their logs, as a hash, the *ballot*.
An agent whose own ballot is that of all the others in it promises it, on disk, and says so; from then on it takes part in no other.
When all of them have promised, the group is founded: its id is the ballot. Since a founded group has the promises of all its voters,
two that are founded have no voter in common. With `bootstrap` (names) there can be only one set of names at all. With
`bootstrap_expect` two sets that never saw each other are possible where more agents than expected start in a network that is divided
from the first moment; whoever sees a group founds none.

A promise whose others never came is withdrawn after `PROMISE_S`, by taking a new id: whoever founds the group with the old one has a
voter that does not exist, and no two groups get the same agent.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

from agent.core.gossip.facts import Seat

PROMISE_S: Final = 30.0
Step = Literal["wait", "promise", "found", "withdraw"]
Set = tuple[tuple[str, int], ...]
"""Voters: names and ids, sorted."""


def ballot_of(cluster: str, group: str, voters: Set) -> int:
    """1 to 2**53-1."""
    text = repr((cluster, group, voters)).encode()
    return int.from_bytes(hashlib.sha256(b"pilotfish-founding:" + text).digest()[:8], "big") % (2**53 - 1) + 1


class Founding:
    """One agent's part in it. names: `bootstrap`; expect: `bootstrap_expect`, where there are no names."""

    def __init__(self, cluster: str, group: str, name: str, member: int, names: tuple[str, ...], expect: int, settle_s: float) -> None:
        self._cluster = cluster
        self._group = group
        self._name = name
        self._member = member
        self._names = tuple(sorted(names))
        self._expect = len(names) or expect
        self._settle_s = settle_s
        self.voters: Set = ()
        self.ballot = 0
        self.promised = False
        self.why = "nobody has been looked at"
        """For people: what it waits for."""
        self._since = 0.0

    def keep(self, voters: Set, now: float) -> None:
        """The promise is on disk, now or since before a restart."""
        self.voters = voters
        self.ballot = ballot_of(self._cluster, self._group, voters)
        self.promised = True
        self._since = now

    def look(self, now: float, seats: Mapping[str, Seat]) -> Step:
        """`seats`: of the other agents that are alive. After `promise`: write `voters` down, then `keep`. `withdraw`: take a new id."""
        others = {name: seat for name, seat in seats.items() if name != self._name}
        if self.promised:
            return self._collect(now, others)
        if any(seat.group_id for seat in others.values()):
            self.ballot = 0
            self.why = "there is a group already"
            return "wait"
        voters = self._choose(others)
        if not voters:
            self.ballot = 0
            return "wait"
        ballot = ballot_of(self._cluster, self._group, voters)
        if ballot != self.ballot:
            self.voters, self.ballot, self._since = voters, ballot, now
        if now - self._since < self._settle_s:
            self.why = f"{len(voters)} agents are there; whether they stay is waited for"
            return "wait"
        missing = [name for name, _ in voters if name != self._name and others[name].ballot != ballot]
        if missing:
            self.why = f"{', '.join(missing)} would found it with others, so far"
            return "wait"
        return "promise"

    def _choose(self, others: Mapping[str, Seat]) -> Set:
        able = {name: seat.member for name, seat in others.items() if seat.expect == self._expect and seat.member}
        able[self._name] = self._member
        if self._names:
            missing = [name for name in self._names if name not in able]
            if missing:
                self.why = f"{', '.join(missing)} of `bootstrap` are not there, or are configured otherwise"
                return ()
            chosen = list(self._names)
        else:
            if len(able) < self._expect:
                self.why = f"{len(able)} agents with bootstrap_expect {self._expect} are there"
                return ()
            chosen = sorted(able)[: self._expect]
            if self._name not in chosen:
                self.why = f"{', '.join(chosen)} found the group; this agent joins it"
                return ()
        return tuple((name, able[name]) for name in chosen)

    def _collect(self, now: float, others: Mapping[str, Seat]) -> Step:
        missing = []
        for name, member in self.voters:
            seat = others.get(name)
            if name == self._name or (seat is not None and seat.member == member and self.ballot in (seat.group_id, seat.promised)):
                continue
            missing.append(name)
        if not missing:
            return "found"
        self.why = f"{', '.join(missing)} have not promised yet"
        elsewhere = any(seat.group_id not in (0, self.ballot) for seat in others.values())
        return "withdraw" if elsewhere or now - self._since > PROMISE_S else "wait"
