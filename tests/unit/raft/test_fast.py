"""The fast path (CURP, NSDI 2019, over Raft): each of its obligations on a stage where every message and every write is moved by hand."""

from collections.abc import Mapping
from typing import Any

import pytest

from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.fast import submissions
from agent.core.raft.fast.keys import keys_of, needed, witnessed
from agent.core.raft.messages import Append, AppendReply, FastAnswer, FastRecord, FastReply, Heartbeat, Held, Record
from agent.core.replica import io
from agent.core.replica.log import Members
from tests.unit.raft.stage import Stage, group_of

X, Z = b"put k=x", b"put k=z"
K = keys_of([b"k"])
OTHER = keys_of([b"other"])


def staged(count: int = 3, kind: type[Raft] = Raft, config: RaftConfig = RaftConfig(commit_notice_s=0.0)) -> Stage:  # noqa: B008
    """1 leads, everybody is caught up."""
    stage = Stage(group_of(count), config, kind)
    stage.elect(1)
    stage.pass_time(config.heartbeat_s)
    for told in stage.told.values():
        told.clear()
    return stage


def submit(stage: Stage, one: int, ticket: int, command: bytes, keys: tuple[int, ...] = K) -> None:
    stage.feed(one, io.FastPropose(((ticket, command, keys),)))


def decide(stage: Stage, one: int, ticket: int, command: bytes, keys: tuple[int, ...] = K) -> None:
    """On the fast path alone: no entry leaves the leader."""
    submit(stage, one, ticket, command, keys)
    stage.carry(FastRecord)
    stage.disk(*stage.raft)
    stage.carry(FastReply)


# -- deciding


def test_a_command_is_decided_in_one_round_trip_when_everybody_of_three_accepts() -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    stage.carry(FastRecord)
    assert not stage.carry(FastReply), "nothing is said before it is durable"
    stage.disk(1, 2, 3)
    stage.carry(FastReply)
    assert stage.told_of(2, io.FastDecided) == [io.FastDecided(7, 3, 2)]
    assert stage.raft[2].commit < 3, "before it is committed"
    stage.settle()
    assert all(X in stage.commands(one) and stage.raft[one].commit == 3 for one in (1, 2, 3))
    assert len(stage.told_of(2, io.FastDecided)) == 1


@pytest.mark.parametrize("missing", [1, 3])
def test_two_of_three_do_not_decide_and_neither_does_anybody_without_the_leader(missing: int) -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    stage.carry(FastRecord, to=missing, drop=True)
    stage.carry(FastRecord)
    stage.disk(1, 2, 3)
    stage.carry(FastReply)
    assert not stage.told_of(2, io.FastDecided, io.Proposed)


def test_four_of_five_decide() -> None:
    stage = staged(5)
    submit(stage, 2, 7, X)
    stage.carry(FastRecord, to=5, drop=True)
    stage.carry(FastRecord)
    stage.disk(1, 2, 3)
    stage.carry(FastReply)
    assert not stage.told_of(2, io.FastDecided)
    stage.disk(4)
    stage.carry(FastReply)
    assert stage.told_of(2, io.FastDecided)


def test_a_conflict_with_what_a_voter_holds_leaves_it_to_the_log() -> None:
    stage = staged()
    stage.feed(3, io.Receive(2, FastRecord(2, (Record(1, K, Z),))))
    submit(stage, 2, 7, X)
    stage.carry(FastRecord)
    stage.disk(1, 2, 3)
    stage.carry(FastReply)
    assert stage.told_of(2, io.FastDecided, io.Proposed) == [io.Proposed(7, 3, 2)]
    stage.settle()
    assert stage.raft[2].commit == 3


def test_a_conflict_with_an_entry_that_is_not_committed_leaves_it_to_the_log() -> None:
    stage = staged()
    stage.feed(1, io.Propose(((1, Z),), keys=(K,)))
    submit(stage, 2, 7, X)
    submit(stage, 2, 8, b"put other", OTHER)
    stage.carry(FastRecord)
    stage.disk(1, 2, 3)
    stage.carry(FastReply)
    assert stage.told_of(2, io.Proposed) == [io.Proposed(7, 4, 2)]
    assert stage.told_of(2, io.FastDecided) == [io.FastDecided(8, 5, 2)]


def test_an_ordered_command_whose_keys_are_not_known_conflicts_with_all_until_it_is_committed() -> None:
    stage = staged()
    stage.feed(1, io.Propose(((1, Z),)))
    decide(stage, 2, 7, X, OTHER)
    assert stage.told_of(2, io.Proposed)
    stage.settle()
    decide(stage, 2, 8, b"another", OTHER)
    assert stage.told_of(2, io.FastDecided)


