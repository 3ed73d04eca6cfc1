"""Majorities, joint majorities and membership changes, as etcd-raft's own vectors have them, to the last line."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.core.raft import confchange, quorum
from agent.core.replica.log import Members
from tests.conformance.datadriven import FOLDER, Step, listed, steps

QUORUM = sorted((FOLDER / "quorum" / "testdata").glob("*.txt"))
CHANGES = sorted((FOLDER / "confchange" / "testdata").glob("*.txt"))
EVERYTHING = 1 << 60
VERDICTS = {quorum.LOST: "VoteLost", quorum.PENDING: "VotePending", quorum.WON: "VoteWon"}


def groups(step: Step) -> tuple[list[int], list[int], list[int]]:
    """Voters, outgoing voters, and all of them in the order in which the values stand."""
    voters = [int(one) for one in listed(step.get("cfg"))]
    outgoing = [int(one) for one in listed(step.get("cfgj"))]
    return voters, outgoing, list(dict.fromkeys([*voters, *outgoing]))


def chart(members: list[int], acked: dict[int, int]) -> list[str]:
    """The picture: each member's bar is as long as the number of members below it; then what is known of it."""
    if not members:
        return ["<empty majority quorum>"]
    ranked = sorted(members, key=lambda one: (acked.get(one, 0), one))
    below: dict[int, int] = {}
    for place, one in enumerate(ranked):
        before = ranked[place - 1] if place else None
        below[one] = below[before] if before is not None and acked.get(before, 0) == acked.get(one, 0) else place
    count = len(members)
    lines = [" " * count + "    idx"]
    for one in sorted(members):
        bar = ("?" + " " * count) if one not in acked else "x" * below[one] + ">" + " " * (count - below[one])
        lines.append(f"{bar} {acked.get(one, 0):5d}    (id={one})")
    return lines


def committed(step: Step) -> str:
    voters, outgoing, members = groups(step)
    values = dict(zip(members, listed(step.get("idx")), strict=True))
    acked = {one: int(value) for one, value in values.items() if value != "_"}
    index = quorum.jointly(voters, outgoing, acked, 0, EVERYTHING)
    swapped = quorum.jointly(outgoing, voters, acked, 0, EVERYTHING) if outgoing else index
    assert swapped == index, "a joint quorum has no order"
    assert quorum.jointly(voters, [], acked, 0, EVERYTHING) == quorum.jointly(voters, voters, acked, 0, EVERYTHING)
    shown = "∞" if index == EVERYTHING else str(index)
    if not members:
        return chart(members, acked)[0] + shown
    return "\n".join([*chart(members, acked), shown])


def vote(step: Step) -> str:
    voters, outgoing, members = groups(step)
    votes = {one: value == "y" for one, value in zip(members, listed(step.get("votes")), strict=True) if value != "_"}
    result = quorum.joint_vote(voters, outgoing, votes)
    if outgoing:
        assert quorum.joint_vote(outgoing, voters, votes) == result
    return VERDICTS[result]


@pytest.mark.parametrize("path", QUORUM, ids=lambda path: path.stem)
def test_majorities(path: Path) -> None:
    count = 0
    for step in steps(path):
        made = committed(step) if step.command == "committed" else vote(step)
        assert made == step.expected, f"{path.name}:{step.line}"
        count += 1
    assert count > 10


class Changer:
    """A configuration under change, and when each member was first followed: what etcd calls its progress."""

    def __init__(self) -> None:
        self.members = Members()
        self.next: dict[int, int] = {}
        self.last = 0

    def run(self, step: Step) -> str:
        changes = [(word[0], int(word[1:])) for line in step.input for word in line.split()]
        try:
            self.members = self.changed(step, changes)
        except confchange.ChangeError as error:
            self.last += 1
            return str(error)
        followed = {*self.members.voters, *self.members.outgoing, *self.members.learners}
        self.next = {one: self.next.get(one, max(self.last, 1)) for one in followed}
        self.last += 1
        return "\n".join([self.described(), *[self.progress(one) for one in sorted(followed)]])

    def changed(self, step: Step, changes: list[tuple[str, int]]) -> Members:
        if step.command == "simple":
            return confchange.simple(self.members, changes)
        if step.command == "enter-joint":
            return confchange.enter_joint(self.members, changes, step.get("autoleave") == "true")
        assert step.command == "leave-joint"
        assert not changes
        return confchange.leave_joint(self.members)

    def described(self) -> str:
        def shown(ids: tuple[int, ...]) -> str:
            return "(" + " ".join(map(str, ids)) + ")"

        now = self.members
        parts = ["voters=" + shown(now.voters) + ("&&" + shown(now.outgoing) if now.outgoing else "")]
        if now.learners:
            parts.append("learners=" + shown(now.learners))
        if now.learners_next:
            parts.append("learners_next=" + shown(now.learners_next))
        if now.auto_leave:
            parts.append("autoleave")
        return " ".join(parts)

    def progress(self, member: int) -> str:
        learner = " learner" if member in self.members.learners else ""
        return f"{member}: StateProbe match=0 next={self.next[member]}{learner}"


@pytest.mark.parametrize("path", CHANGES, ids=lambda path: path.stem)
def test_membership_changes(path: Path) -> None:
    changer = Changer()
    for step in steps(path):
        assert changer.run(step) == step.expected, f"{path.name}:{step.line}"


def test_there_are_vectors() -> None:
    assert len(QUORUM) == 4 and len(CHANGES) == 9
    assert replace(Members(), voters=(1,)) != Members()
