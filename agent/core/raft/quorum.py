"""Majorities, and two of them at once while a group is in joint consensus (4.3). An empty set of voters agrees to everything."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

LOST: Final = 0
PENDING: Final = 1
WON: Final = 2

Ordered = TypeVar("Ordered", int, float)


def agreed(voters: Sequence[int], acked: Mapping[int, Ordered], nothing: Ordered, everything: Ordered) -> Ordered:
    """The highest value that a majority has reached or passed: an index, or a time. Who is missing in `acked` stands at `nothing`."""
    count = len(voters)
    if not count:
        return everything
    values = sorted([acked.get(voter, nothing) for voter in voters])
    return values[(count - 1) // 2]


def jointly(voters: Sequence[int], outgoing: Sequence[int], acked: Mapping[int, Ordered], nothing: Ordered, everything: Ordered) -> Ordered:
    """What both majorities have reached."""
    first = agreed(voters, acked, nothing, everything)
    if not outgoing:
        return first
    return min(first, agreed(outgoing, acked, nothing, everything))


def vote(voters: Sequence[int], votes: Mapping[int, bool]) -> int:
    """`WON`, `LOST`, or `PENDING`."""
    if not voters:
        return WON
    granted = sum([votes.get(voter, False) for voter in voters])
    refused = sum([not votes.get(voter, True) for voter in voters])
    needed = len(voters) // 2 + 1
    if granted >= needed:
        return WON
    return LOST if len(voters) - refused < needed else PENDING


def joint_vote(voters: Sequence[int], outgoing: Sequence[int], votes: Mapping[int, bool]) -> int:
    """Won where both won, lost where either lost."""
    return min(vote(voters, votes), vote(outgoing, votes)) if outgoing else vote(voters, votes)