def test_commands_that_commute_are_held_together() -> None:
    stage = staged()
    adds = keys_of([b"counter"], kind=1)
    decide(stage, 2, 7, b"add 1", adds)
    decide(stage, 3, 8, b"add 2", adds)
    assert stage.told_of(2, io.FastDecided) and stage.told_of(3, io.FastDecided)
    decide(stage, 3, 9, b"delete", keys_of([b"counter"]))
    assert not any(one.ticket == 9 for one in stage.told_of(3, io.FastDecided))


def test_the_leader_needs_no_fast_path_and_without_a_leader_there_is_none() -> None:
    stage = staged()
    submit(stage, 1, 7, X)
    assert stage.told_of(1, io.Proposed) == [io.Proposed(7, 3, 2)]
    alone = Stage(group_of(3))
    submit(alone, 2, 7, X)
    assert alone.told_of(2, io.Refused) == [io.Refused(7, "not_leader")]


def test_who_is_not_answered_in_time_does_not_know() -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    stage.wires = []
    stage.pass_time(stage.config.fast_timeout_s + 0.01, 2, 3)
    assert stage.told_of(2, io.FastUndecided) == [io.FastUndecided(7)]


def test_what_is_committed_first_is_answered_from_the_log() -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    stage.carry(FastRecord, to=3, drop=True)
    stage.settle()
    said = stage.told[2]
    assert io.Proposed(7, 3, 2) in said and not stage.told_of(2, io.FastDecided)
    delivered = next(place for place, one in enumerate(said) if isinstance(one, io.Deliver))
    assert said.index(io.Proposed(7, 3, 2)) < delivered


# -- what a decision rests on


def test_a_new_leader_replays_what_was_decided_and_is_in_no_log_but_that_of_the_old_one() -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    assert stage.told_of(2, io.FastDecided)
    stage.crash(1)
    stage.elect(3, 2, 3)
    assert stage.commands(3) == [X] and stage.raft[3].commit == 4
    # The old leader's entry at 3 gives way to the new one's; the command stands once in every log.
    stage.start(1)
    stage.pass_time(1.0)
    assert stage.commands(1) == [X]


class NoReplay(Raft):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._leader._ordering._to_replay = lambda sets: []  # type: ignore[method-assign]


def test_without_the_replay_it_would_be_lost() -> None:
    stage = staged(kind=NoReplay)
    decide(stage, 2, 7, X)
    stage.crash(1)
    stage.elect(3, 2, 3)
    assert stage.told_of(2, io.FastDecided) and stage.commands(3) == []


def test_it_survives_that_everybody_loses_power_and_the_old_leader_stays_away() -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    assert stage.told_of(2, io.FastDecided)
    stage.crash(1, 2, 3)
    stage.start(2)
    stage.start(3)
    stage.elect(3, 2, 3)
    assert stage.commands(3) == [X]


class RepliesEarly(Raft):
    """Says that it holds a command before that is durable."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        desk, said = self._desk, self._desk.say_when_stored

        def say(to: int, message: Any) -> None:
            if not isinstance(message, FastReply):
                said(to, message)
            elif to == desk.me:
                self._submissions.on_reply(to, message)
            else:
                desk.send(to, message)

        desk.say_when_stored = say  # type: ignore[method-assign]


def test_were_it_said_before_it_is_durable_it_could_be_lost() -> None:
    stage = staged(kind=RepliesEarly)
    submit(stage, 2, 7, X)
    stage.carry(FastRecord)
    stage.disk(1)
    stage.carry(FastReply)
    assert stage.told_of(2, io.FastDecided)
    stage.crash(1, 2, 3)
    stage.start(2)
    stage.start(3)
    stage.elect(3, 2, 3)
    assert stage.commands(3) == []


def two_holders(stage: Stage) -> None:
    """X is with 1 (who leads) and 2; then Z, which conflicts and begins later, with 3 alone. 1 is gone; 2 and 3 go on."""
    submit(stage, 2, 7, X)
    stage.carry(FastRecord, to=3, drop=True)
    stage.carry(FastRecord)
    stage.disk(1, 2)
    stage.carry(FastReply)
    stage.feed(3, io.Receive(2, FastRecord(2, (Record(99, K, b"before X in the alphabet"),))))
    stage.disk(3)
    stage.wires = []
    stage.crash(1)
    stage.elect(3, 2, 3)


def test_a_majority_alone_does_not_decide() -> None:
    stage = staged()
    two_holders(stage)
    assert not stage.told_of(2, io.FastDecided)


def test_were_a_majority_enough_what_began_later_could_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "needed", lambda voters: voters // 2 + 1)
    stage = staged()
    two_holders(stage)
    assert stage.told_of(2, io.FastDecided)
    assert stage.commands(3) == [b"before X in the alphabet", X], "Z before X, though X was answered before Z began"


def test_what_may_have_been_decided_is_replayed_before_what_cannot_have_been() -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    # Another command, with 3 alone, whose octets come first; it does not conflict.
    stage.feed(3, io.Receive(2, FastRecord(2, (Record(99, OTHER, b"A"),))))
    stage.disk(3)
    stage.wires = []
    stage.crash(1)
    stage.elect(3, 2, 3)
    assert stage.commands(3) == [X, b"A"]


class BlindWitness(Raft):
    """A voter holds what conflicts."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._desk.witness.conflicts = lambda keys: False  # type: ignore[method-assign]


