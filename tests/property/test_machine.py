"""Whatever comes, the state machine keeps its promises: nothing raises, all replicas are alike, a lock has one holder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.machine.envelope import TICK, encode_command, seal
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome, decode_outcome, encode_outcome
from agent.core.machine.registry import SnapshotError, UnknownCommand
from agent.core.replica.log import COMMAND, MEMBERS, NOOP, Entry
from tests.property.machine_commands import STEPS

ROOT = Path(__file__).resolve().parents[2]


def entries_of(steps: list[Any]) -> list[Entry]:
    time_ms = 0
    made = []
    for index, (passed_ms, command, session, request, acked) in enumerate(steps, start=1):
        time_ms += passed_ms
        made.append(Entry(1, index, COMMAND, seal(time_ms, session, request, acked, encode_command(command))))
    return made


def octets(outcome: Outcome | None) -> bytes:
    assert outcome is not None
    return encode_outcome(outcome)


def check_books(machine: Machine) -> None:
    """What is derived agrees with what it is derived from."""
    kv = machine.kv
    assert list(kv.order.between(b"", b"")) == sorted(kv.records)
    assert kv.bytes == sum(len(key) + len(record.value) for key, record in kv.records.items())
    leased: dict[int, set[bytes]] = {}
    for key, record in kv.records.items():
        assert 1 <= record.create <= record.mod <= machine.revision and record.version >= 1
        if record.lease:
            leased.setdefault(record.lease, set()).add(key)
    assert kv.leased == leased and leased.keys() <= machine.leases.table.keys()
    for lease in machine.leases.table.values():
        assert lease.expires_ms > machine.time_ms
        assert not lease.own or len(leased[lease.id]) == 1
    for part in (machine.locks, machine.elections):
        owners = [(name, who[0]) for name, seat in part.table.items() for who in (seat.holder, *seat.waiting)]
        assert {(name, lease) for lease, names in part.by_lease.items() for name in names} == set(owners)
        tokens = [seat.token for seat in part.table.values()]
        assert len(set(tokens)) == len(tokens) and all(0 < token <= machine.shared.fence for token in tokens)
        for seat in part.table.values():
            assert seat.holder not in seat.waiting
    owners = [(name, lease) for name, one in machine.barriers.table.items() for lease, _ in one.inside]
    assert {(name, lease) for lease, names in machine.barriers.by_lease.items() for name in names} == set(owners)
    assert {lease for _, lease in owners} <= machine.leases.table.keys()
    for session in machine.sessions.table.values():
        assert machine.leases.table[session.lease.id] is session.lease
        assert len(session.outcomes) <= session.window and all(session.floor < one <= session.highest for one in session.outcomes)
    assert machine.sessions.windows == sum(session.window for session in machine.sessions.table.values())


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(0, 60))
def test_a_replica_from_a_snapshot_goes_on_like_one_that_saw_everything(steps: list[Any], cut: int) -> None:
    entries = entries_of(steps)
    first, second = Machine(), Machine()
    before = [octets(first.apply(entry)) for entry in entries[:cut]]
    frozen = first.snapshot()
    after = [octets(first.apply(entry)) for entry in entries[cut:]]
    second.restore(frozen)  # taken only now: what came in between must not be in it
    assert second.index == min(cut, len(entries))
    check_books(second)
    assert [octets(second.apply(entry)) for entry in entries[cut:]] == after
    assert second.digest() == first.digest()
    check_books(first)
    assert len(before) + len(after) == len(entries)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_tokens_of_a_lock_rise_and_a_holder_stays_until_it_lets_go(steps: list[Any]) -> None:
    machine = Machine()
    held: dict[tuple[int, bytes], tuple[int, Any]] = {}
    for entry in entries_of(steps):
        outcome = machine.apply(entry)
        assert outcome is not None
        assert decode_outcome(encode_outcome(outcome)).error == outcome.error
        for number, part in enumerate((machine.locks, machine.elections)):
            for name, seat in part.table.items():
                token, holder = held.get((number, name), (0, None))
                assert seat.token > token or (seat.token == token and seat.holder == holder)
                assert machine.leases.alive(seat.holder[0])
                held[(number, name)] = (seat.token, seat.holder)
    check_books(machine)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.lists(STEPS, min_size=1, max_size=1), st.data())
def test_octets_that_are_no_command_are_malformed_and_change_nothing(noise: bytes, steps: list[Any], data: st.DataObject) -> None:
    machine = Machine()
    before = machine.digest()
    good = entries_of(steps)[0].data
    at = data.draw(st.integers(0, len(good)))
    for octets_ in (noise, good[:at] + noise + good[at + len(noise) :], good[:at]):
        machine = Machine()
        try:
            outcome = machine.apply(Entry(1, 0, COMMAND, octets_))
        except UnknownCommand:
            assert not isinstance(msgspec.msgpack.decode(octets_)[4][0], dict)
            continue
        assert outcome is not None
        if outcome.error == "malformed" and octets_ == noise:
            assert machine.digest() == before


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12), st.data())
def test_a_damaged_snapshot_is_refused_or_read_and_never_half_taken(steps: list[Any], data: st.DataObject) -> None:
    machine = Machine()
    machine.apply_all(entries_of(steps))
    whole = bytearray(b"".join(machine.snapshot()))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytes(whole[:at]) + data.draw(st.binary(max_size=3)) + bytes(whole[at + data.draw(st.integers(0, 3)) :])
    other = Machine()
    other.apply(Entry(1, 1, COMMAND, seal(5, 0, 0, 0, TICK)))
    before = other.digest()
    try:
        other.restore([damaged])
    except SnapshotError:
        assert other.digest() == before and other.life == 0
    else:
        other.digest()


def test_entries_that_are_not_the_machines_only_count() -> None:
    machine = Machine()
    assert machine.apply_all([Entry(1, 1, NOOP, b""), Entry(1, 2, MEMBERS, b"\x01")]) == [None, None]
    assert machine.index == 2


def test_a_command_of_a_newer_version_stops_the_replica() -> None:
    for command in (["kv.put/9", b"k"], ["once", "key", 1_000, ["kv.put/9", b"k"]]):
        with pytest.raises(UnknownCommand, match=r"entry 7: command 'kv\.put/9'"):
            Machine().apply(Entry(1, 7, COMMAND, seal(1, 0, 0, 0, msgspec.msgpack.encode(command))))


DIGEST = """
import json, sys
from agent.core.machine.machine import Machine
from agent.core.replica.log import Entry
machine = Machine()
for index, data in enumerate(json.load(sys.stdin), start=1):
    machine.apply(Entry(1, index, 0, bytes.fromhex(data)))
print(machine.digest().hex())
"""


def test_the_hash_seed_of_the_process_makes_no_difference() -> None:
    found: list[Any] = []

    @settings(max_examples=25, deadline=None, database=None, derandomize=True)
    @given(st.lists(STEPS, min_size=20, max_size=60))
    def gather(steps: list[Any]) -> None:
        found.extend(steps)

    gather()
    data = json.dumps([entry.data.hex() for entry in entries_of(found)])
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST], cwd=ROOT, env={"PYTHONHASHSEED": seed}, input=data, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(digests) == 1
