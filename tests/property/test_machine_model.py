"""The key-value store, counters and exactly-once against a model that is too simple to be wrong."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.core.machine.commands import (
    MOD_REVISION,
    Check,
    CounterAdd,
    Delete,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Put,
    SessionOpen,
)
from agent.core.machine.ordered import end_of_prefix
from agent.core.machine.outcome import Outcome
from tests.unit.machine.rig import Rig

KEYS = st.binary(min_size=1, max_size=2)


class Store(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.values: dict[bytes, bytes] = {}
        self.mods: dict[bytes, int] = {}
        self.until: dict[bytes, int] = {}
        self.of_lease: dict[int, set[bytes]] = {}
        self.revision = 0
        self.changes: list[tuple[int, bytes, bytes | None]] = []
        self.count = 0
        self.session = 0
        self.requests: dict[int, Outcome] = {}

    def model_put(self, key: bytes, value: bytes | None) -> None:
        self.until.pop(key, None)
        for keys in self.of_lease.values():
            keys.discard(key)
        if value is None:
            del self.values[key], self.mods[key]
        else:
            self.values[key] = value
            self.mods[key] = self.revision
        self.changes.append((self.revision, key, value))

    @rule(key=KEYS, value=st.binary(max_size=3))
    def put(self, key: bytes, value: bytes) -> None:
        self.revision += 1
        self.model_put(key, value)
        assert self.rig.do(Put(key, value)).revision == self.revision

    @rule(key=KEYS, ttl_ms=st.integers(100, 2_000))
    def put_for_a_while(self, key: bytes, ttl_ms: int) -> None:
        self.revision += 1
        self.model_put(key, b"ttl")
        self.until[key] = self.rig.time_ms + ttl_ms
        assert self.rig.do(Put(key, b"ttl", ttl_ms=ttl_ms)).revision == self.revision

    @rule(key=KEYS, known=st.integers(0, 9))
    def exchange(self, key: bytes, known: int) -> None:
        expected = max(self.revision - known, 0)
        outcome = self.rig.do(Put(key, b"cas", checks=(Check(MOD_REVISION, number=expected),)))
        if self.mods.get(key, 0) == expected:
            self.revision += 1
            self.model_put(key, b"cas")
            assert outcome.error == ""
        else:
            assert outcome.error == "compare_failed" and outcome.revision == self.revision

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        there = key in self.values
        if there:
            self.revision += 1
            self.model_put(key, None)
        assert self.rig.do(Delete(key)) == Outcome("", self.revision, int(there))

    @rule(prefix=st.binary(max_size=1))
    def delete_prefix(self, prefix: bytes) -> None:
        gone = sorted(key for key in self.values if key.startswith(prefix))
        if gone:
            self.revision += 1
            for key in gone:
                self.model_put(key, None)
        assert self.rig.value(DeleteRange(prefix, end_of_prefix(prefix))) == (len(gone), False)

    @rule()
    def grant(self) -> None:
        lease = self.rig.value(LeaseGrant(30 * 86_400_000))
        assert isinstance(lease, int)
        self.of_lease[lease] = set()

    @precondition(lambda self: self.of_lease)
    @rule(key=KEYS, data=st.data())
    def put_under_lease(self, key: bytes, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.of_lease)))
        self.revision += 1
        self.model_put(key, b"leased")
        self.of_lease[lease].add(key)
        self.rig.value(Put(key, b"leased", lease))

    @precondition(lambda self: self.of_lease)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.of_lease)))
        keys = self.of_lease.pop(lease)
        if keys:
            self.revision += 1
            for key in sorted(keys):
                self.model_put(key, None)
        assert self.rig.value(LeaseRevoke(lease)) == len(keys)

    @rule(ms=st.integers(1, 1_500))
    def wait(self, ms: int) -> None:
        now = self.rig.time_ms + ms
        due: dict[bytes, int] = {key: at for key, at in self.until.items() if at <= now}
        self.rig.pass_time(ms)
        # Each of these keys has a lease of its own, and each lease's end is a revision of its own.
        events = self.rig.machine.kv.history.after(self.revision, 1_000)
        assert {event.key for event in events} == due.keys() and [due[event.key] for event in events] == sorted(due.values())
        for event in events:
            self.revision += 1
            assert event.revision == self.revision and event.expired
            self.model_put(event.key, None)

    @rule(request=st.integers(1, 12), delta=st.integers(-5, 5))
    def add_once(self, request: int, delta: int) -> None:
        if not self.session:
            session = self.rig.value(SessionOpen(86_400_000, 100))
            assert isinstance(session, int)
            self.session = session
        outcome = self.rig.do(CounterAdd(b"c", delta), self.session, request)
        if request in self.requests:
            assert outcome.replayed and outcome.value == self.requests[request].value
        else:
            self.count += delta
            assert outcome.value == self.count
            self.requests[request] = outcome

    @rule()
    def become_another_replica(self) -> None:
        self.rig.machine = self.rig.twin()

    @invariant()
    def agrees(self) -> None:
        kv = self.rig.machine.kv
        assert {key: record.value for key, record in kv.records.items()} == self.values
        assert {key: record.mod for key, record in kv.records.items()} == self.mods
        assert [key for key, _ in kv.page(b"", b"", 10_000, 1 << 30)[0]] == sorted(self.values)
        told: list[Any] = [(event.revision, event.key, event.record and event.record.value) for event in kv.history.after(0, 100_000)]
        assert told == self.changes
        assert kv.order.count(b"\x01", b"\x90") == sum(b"\x01" <= key < b"\x90" for key in self.values)


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