def first_x_then_another(stage: Stage) -> list[bytes]:
    """X is decided; then another begins that conflicts, and comes to the voters but not to the leader, who is gone."""
    decide(stage, 2, 7, X)
    assert stage.told_of(2, io.FastDecided)
    for one in (2, 3):
        stage.feed(one, io.Receive(2, FastRecord(2, (Record(99, K, b"A"),))))
    stage.disk(2, 3)
    stage.wires = []
    stage.crash(1)
    stage.elect(3, 2, 3)
    return stage.commands(3)


def test_no_voter_holds_two_that_conflict() -> None:
    assert first_x_then_another(staged()) == [X]


def test_were_two_held_that_conflict_what_began_later_could_come_first() -> None:
    assert first_x_then_another(staged(kind=BlindWitness)) == [b"A", X]


def test_a_voter_of_a_newer_term_accepts_nothing_of_the_old_one() -> None:
    """Whom the new leader asked for what it holds must hold nothing more of the old term afterwards."""
    stage = staged()
    submit(stage, 2, 7, X)
    late = [one for one in stage.wires if isinstance(one[2], FastRecord) and one[1] == 3]
    stage.carry(FastRecord, to=3, drop=True)
    stage.carry(FastRecord)
    stage.disk(1, 2)
    stage.carry(FastReply, to=2)
    stage.wires = []
    stage.elect(3, 2, 3)
    stage.feed(3, io.Receive(2, late[0][2]))
    stage.disk(3)
    stage.carry(FastReply)
    assert not stage.told_of(2, io.FastDecided)
    assert [one for one in stage.told_of(2, io.FastUndecided, io.Proposed) if one.ticket == 7]  # type: ignore[attr-defined]


def test_answers_of_another_term_do_not_count() -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    number = next(one[2].records[0].number for one in stage.wires if isinstance(one[2], FastRecord))
    stage.carry(FastRecord)
    stage.disk(1, 2, 3)
    stage.carry(FastReply, drop=True)
    for sender, config, index in ((1, 1, 3), (3, 0, 0)):
        stage.feed(2, io.Receive(sender, FastReply(1, config, (FastAnswer(number, True, index),))))
    assert not stage.told_of(2, io.FastDecided)


# -- who belongs to the group


def test_while_the_members_change_nothing_is_decided_by_votes() -> None:
    stage = staged()
    stage.feed(1, io.Change(1, Members(voters=(1, 2), peers=group_of(3).peers)))
    assert stage.raft[1].members.outgoing
    decide(stage, 2, 7, X)
    assert not stage.told_of(2, io.FastDecided)
    stage.settle()
    assert stage.raft[2].members.voters == (1, 2) and stage.raft[2].commit == stage.raft[1].commit
    decide(stage, 2, 8, b"after", OTHER)
    assert [one.ticket for one in stage.told_of(2, io.FastDecided)][-1:] == [8]  # type: ignore[attr-defined]


def test_a_submitter_that_counts_by_other_members_than_the_leader_decides_nothing() -> None:
    stage = staged()
    stage.feed(1, io.Change(1, Members(voters=(1, 2, 3), learners=(4,), peers=group_of(4).peers)))
    stage.carry(Append, to=2, drop=True)
    stage.settle(1, 3)
    decide(stage, 2, 7, X)
    assert stage.raft[1].members.learners and not stage.raft[2].members.learners
    assert not stage.told_of(2, io.FastDecided)


