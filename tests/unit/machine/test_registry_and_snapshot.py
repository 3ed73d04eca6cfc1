from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from agent.core.machine import commands
from agent.core.machine.bounds import BOUNDS
from agent.core.machine.commands import (
    BarrierEnter,
    CounterAdd,
    CounterDelete,
    Delete,
    DeleteRange,
    LockAcquire,
    OpPut,
    Put,
    SessionOpen,
    SetLimits,
    Tick,
    Txn,
)
from agent.core.machine.config import Limits
from agent.core.machine.envelope import encode_command
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType, Registry, SnapshotError
from agent.core.machine.snapshot import CHUNK_BYTES, digest_of
from tests.unit.machine.rig import Rig


class Note(Struct, frozen=True, array_like=True, gc=False, tag="note.add", forbid_unknown_fields=True):
    text: str


class Notes(Part):
    """A part as a later one would be."""

    def __init__(self, shared: Any) -> None:
        super().__init__(shared)
        self.kept: list[str] = []

    def on_add(self, command: Note) -> Outcome:
        self.kept.append(command.text)
        return Outcome("", self.shared.revision, len(self.kept))

    def freeze(self) -> Iterator[Any]:
        return iter(self.kept.copy())

    def load(self, version: int, rows: Iterator[Any]) -> None:
        self.kept = [text if version > 1 else f"old {text}" for text in rows]


def with_notes(version: int = 1) -> Registry:
    registry = built_in()
    registry.add(PartType("notes", version, Notes, (CommandType(Note, Notes.on_add),)))
    return registry


def test_a_part_joins_by_registering() -> None:
    rig = Rig(registry=with_notes())
    assert rig.value(Note("hello")) == 1
    other = Machine(with_notes())
    other.restore(rig.machine.snapshot())
    assert other.parts["notes"].kept == ["old hello"]  # type: ignore[attr-defined]
    assert "note.add" in rig.machine.registry.tags


def test_names_are_taken_once_and_commands_have_their_form() -> None:
    with pytest.raises(ValueError, match=r"part bounds: machine\.limits, machine\.tick is taken"):
        Registry([BOUNDS, BOUNDS])

    class Loose(Struct, array_like=True, tag="loose"):
        pass

    with pytest.raises(ValueError, match="forbids unknown fields"):
        CommandType(Loose, Notes.on_add)


def test_a_newer_parts_snapshot_is_refused_and_an_older_one_is_read() -> None:
    newer = Rig(registry=with_notes(2))
    newer.do(Note("hello"))
    chunks = list(newer.machine.snapshot())
    machine = Machine()
    machine.apply(newer.log[0].__class__(1, 1, 1, b""))
    for registry, why in [
        (built_in(), r"part notes \(version 2\) is unknown to this build: install the version that wrote it"),
        (with_notes(1), r"part notes has version 2; this build reads up to 1: install the version that wrote it"),
    ]:
        machine = Machine(registry)
        with pytest.raises(SnapshotError, match=why):
            machine.restore(chunks)
        assert machine.index == 0 and machine.life == 0
    machine = Machine(with_notes(3))
    machine.restore(chunks)
    machine = Machine(with_notes(1))
    machine.restore(Machine().snapshot())
    assert machine.parts["notes"].kept == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no header"),
        (b"\0\0\0\1\x90", "no header"),
        (b"\xff\xff\xff\xff", "a frame of 4294967295 octets"),
        (b"\0\0\0\6" + msgspec.msgpack.encode([2, 0, 0, 0, 0])[:6], "no header"),
    ],
)
def test_what_is_no_snapshot_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        Machine().restore([octets])


def test_a_snapshot_that_was_cut_off_is_refused() -> None:
    rig = Rig()
    for number in range(500):
        rig.do(Put(b"%d" % number, b"x" * 1_000))
    chunks = list(rig.machine.snapshot())
    assert all(len(chunk) <= CHUNK_BYTES for chunk in chunks) and len(chunks) > 1
    whole = b"".join(chunks)
    for size in (len(whole) - 1, len(chunks[0]), 100, len(whole) - 8):
        with pytest.raises(SnapshotError):
            Machine().restore([whole[:size]])
    with pytest.raises(SnapshotError, match="after its end"):
        Machine().restore([whole, b"\0\0\0\1\xc0"])


def test_a_snapshot_in_chunks_of_any_size_is_the_same() -> None:
    rig = Rig()
    rig.do(Put(b"k", b"v" * 300_000))
    rig.value(SessionOpen(60_000, 4))
    whole = b"".join(rig.machine.snapshot())
    for step in (1, 7, 70_000):
        machine = Machine()
        machine.restore(whole[at : at + step] for at in range(0, len(whole), step))
        assert machine.digest() == rig.machine.digest() == digest_of([whole])


