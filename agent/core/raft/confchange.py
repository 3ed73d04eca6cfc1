"""The arithmetic of membership changes, as etcd's `confchange` has it: one voter at a time, or through a joint configuration (4.3).

Changes are (kind, id) in their order: add or promote a voter, add or demote to a learner, remove, update (nothing here). Id 0 is ignored.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from agent.core.replica.log import Members

VOTER: Final = "v"
LEARNER: Final = "l"
REMOVE: Final = "r"
UPDATE: Final = "u"

Change = tuple[str, int]


class ChangeError(ValueError):
    """These changes cannot be made to those members; the text says why."""


class _Draft:
    """Members while changes are made to them."""

    def __init__(self, members: Members) -> None:
        self.voters = set(members.voters)
        self.outgoing = set(members.outgoing)
        self.learners = set(members.learners)
        self.learners_next = set(members.learners_next)

    def make(self, changes: Iterable[Change]) -> None:
        for kind, member in changes:
            if not member or kind == UPDATE:
                continue
            if kind == VOTER:
                self.voters.add(member)
                self.learners.discard(member)
                self.learners_next.discard(member)
            elif kind == LEARNER:
                self._learner(member)
            else:
                assert kind == REMOVE, kind
                for group in (self.voters, self.learners, self.learners_next):
                    group.discard(member)
        if not self.voters:
            raise ChangeError("removed all voters")

    def _learner(self, member: int) -> None:
        self.voters.discard(member)
        # Who still votes in the outgoing part becomes a learner when that part ends: nobody is both.
        if member in self.outgoing:
            self.learners_next.add(member)
        else:
            self.learners.add(member)

    def members(self, like: Members, auto_leave: bool) -> Members:
        named = self.voters | self.outgoing | self.learners | self.learners_next
        return replace(
            like,
            voters=tuple(sorted(self.voters)),
            outgoing=tuple(sorted(self.outgoing)),
            learners=tuple(sorted(self.learners)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=auto_leave,
            peers=tuple([peer for peer in like.peers if peer.id in named]),
        )


def simple(members: Members, changes: Sequence[Change]) -> Members:
    """Changes of which at most one is to the voters: old and new majorities overlap, no joint part is needed (4.1)."""
    if members.outgoing:
        raise ChangeError("can't apply simple config change in joint config")
    draft = _Draft(members)
    draft.make(changes)
    if len(draft.voters.symmetric_difference(members.voters)) > 1:
        raise ChangeError("more than one voter changed without entering joint config")
    return draft.members(members, False)


def enter_joint(members: Members, changes: Sequence[Change], auto_leave: bool) -> Members:
    """The joint configuration: the voters as they are become the outgoing part."""
    if members.outgoing:
        raise ChangeError("config is already joint")
    if not members.voters:
        raise ChangeError("can't make a zero-voter config joint")
    draft = _Draft(members)
    draft.outgoing = set(members.voters)
    draft.make(changes)
    return draft.members(members, auto_leave)


def leave_joint(members: Members) -> Members:
    """The incoming part alone."""
    if not members.outgoing:
        raise ChangeError("can't leave a non-joint config")
    draft = _Draft(members)
    draft.outgoing = set()
    draft.learners |= draft.learners_next
    draft.learners_next = set()
    return draft.members(members, False)