# -- reads


@pytest.mark.parametrize("lease", [False, True])
def test_a_read_sees_what_was_decided(lease: bool) -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    stage.feed(1, io.Read(5, lease))
    stage.carry(Heartbeat)
    stage.wires = [one for one in stage.wires if not isinstance(one[2], Append | AppendReply)]
    stage.carry()
    assert not stage.told_of(1, io.ReadReady), "it waits until that is committed"
    stage.pass_time(0.3)
    assert stage.told_of(1, io.ReadReady) == [io.ReadReady(5, 3)]


def test_a_read_that_waits_is_lost_with_the_leadership() -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    stage.wires = []
    stage.feed(1, io.Read(5, True))
    stage.elect(3, 2, 3)
    stage.pass_time(1.0)
    assert stage.told_of(1, io.Refused) == [io.Refused(5, "lost", 3)] or stage.told_of(1, io.Refused) == [io.Refused(5, "lost")]
    assert not stage.told_of(1, io.ReadReady)


# -- forgetting


def test_what_is_committed_is_held_no_longer() -> None:
    stage = staged()
    decide(stage, 2, 7, X)
    assert all(X in stage.raft[one]._desk.witness.commands for one in (1, 2, 3))
    stage.settle()
    assert not any(stage.raft[one]._desk.witness.commands for one in (1, 2, 3))
    stage.pass_time(0.2)
    decide(stage, 2, 8, Z)
    assert [one.ticket for one in stage.told_of(2, io.FastDecided)] == [7, 8]  # type: ignore[attr-defined]


def test_what_is_held_for_long_is_ordered_by_the_leader() -> None:
    """Its submitter went away before the leader heard of it: it must not stand in others' way for ever."""
    stage = staged()
    stage.feed(3, io.Receive(2, FastRecord(2, (Record(99, K, Z),))))
    stage.pass_time(stage.config.fast_hold_s + 0.5)
    assert Z in stage.commands(1) and not stage.raft[3]._desk.witness.commands


def test_what_came_after_it_was_committed_is_forgotten_when_the_leader_says_so() -> None:
    stage = staged()
    submit(stage, 2, 7, X)
    late = [one for one in stage.wires if isinstance(one[2], FastRecord) and one[1] == 3]
    stage.carry(FastRecord, to=3, drop=True)
    stage.settle()
    stage.feed(3, io.Receive(2, late[0][2]))
    assert X in stage.raft[3]._desk.witness.commands
    stage.pass_time(stage.config.fast_hold_s + 0.5)
    assert not stage.raft[3]._desk.witness.commands
    assert stage.commands(1) == [X], "once"


def test_a_voter_holds_so_much_and_no_more() -> None:
    stage = staged(config=RaftConfig(commit_notice_s=0.0, max_held=2))
    for number in range(3):
        decide(stage, 2, number, b"%d" % number, keys_of([b"%d" % number]))
    assert [one.ticket for one in stage.told_of(2, io.FastDecided)] == [0, 1]  # type: ignore[attr-defined]
    assert [one.ticket for one in stage.told_of(2, io.Proposed)] == [2]  # type: ignore[attr-defined]


# -- arithmetic


def test_what_decides_is_with_more_than_half_of_any_majority() -> None:
    for voters in range(1, 10):
        majority = voters // 2 + 1
        assert majority <= needed(voters) <= voters
        for heard in range(majority, voters + 1):
            # At least needed + heard - voters of those heard accepted it; two that conflict cannot both have so many.
            assert witnessed(voters, heard) == needed(voters) + heard - voters
            assert 2 * witnessed(voters, heard) > heard
    # The paper's: f + ceil(f/2) + 1 of 2f + 1; ceil(f/2) + 1 of f + 1.
    for f in range(1, 5):
        assert needed(2 * f + 1) == f + (f + 1) // 2 + 1
        assert witnessed(2 * f + 1, f + 1) == (f + 1) // 2 + 1


def test_what_is_replayed_is_counted_in_both_majorities() -> None:
    """In a joint configuration, what the outgoing voters decided may be with few of all that vote."""
    joint = Members(voters=(1, 4, 5), outgoing=(1, 2, 3), peers=group_of(5).peers)
    ordering = Stage(joint, kind=Raft).raft[1]._leader._ordering
    sets: Mapping[int, tuple[Held, ...]] = {2: (Held(K, X),), 3: (Held(K, X),), 4: (Held(K, b"A"),), 5: ()}
    assert [one.command for one in ordering._to_replay(sets)] == [X, b"A"]
