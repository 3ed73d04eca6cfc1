"""The member list's order of probing and its seats, under any history."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agent.core.swim.members import Member, Members
from agent.core.swim.messages import ALIVE, DEAD, LEFT, SUSPECT, NodeState


def node(number: int, state: int = ALIVE) -> NodeState:
    return NodeState(f"n{number}", bytes((10, 0, 0, number)), 7946, 1, state)


def check(members: Members) -> None:
    known = [member for member in members.by_name.values() if member is not members.own]
    live = [member for member in known if member.node.state <= SUSPECT]
    dead = [member for member in known if member.node.state == DEAD]
    assert {id(member) for member in members.live} == {id(member) for member in live} and len(members.live) == len(live)
    assert {id(member) for member in members.dead} == {id(member) for member in dead} and len(members.dead) == len(dead)
    for seats in (members.live, members.dead):
        assert all(seats[member.seat] is member for member in seats)
    assert all(members.recent[member.recent_seat] is member for member in members.recent)
    assert all(member.recent_seat == -1 for member in live)
    assert len(members.view()) == len(known) + 1


@given(st.lists(st.tuples(st.sampled_from(["add", "state", "reap", "next", "quiet"]), st.integers(1, 12), st.sampled_from([0, 1, 2, 3]))))
def test_seats_are_kept_under_any_history(history: list[tuple[str, int, int]]) -> None:
    members = Members(Member(node(0), 0.0), Random(1).random)
    for what, number, state in history:
        member = members.by_name.get(f"n{number}")
        if what == "add" and member is None:
            members.add(node(number, state), 0.0)
        elif what == "state" and member is not None and not (member.node.state >= DEAD and state >= DEAD):
            members.set_state(member, state, 1, 1.0)
        elif what == "reap" and member is not None and member.node.state in (DEAD, LEFT):
            members.reap(member)
        elif what == "quiet" and member is not None:
            members.drop_recent(member)
        elif what == "next":
            chosen = members.next_target()
            assert (chosen is None) == (not members.live)
        check(members)


@given(st.integers(1, 30), st.integers(0, 2**32), st.lists(st.integers(0, 200), max_size=8))
def test_everybody_is_probed_once_in_a_round_even_while_some_die(count: int, seed: int, deaths: list[int]) -> None:
    random = Random(seed)
    members = Members(Member(node(0), 0.0), random.random)
    for number in range(1, count + 1):
        members.add(node(number), 0.0)
    for _ in range(random.randrange(count)):
        members.next_target()
    # Begin a round.
    while members._cursor < len(members.live):
        members.next_target()
    there = {member.node.name for member in members.live}
    dying = {death % count + 1 for death in deaths if death % count + 1 < count}
    probed: list[str] = []
    for _ in range(count):
        if dying and random.random() < 0.5:
            name = f"n{dying.pop()}"
            members.set_state(members.by_name[name], DEAD, 1, 1.0)
            there.discard(name)
        if members._cursor < len(members.live) or not probed:
            chosen = members.next_target()
            assert chosen is not None
            probed.append(chosen.node.name)
    assert len(probed) == len(set(probed))
    assert there <= set(probed)


def test_a_view_is_made_anew_only_when_something_changed() -> None:
    members = Members(Member(node(0), 0.0), Random(1).random)
    members.add(node(1), 0.0)
    view = members.view()
    assert members.view() is view
    members.set_state(members.by_name["n1"], SUSPECT, 1, 1.0)
    assert members.view() is not view
    assert view[1].state == ALIVE