def test_the_state_goes_on_while_its_snapshot_is_taken() -> None:
    rig = Rig()
    session = rig.value(SessionOpen(60_000, 4))
    assert isinstance(session, int)
    rig.do(Put(b"a", b"1"), session, 1)
    rig.do(LockAcquire(b"l", session), session, 2)
    before = rig.machine.digest()
    frozen = rig.machine.snapshot()
    rig.do(Put(b"a", b"2"), session, 3)
    rig.do(Delete(b"a"), session, 4)
    rig.do(Put(b"b", b"2"), session, 5)
    rig.do(CounterAdd(b"c", 1), session, 6)
    rig.do(SetLimits({"keys": 1}))
    assert digest_of(frozen) == before != rig.machine.digest()


def test_bounds_are_set_by_the_log_and_travel_with_the_state() -> None:
    rig = Rig()
    assert rig.do(SetLimits({"keys": 1, "wrong": 2})).error == "invalid"
    assert rig.do(SetLimits({"keys": 1})).error == ""
    assert rig.twin().shared.limits == Limits(keys=1)
    rig.do(Put(b"a", b""))
    assert rig.do(Put(b"b", b"")).error == "full"


def test_what_touches_what() -> None:
    registry = built_in()
    for command, keys in [
        (Put(b"a", b"1"), {b"kv/a"}),
        (Delete(b"a"), {b"kv/a"}),
        (CounterAdd(b"a", 1), {b"counter/a"}),
        (CounterDelete(b"a"), {b"counter/a"}),
        (Put(b"a", b"1", lease=1), None),
        (Put(b"a", b"1", ttl_ms=1), None),
        (DeleteRange(b"a"), None),
        (Txn((), (OpPut(b"a", b""),)), None),
        (LockAcquire(b"a", 1), None),
        (BarrierEnter(b"a", 1, 1), None),
        (Tick(), None),
    ]:
        assert registry.footprint(encode_command(command)) == keys, command
    assert registry.footprint(b"\xc1") is None and registry.footprint(b"\x91\xa1\xff") is None
    assert registry.commutes(encode_command(CounterAdd(b"a", 1, False)))
    assert not registry.commutes(encode_command(CounterAdd(b"a", 1)))
    assert not registry.commutes(encode_command(Put(b"a", b""))) and not registry.commutes(b"\xc1")


def test_a_machine_that_is_nearly_full_takes_nothing_out_of_order() -> None:
    rig = Rig(Limits(keys=8, counters=8))
    assert rig.machine.roomy()
    for number in range(8):
        rig.do(Put(b"%d" % number, b""))
    assert not rig.machine.roomy()
    rig = Rig(Limits(counters=8))
    for number in range(8):
        rig.do(CounterAdd(b"%d" % number, 1))
    assert not rig.machine.roomy()


def test_commands_stand_in_logs_so_their_structure_never_changes() -> None:
    """Where this fails, make the change a new version of the command (`kv.put/2`), and leave the old one as it is."""
    known = {
        structure.__struct_config__.tag: ",".join(structure.__struct_fields__)
        for structure in vars(commands).values()
        if isinstance(structure, type) and issubclass(structure, Struct) and structure.__struct_config__.tag
    }
    assert known == {
        "kv.put": "key,value,lease,ttl_ms,checks",
        "kv.delete": "key,checks",
        "kv.delete_range": "start,end,limit",
        "kv.txn": "compares,then,otherwise",
        "put": "key,value,lease",
        "delete": "key",
        "get": "key",
        "range": "start,end,limit",
        "lease.grant": "ttl_ms",
        "lease.keep": "lease",
        "lease.revoke": "lease",
        "session.open": "ttl_ms,window",
        "session.keep": "session,acked",
        "session.end": "session",
        "once": "key,ttl_ms,command",
        "lock.acquire": "name,lease,owner,wait,ttl_ms,value",
        "lock.release": "name,lease,owner,token",
        "election.campaign": "name,lease,owner,value,ttl_ms",
        "election.proclaim": "name,lease,owner,value",
        "election.resign": "name,lease,owner",
        "counter.add": "name,delta,read",
        "counter.delete": "name",
        "barrier.enter": "name,lease,parties,owner,ttl_ms",
        "barrier.leave": "name,lease,owner",
        "machine.tick": "",
        "machine.limits": "bounds",
    }
    assert set(built_in().tags) == known.keys() - {"put", "delete", "get", "range"}


def test_what_a_log_makes_of_an_empty_machine_never_changes() -> None:
    """An old log replayed by a new build must give what the old one had: where this fails, the change needs a new version."""
    rig = Rig()
    lease = rig.lease(5_000)
    session = rig.value(SessionOpen(60_000, 8))
    assert isinstance(session, int)
    rig.do(Put(b"a", b"1"), session, 1)
    rig.do(Put(b"b", b"2", lease))
    rig.do(Put(b"c", b"3", ttl_ms=4_000))
    rig.do(Txn((), (OpPut(b"a", b"4"), OpPut(b"d", b"5"))), session, 2)
    rig.do(LockAcquire(b"l", lease, "me", value=b"x"))
    rig.do(LockAcquire(b"l", session, wait=True))
    rig.do(BarrierEnter(b"b", session, 2))
    rig.do(CounterAdd(b"n", -3), session, 3)
    rig.pass_time(4_500)
    assert rig.machine.digest().hex() == GOLDEN


GOLDEN = "4743364332e5c0b48b877676ca44f843706b74366db1594a716c26d661e0279f"
