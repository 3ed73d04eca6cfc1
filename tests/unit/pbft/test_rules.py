"""What a replica does and refuses, where a whole group would show it too seldom. Sections: Castro and Liskov, OSDI 1999."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.pbft import messages as m
from agent.core.pbft.board import Diverged
from agent.core.pbft.certificates import plan, wrong_with_new_view, wrong_with_view_change
from agent.core.pbft.desk import faults, quorum
from agent.core.pbft.reads import decide
from agent.core.pbft.state import NUMBERS, genesis, is_done, render, with_done
from agent.core.replica import io
from tests.unit.pbft.rig import CONFIG, Rig, commit, pre_prepare, prepare, prepared, request, said, signed

ONE = pre_prepare(0, 1, request(3, 1))


@pytest.mark.parametrize("n", range(4, 20))
def test_two_quorums_share_a_correct_member_and_the_correct_ones_are_one(n: int) -> None:
    """4: any two quorums intersect in a correct replica, and there is always a quorum without faulty ones."""
    f = faults(n)
    assert 2 * quorum(n) - n >= f + 1
    assert n - f >= quorum(n)
    if n == 3 * f + 1:
        assert quorum(n) == 2 * f + 1


def test_nothing_is_prepared_before_it_is_on_disk_and_nothing_committed_either() -> None:
    rig = Rig()
    rig.slow = True
    assert not said(rig.hear(1, ONE), m.Prepare)
    assert said(rig.sync(), m.Prepare)
    assert not said(rig.hear(3, prepare(3, ONE)), m.Commit)
    assert said(rig.sync(), m.Commit)


def test_a_message_in_ones_own_name_from_another_is_checked_like_any() -> None:
    rig = Rig()
    rig.hear(1, replace(commit(2, ONE), sig=b"made up"), commit(1, ONE), commit(3, ONE), ONE)
    assert not rig.delivered
    assert rig.core.suspicions.counts[1, "signature"] == 1
    rig.hear(2, commit(2, ONE))
    assert rig.core.suspicions.counts[2, "malformed"] == 1


def test_commits_of_a_quorum_are_enough_where_no_proposal_came_and_the_batch_is_fetched() -> None:
    rig = Rig()
    asked = said(rig.hear(1, commit(1, ONE)) + rig.hear(3, commit(3, ONE)) + rig.hear(4, commit(4, ONE)), m.FetchBatch)
    assert asked == [m.FetchBatch(1, ONE.proposal.digest)]
    other = m.BatchIs(1, m.Batch(0, (request(3, 2),)))
    rig.hear(3, other)
    assert not rig.delivered and rig.core.suspicions.counts[3, "state"] == 1
    rig.hear(4, m.BatchIs(1, ONE.batch))
    assert rig.delivered == [b"3/1"]


def test_a_primary_cannot_invent_commands_nor_change_them() -> None:
    """4.2: backups accept requests that their clients signed. 4.6: and only choices that they find acceptable."""
    rig = Rig()
    made_up = replace(request(3, 1), sig=b"made up")
    changed = replace(request(3, 1), items=(b"something else",))
    stranger = request(9, 1)
    for bad in (made_up, changed, stranger):
        assert not said(rig.hear(1, pre_prepare(0, 1, bad)), m.Prepare)
    assert rig.core.suspicions.counts[1, "proposal"] == 3
    assert said(rig.hear(1, ONE), m.Prepare)


def test_what_the_host_finds_unacceptable_is_not_prepared() -> None:
    rig = Rig()
    rig.core.normal._acceptable = lambda origin, command: command != b"3/1"
    assert not said(rig.hear(1, ONE), m.Prepare)
    assert said(rig.hear(1, pre_prepare(0, 1, request(3, 2))), m.Prepare)


def test_two_proposals_for_one_place_convict_the_primary_and_end_its_view() -> None:
    rig = Rig()
    two = pre_prepare(0, 1, request(3, 2))
    rig.hear(1, ONE)
    changed = [one for one in rig.hear(4, prepare(4, two)) if isinstance(one, io.Changed)]
    assert rig.core.suspicions.counts[1, "equivocation"] == 1
    assert changed and changed[0].term == 1
    evidence = rig.core.suspicions.kept[-1]
    assert {evidence.first.digest, evidence.second.digest} == {ONE.proposal.digest, two.proposal.digest}


def test_a_backup_cannot_convict_the_primary_by_what_it_made_up() -> None:
    rig = Rig()
    rig.hear(1, ONE)
    two = pre_prepare(0, 1, request(3, 2), by=4)
    rig.hear(4, prepare(4, two))
    assert rig.core.leader == 1 and not rig.core.suspicions.liars()


def test_what_was_prepared_before_a_crash_is_said_in_the_next_view_change() -> None:
    rig = Rig()
    rig.hear(1, ONE)
    rig.hear(3, prepare(3, ONE))
    rig.crash()
    rig.core.views.give_up("to see")
    rig.core.desk.dirty = True
    (change,) = said(rig.step(io.Wake()), m.ViewChange)
    assert [(cert.seq, cert.digest) for cert in change.prepared] == [(1, ONE.proposal.digest)]
    assert not wrong_with_view_change(Rig(3).core.desk, change)


def test_a_replica_that_comes_back_prepares_nothing_else_in_the_place() -> None:
    rig = Rig()
    rig.hear(1, ONE)
    rig.crash()
    assert not said(rig.hear(1, pre_prepare(0, 1, request(3, 2))), m.Prepare)


def test_a_primary_that_restarts_gives_way() -> None:
    """It may have proposed what it did not write down: in this view it proposes nothing any more."""
    rig = Rig(1)
    assert said(rig.step(io.Propose(((5, b"x"),))), m.PrePrepare)
    assert [one.view for one in said(rig.crash(), m.ViewChange)] == [1]


def test_numbers_of_requests_are_never_used_twice() -> None:
    rig = Rig()
    (first,) = said(rig.step(io.Propose(((5, b"x"),))), m.Request)
    rig.crash()
    (second,) = said(rig.step(io.Propose(((6, b"y"),))), m.Request)
    assert second.number > first.number


def test_executed_entries_are_delivered_again_after_a_crash_and_the_state_is_the_same() -> None:
    rig = Rig()
    for seq in range(1, 6):
        one = pre_prepare(0, seq, request(3, seq))
        rig.hear(1, one, commit(1, one))
        rig.hear(3, prepare(3, one), commit(3, one))
    before = rig.core.board.executed
    assert rig.delivered == [b"3/%d" % seq for seq in range(1, 6)]
    rig.slow = False
    rig.hear(1, m.Status(0, True, 5, 0))
    rig.crash()
    assert rig.delivered[:4] == [b"3/%d" % seq for seq in range(1, 5)]
    assert rig.core.board.executed.seq >= before.seq - 1


def test_state_on_disk_that_nobody_wrote_stops_the_start() -> None:
    rig = Rig()
    rig.disk.hard = replace(rig.disk.hard, extra=b"\x00")
    with pytest.raises(ValueError, match="cannot be read"):
        rig.begin()
    rig = Rig()
    one = pre_prepare(0, 1, request(3, 1))
    rig.hear(1, one, commit(1, one))
    rig.hear(3, prepare(3, one), commit(3, one))
    rig.disk.entries = []
    with pytest.raises(ValueError, match="log ends at index 0, and 1 was committed"):
        rig.begin()


def test_a_new_view_that_contradicts_what_was_executed_stops_the_replica() -> None:
    """More than f members lie: going on would make it worse."""
    rig = Rig()
    rig.hear(1, ONE, commit(1, ONE))
    rig.hear(3, prepare(3, ONE), commit(3, ONE))
    changes = tuple(signed(who, m.ViewChange(2, 0, (), (), who)) for who in (1, 3, 4))
    rig.core.views.wrong_with = lambda message: ""  # type: ignore[method-assign]
    bad = signed(3, m.NewView(2, changes, (signed(3, m.Proposal(2, 1, m.NULL)),)))
    with pytest.raises(Diverged):
        rig.hear(3, bad)


# -- view changes (4.4)


def changes(view: int, *, lies: tuple[m.Prepared, ...] = ()) -> tuple[m.ViewChange, ...]:
    cert = prepared(ONE, 2, 3)
    return (
        signed(1, m.ViewChange(view, 0, (), lies, 1)),
        signed(3, m.ViewChange(view, 0, (), (cert,), 3)),
        signed(4, m.ViewChange(view, 0, (), (), 4)),
    )


def test_what_was_prepared_is_proposed_again_and_gaps_are_null() -> None:
    three = pre_prepare(0, 3, request(3, 3))
    made = plan((signed(3, m.ViewChange(1, 0, (), (prepared(ONE, 2, 3), prepared(three, 2, 4)), 3)), *changes(1)[::2]))
    assert made.digests == (ONE.proposal.digest, m.NULL, three.proposal.digest)


def test_of_two_certificates_the_later_view_counts() -> None:
    again = pre_prepare(2, 1, request(3, 2))
    made = plan((*changes(3)[:2], signed(4, m.ViewChange(3, 0, (), (prepared(again, 1, 2),), 4))))
    assert made.digests == (again.proposal.digest,)


@pytest.mark.parametrize(
    ("cert", "why"),
    [
        (prepared(ONE, 2), "fewer prepares"),
        (prepared(ONE, 1, 2), "none of the backups"),
        (prepared(ONE, 2, 9), "none of the backups"),
        (replace(prepared(ONE, 2, 3), digest=bytes(32)), "not its primary's"),
        (replace(prepared(ONE, 2, 3), prepares=((2, b""), (3, b""))), "not its sender's"),
        (prepared(pre_prepare(1, 1, request(3, 1)), 1, 3), "view to come"),
        (prepared(pre_prepare(0, 9, request(3, 1)), 2, 3), "beyond the watermarks"),
    ],
)
def test_forged_certificates_do_not_hold(cert: m.Prepared, why: str) -> None:
    assert why in wrong_with_view_change(Rig(3).core.desk, signed(1, m.ViewChange(1, 0, (), (cert,), 1)))


def new_view(proposals: tuple[m.Proposal, ...], *, given: tuple[m.ViewChange, ...] = ()) -> m.NewView:
    return signed(2, m.NewView(1, given or changes(1), proposals))


def proposal(seq: int, digest: bytes, view: int = 1, by: int = 2) -> m.Proposal:
    return signed(by, m.Proposal(view, seq, digest))


@pytest.mark.parametrize(
    "bad",
    [
        new_view(()),
        new_view((proposal(1, m.NULL),)),
        new_view((proposal(1, ONE.proposal.digest), proposal(2, bytes(range(32))))),
        new_view((proposal(1, ONE.proposal.digest, by=4),)),
        new_view((proposal(2, ONE.proposal.digest),)),
        new_view((proposal(1, ONE.proposal.digest),), given=changes(1)[:2]),
        new_view((proposal(1, ONE.proposal.digest),), given=(*changes(1)[:2], changes(1)[1])),
        new_view((proposal(1, ONE.proposal.digest),), given=(*changes(1)[:2], changes(2)[2])),
        replace(new_view((proposal(1, ONE.proposal.digest),)), sig=b""),
    ],
)
def test_a_new_view_that_does_not_follow_is_refused(bad: m.NewView) -> None:
    rig = Rig(3)
    assert wrong_with_new_view(rig.core.desk, bad, {})
    rig.hear(2, bad)
    assert rig.core.board.view == 0


def test_a_new_view_that_follows_is_entered() -> None:
    rig = Rig(3)
    rig.hear(1, ONE)
    effects = rig.hear(2, new_view((proposal(1, ONE.proposal.digest),)))
    assert rig.core.leader == 2
    assert [(one.view, one.seq, one.digest) for one in said(effects, m.Prepare)] == [(1, 1, ONE.proposal.digest)]


def test_old_views_said_again_change_nothing() -> None:
    rig = Rig(3)
    old = new_view((proposal(1, ONE.proposal.digest),))
    rig.hear(2, old)
    later = tuple(signed(who, m.ViewChange(2, 0, (), (), who)) for who in (1, 2, 4))
    rig.hear(1, *later)
    assert rig.core.board.view == 2 and rig.core.leader == 3
    rig.hear(2, old, *changes(1))
    assert rig.core.board.view == 2 and rig.core.leader == 3


def test_signatures_of_another_group_or_epoch_are_worth_nothing() -> None:
    rig = Rig()
    other = replace(ONE, proposal=signed(1, m.Proposal(0, 1, ONE.proposal.digest), context=b"epoch before"))
    assert not said(rig.hear(1, other), m.Prepare)
    assert rig.core.suspicions.counts[1, "signature"] == 1


# -- pure parts


@given(st.lists(st.integers(1, 600), max_size=80))
def test_no_number_is_executed_twice_and_none_in_the_window_is_lost(numbers: list[int]) -> None:
    table: dict[int, tuple[int, int]] = {}
    seen: set[int] = set()
    for number in numbers:
        expected = number in seen or (bool(seen) and number <= max(seen) - NUMBERS)
        assert is_done(table, 1, number) == expected
        if not expected:
            table = with_done(table, 1, number)
            seen.add(number)


@given(st.lists(st.lists(st.integers(1, 6), max_size=3), max_size=6))
def test_entries_follow_from_the_order_alone(batches: list[list[int]]) -> None:
    state = genesis(b"", 10, 3)
    index = 10
    for seq, numbers in enumerate(batches, 1):
        batch = m.Batch(seq % 3, tuple(request(2, number) for number in numbers))
        entries, after, placed = render(state, seq, batch)
        assert (entries, after, placed) == render(state, seq, batch)
        assert [entry.index for entry in entries] == list(range(index + 1, index + 1 + len(entries)))
        assert all(entry.term >= state.term for entry in entries)
        index += len(entries)
        state = after


@given(st.integers(1, 3), st.data())
def test_a_read_sees_what_was_committed_and_no_liar_puts_it_out_of_reach(f: int, data: st.DataObject) -> None:
    """Commit i: f + 1 correct members of a quorum have it prepared. Any quorum of answers, f of them lies."""
    n = 3 * f + 1
    committed = data.draw(st.integers(0, 20))
    liars = set(range(f))
    behind = data.draw(st.sets(st.sampled_from(range(f, n)), max_size=n - f - (f + 1)))
    honest = {
        member: data.draw(st.integers(0, committed)) if member in behind else data.draw(st.integers(committed, committed + 5))
        for member in range(f, n)
    }
    asked = data.draw(st.permutations(range(n)))[: data.draw(st.integers(2 * f + 1, n))]
    answers = [data.draw(st.integers(0, 10**6)) if member in liars else honest[member] for member in asked]
    found = decide(answers, 2 * f + 1, f)
    if found is not None:
        assert committed <= found <= max(honest.values())
    if len(asked) == n:
        assert found is not None


def test_the_window_must_hold_two_checkpoints() -> None:
    with pytest.raises(ValueError, match="checkpoint_interval"):
        replace(CONFIG, checkpoint_interval=5, window=8)
