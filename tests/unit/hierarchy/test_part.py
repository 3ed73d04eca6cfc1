"""The global group's part of a region's state, and the core that acts on it."""

from hashlib import sha256
from random import Random
from typing import Any

import pytest

from agent.core.hierarchy.acting import Acting, Answered, ToRegion
from agent.core.hierarchy.commands import Found, Keep, Piece
from agent.core.hierarchy.part import GlobalPart, global_part
from agent.core.machine.commands import Put
from agent.core.machine.envelope import encode_command, seal
from agent.core.machine.machine import BUILT_IN, Machine
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import Registry
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.replica.io import Propose, Proposed, Read, Wake
from agent.core.replica.log import COMMAND, Entry, HardState, Members, Peer, SnapshotMeta

REGISTRY = Registry((*BUILT_IN, global_part()))
ALONE = Members(voters=(7,), peers=(Peer(7, "here"),))


class Region:
    """A region's state machine, and a log that decides everything at once."""

    def __init__(self) -> None:
        self.machine = Machine(REGISTRY)

    @property
    def part(self) -> GlobalPart:
        part = self.machine.parts["global"]
        assert isinstance(part, GlobalPart)
        return part

    def decide(self, command: Any) -> Outcome:
        data = command if isinstance(command, bytes) else encode_command(command)
        outcome = self.machine.apply(Entry(1, self.machine.index + 1, COMMAND, seal(0, 0, 0, 0, data)))
        assert outcome is not None
        return outcome


def put(value: bytes, index: int, term: int = 1) -> Entry:
    return Entry(term, index, COMMAND, seal(0, 0, 0, 0, encode_command(Put(b"k", value))))


def keep(serial: int, *entries: Entry, life: int = 3, commit: int = 0, hard: HardState | None = None) -> Keep:
    return Keep(life, serial, serial, hard, (entries,) if entries else (), commit)


def founded() -> Region:
    region = Region()
    assert not region.decide(Found(7, ALONE)).error
    return region


def test_a_region_is_one_member_for_good() -> None:
    region = founded()
    assert region.decide(Found(8, ALONE)).error == "conflict"
    assert region.part.me == 7
    assert region.part.recovered().snapshot.members == ALONE


def test_global_commands_are_applied_where_the_log_says_how_far_they_are_committed() -> None:
    region = founded()
    region.decide(keep(1, put(b"a", 2), put(b"b", 3), hard=HardState(1, 7, 1)))
    assert region.part.applied == 1 and b"k" not in region.part.machine.kv.records
    region.decide(keep(2, commit=2))
    assert region.part.machine.kv.records[b"k"].value == b"a"
    region.decide(keep(3, put(b"c", 3, 2), commit=3))
    assert region.part.machine.kv.records[b"k"].value == b"c"
    assert [entry.term for entry in region.part.recovered().entries] == [1, 2]


def test_what_an_older_leader_wants_kept_is_not() -> None:
    region = founded()
    region.decide(keep(1, put(b"new", 2), life=4, hard=HardState(2, 7, 1)))
    for serial in (1, 2, 9):
        assert region.decide(keep(serial, put(b"old", 2), life=3, hard=HardState(1, 5, 1), commit=2)).error == "conflict"
    assert region.decide(keep(1, put(b"again", 2), life=4)).error == "conflict"
    assert region.part.hard == HardState(2, 7, 1)
    assert region.part.applied == 1


def test_a_snapshot_of_the_region_holds_all_of_it() -> None:
    region = founded()
    region.decide(keep(1, put(b"a", 2), put(b"b", 3), hard=HardState(5, 7, 1), commit=2))
    other = Region()
    other.machine.restore(list(region.machine.snapshot()))
    assert other.machine.digest() == region.machine.digest()
    for one in (region, other):
        one.decide(keep(2, commit=3))
    assert other.part.recovered() == region.part.recovered()
    assert other.machine.digest() == region.machine.digest()


@pytest.mark.parametrize("right", [True, False])
def test_another_regions_snapshot_comes_in_pieces(right: bool) -> None:
    source, region = founded(), founded()
    source.decide(keep(1, put(b"a", 2), put(b"b", 3), commit=3))
    data = b"".join(source.part.machine.snapshot())
    digest = sha256(data if right else b"something else").digest()
    meta = SnapshotMeta(3, 1, ALONE, 0, len(data), digest)
    region.decide(Piece(3, 1, meta, 0, data[:40], False))
    region.decide(Piece(3, 2, meta, 40, data[40:], True))
    assert region.part.installed == (meta, right)
    assert (region.part.applied, region.part.machine.kv.records.get(b"k") is not None) == ((3, True) if right else (1, False))


def acting(region: Region, life: int = 3) -> Acting:
    part = region.part
    return Acting(part, life, Raft(part.me, RaftConfig(), Random(1), part.recovered(), 0.0))


def turn(region: Region, one: Acting, now: float) -> list[Any]:
    """Everything that it wants kept is decided."""
    effects: list[Any] = []
    while (wanted := one.wanted()) is not None:
        assert one.wanted() is None, "one at a time"
        region.decide(wanted)
        effects += one.progress(now)
    return effects


def test_an_acting_leader_promises_what_its_region_has_decided_and_the_next_goes_on_from_there() -> None:
    region = founded()
    first = acting(region)
    first.step(0.0, Wake())
    assert not first.leads
    turn(region, first, 0.0)
    assert first.leads and region.part.hard.vote == 7
    said = first.step(0.1, Propose(((1, put(b"a", 0).data),)))
    assert [type(effect) for effect in said] == [Proposed]
    answered = [effect for effect in turn(region, first, 0.1) if isinstance(effect, Answered)]
    assert [(one.ticket, one.outcome and one.outcome.error) for one in answered] == [(1, "")]
    term, applied = region.part.hard.term, region.part.applied

    second = acting(region, life=4)
    second.step(0.2, Wake())
    turn(region, second, 0.2)
    assert second.leads and region.part.hard.term > term and region.part.applied > applied
    first.step(0.3, Propose(((2, put(b"late", 0).data),)))
    late = first.wanted()
    assert late is not None and region.decide(late).error == "conflict"
    assert not [effect for effect in first.progress(0.3) if isinstance(effect, Answered | ToRegion)]
    assert region.part.machine.kv.records[b"k"].value == b"a"


def test_what_the_region_refused_is_offered_again_as_it_was() -> None:
    region = founded()
    one = acting(region)
    one.step(0.0, Wake())
    wanted = one.wanted()
    assert wanted is not None and one.refused() == wanted
    region.decide(one.refused())
    one.progress(0.0)
    turn(region, one, 0.0)
    assert one.leads


def test_a_global_core_is_not_asked_about_now() -> None:
    with pytest.raises(AssertionError, match="nothing of now"):
        acting(founded()).step(0.0, Read(1))


def test_nobody_knows_how_stale_a_copy_is_before_a_command_of_ones_own_is_applied() -> None:
    region = founded()
    one = acting(region)
    assert one.staleness(1.0) == float("inf")
    one.note_fresh(1.0, 2)
    assert one.staleness(2.0) == float("inf")
    region.decide(keep(1, put(b"a", 2), life=2, commit=2))
    one.progress(2.5)
    assert one.staleness(3.0) == 2.0
