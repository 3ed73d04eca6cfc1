"""Who should vote: the rules, one by one, and what must always hold."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.consensus.placement import Plan, View, Wish, plan
from agent.cluster.consensus.seats import Seen
from agent.core.gossip.facts import CLIENT, LEARNER, VOTER, Seat
from agent.core.replica.log import Members, Peer

GROUP = 7
WISH = Wish(voters=3, learners=0, replace_after_s=60.0)


def agent(name: str, member: int, zone: str = "", **more: Any) -> Seen:
    alive, failed_s = more.pop("alive", True), more.pop("failed_s", 0.0)
    seat = Seat(group_id=GROUP, member=member, wants=more.pop("wants", VOTER), durable=True, **more)
    return Seen(name, seat, alive, failed_s, zone)


def group(voters: list[Seen], learners: tuple[Seen, ...] = ()) -> Members:
    everyone = [*voters, *learners]
    return Members(
        voters=tuple(sorted(one.seat.member for one in voters)),
        learners=tuple(sorted(one.seat.member for one in learners)),
        peers=tuple(sorted((Peer(one.seat.member, one.name, one.zone) for one in everyone), key=lambda peer: peer.id)),
    )


def ask(members: Members, there: list[Seen], wish: Wish = WISH, me: int = 1, gone_s: float = 0.0) -> Plan | None:
    return plan(View(members, me, GROUP, {one.name: one for one in there}, lambda member: gone_s), wish)


A, B, C, D, E = (agent(name, number) for number, name in enumerate("abcde", 1))


def test_a_group_that_is_as_it_should_be_is_left_alone() -> None:
    assert ask(group([A, B, C]), [A, B, C, D, E]) is None


def test_one_voter_becomes_three_and_three_five_never_an_even_number_where_it_need_not() -> None:
    found = ask(group([A]), [A, B, C])
    assert found is not None and found.members.voters == (1, 2, 3)
    assert ask(group([A]), [A, B]) is None
    found = ask(group([A, B, C]), [A, B, C, D, E], Wish(voters=5, learners=0))
    assert found is not None and found.members.voters == (1, 2, 3, 4, 5)
    found = ask(group([A, B]), [A, B, C])
    assert found is not None and found.members.voters == (1, 2, 3)


def test_a_voter_that_is_gone_for_long_enough_is_replaced_and_not_before() -> None:
    gone = agent("c", 3, alive=False, failed_s=59.0)
    assert ask(group([A, B, C]), [A, B, gone, D]) is None
    gone = agent("c", 3, alive=False, failed_s=61.0)
    found = ask(group([A, B, C]), [A, B, gone, D])
    assert found is not None and found.members.voters == (1, 2, 4) and "d takes its place" in found.why
    assert {peer.id for peer in found.members.peers} == {1, 2, 4}


def test_without_another_a_voter_that_may_come_back_is_kept() -> None:
    gone = agent("c", 3, alive=False, failed_s=1e6)
    assert ask(group([A, B, C]), [A, B, gone]) is None


def test_a_voter_of_whom_membership_knows_nothing_counts_from_when_it_was_missed() -> None:
    assert ask(group([A, B, C]), [A, B, D], gone_s=10.0) is None
    found = ask(group([A, B, C]), [A, B, D], gone_s=61.0)
    assert found is not None and found.members.voters == (1, 2, 4)


def test_a_voter_that_came_back_without_its_log_is_replaced_at_once_by_itself() -> None:
    again = agent("c", 33)
    found = ask(group([A, B, C]), [A, B, again])
    assert found is not None and found.members.voters == (1, 2, 33) and "without its log" in found.why


def test_two_of_five_that_are_gone_are_given_up_where_nobody_can_replace_them() -> None:
    gone = [agent("d", 4, alive=False, failed_s=100.0), agent("e", 5, alive=False, failed_s=90.0)]
    wish = Wish(voters=5, learners=0)
    found = ask(group([A, B, C, D, E]), [A, B, C, *gone], wish)
    assert found is not None and found.members.voters == (1, 2, 3, 5)
    assert ask(group([A, B, C, D, E]), [A, B, C, D, gone[1]], wish) is None


def test_nothing_is_done_while_no_majority_is_there_or_a_change_is_under_way() -> None:
    gone = [agent("b", 2, alive=False, failed_s=100.0), agent("c", 3, alive=False, failed_s=100.0)]
    assert ask(group([A, B, C]), [A, *gone, D, E]) is None
    members = group([A, B, C])
    joint = Members(voters=members.voters, outgoing=(1, 2), peers=members.peers)
    assert ask(joint, [A, B, C, D], Wish(voters=5)) is None
    waiting = Members(voters=members.voters, target=(1, 2, 3, 4), peers=members.peers)
    assert ask(waiting, [A, B, C, D], Wish(voters=5)) is None


def test_a_change_that_waits_for_an_agent_that_is_gone_is_given_up() -> None:
    members = group([A, B], (C,))
    members = Members(voters=members.voters, learners=members.learners, peers=members.peers, target=(1, 2, 3))
    assert ask(members, [A, B, C]) is None
    for gone in (agent("c", 33), agent("c", 3, alive=False, failed_s=61.0), agent("c", 3, leaving=True)):
        found = ask(members, [A, B, gone])
        assert found is not None and found.members.voters == (1, 2) and found.members.learners == () and found.members.target == ()


def test_who_leaves_hands_its_place_over_or_goes_without() -> None:
    leaves = agent("c", 3, leaving=True)
    found = ask(group([A, B, C]), [A, B, leaves, D])
    assert found is not None and found.members.voters == (1, 2, 4)
    found = ask(group([A, B, C]), [A, B, leaves])
    assert found is not None and found.members.voters == (1, 2)


def test_zones_that_have_no_voter_come_first() -> None:
    a, b = agent("a", 1, "x"), agent("b", 2, "x")
    c, d, e = agent("c", 3, "x"), agent("d", 4, "y"), agent("e", 5, "z")
    found = ask(group([a]), [a, b, c, d, e])
    assert found is not None and found.members.voters == (1, 4, 5)
    found = ask(group([a, b, d]), [a, b, d, e, c])
    assert found is not None and found.members.voters == (1, 4, 5) and "zone z" in found.why
    assert ask(group([a, b, d]), [a, b, d, c]) is None


def test_of_too_many_one_after_the_other_stands_back_and_never_the_leader() -> None:
    found = ask(group([A, B, C, D, E]), [A, B, C, D, E])
    assert found is not None and len(found.members.voters) == 4 and 1 in found.members.voters


def test_spare_learners_are_kept_and_clients_are_not() -> None:
    wish = Wish(voters=3, learners=1)
    client = agent("d", 4, wants=CLIENT)
    found = ask(group([A, B, C]), [A, B, C, client, E], wish)
    assert found is not None and found.members.learners == (5,) and found.members.voters == (1, 2, 3)
    assert ask(group([A, B, C], (E,)), [A, B, C, client, E], wish) is None
    wanted = agent("d", 4, wants=LEARNER)
    found = ask(group([A, B, C], (E,)), [A, B, C, wanted, E], wish)
    assert found is not None and found.members.learners == (4, 5)


def test_learners_that_are_gone_are_dropped() -> None:
    gone = agent("e", 5, alive=False, failed_s=61.0)
    found = ask(group([A, B, C], (E,)), [A, B, C, gone])
    assert found is not None and found.members.learners == () and {peer.id for peer in found.members.peers} == {1, 2, 3}


def test_what_an_agent_says_of_itself_now_is_written_down() -> None:
    moved = agent("b", 2, "y")
    found = ask(group([A, B, C]), [A, moved, C])
    assert found is not None
    assert {peer.id: peer.zone for peer in found.members.peers}[2] == "y"
    assert found.members.voters == (1, 2, 3)


rows = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["voter", "learner", "none"]), st.booleans(), st.integers(0, 200), st.booleans()),
    min_size=1,
    max_size=9,
)


@given(rows, st.sampled_from([1, 3, 5, 7]), st.integers(0, 3))
def test_a_change_always_leaves_a_majority_that_is_there_and_a_group_that_is_one(
    drawn: list[tuple[str, str, bool, int, bool]], wanted: int, learners: int
) -> None:
    me = agent("a", 1, "x")
    there, voters, held = [me], [me], []
    for number, (zone, place, alive, failed_s, leaving) in enumerate(drawn, 2):
        one = agent(f"n{number}", number, zone, alive=alive, failed_s=float(failed_s), leaving=leaving)
        there.append(one)
        if place == "voter":
            voters.append(one)
        elif place == "learner":
            held.append(one)
    members = group(voters, tuple(held))
    found = ask(members, there, Wish(wanted, learners, 60.0))
    alive = {one.seat.member for one in there if one.alive}
    if found is None:
        return
    after = found.members
    assert len(alive & set(members.voters)) > len(members.voters) // 2, "nobody could have committed it"
    assert len(alive & set(after.voters)) > len(after.voters) // 2
    assert 1 in after.voters
    assert not set(after.voters) & set(after.learners)
    assert {peer.id for peer in after.peers} == {*after.voters, *after.learners}
    assert after != members
    gone_or_going = set(members.voters) - set(after.voters)
    assert len(gone_or_going) <= 1
    assert len(after.voters) >= min(len(members.voters), 3, wanted) or any(one.seat.leaving for one in there)
