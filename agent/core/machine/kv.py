"""The key-value store: one revision for the whole, a version for each key, and the latest events (the model of etcd's v3 store)."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.frozen import Frozen, rows_of
from agent.core.machine.history import History
from agent.core.machine.ordered import Ordered
from agent.core.machine.outcome import Outcome
from agent.core.machine.records import Event, Item, Record, item_of
from agent.core.machine.registry import Part
from agent.core.machine.shared import Shared

VERSION: Final = 1
NO_BOUND: Final = 1 << 62


class Store(Part):
    """`records` is to be read by everybody and written by nobody else."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.records: dict[bytes, Record] = {}
        self.order = Ordered()
        self.history = History()
        self.bytes = 0
        """Keys and values together."""
        self.leased: dict[int, set[bytes]] = {}
        self._frozen: list[Frozen] = []
        """Snapshots that have not told all keys yet."""

    # -- reading

    def page(self, start: bytes, end: bytes, limit: int, bytes_max: int) -> tuple[list[tuple[bytes, Record]], bool]:
        """Records from `start` to before `end` (empty: no end), ascending, and whether there are more."""
        found: list[tuple[bytes, Record]] = []
        size = 0
        records = self.records
        for key in self.order.between(start, end):
            if len(found) >= limit or size >= bytes_max:
                return found, True
            record = records[key]
            size += len(key) + len(record.value)
            found.append((key, record))
        return found, False

    # -- commands

    def on_put(self, command: c.Put) -> Outcome:
        key = command.key
        value = command.value
        shared = self.shared
        old = self.records.get(key)
        lease = command.lease
        ttl_ms = command.ttl_ms
        if command.checks:
            for check in command.checks:
                if not holds(check, old):
                    return Outcome("compare_failed", shared.revision, item_of(key, old) if old is not None else None)
        wrong = self._complaint(key, value, old)
        if wrong is not None:
            return wrong
        if lease or ttl_ms:
            if lease and ttl_ms:
                return Outcome("invalid", shared.revision, "both lease and ttl")
            if lease and not shared.leases.alive(lease):
                return Outcome("lease_not_found", shared.revision)
            if lease and (old is None or old.lease != lease) and self._many(lease, 1):
                return Outcome("full", shared.revision, f"lease_keys: at most {shared.limits.lease_keys} keys of one lease")
            if ttl_ms:
                error, why = shared.leases.complaint(ttl_ms)
                if error:
                    return Outcome(error, shared.revision, why)
                lease = shared.leases.grant(ttl_ms, True)
        revision = shared.revision + 1
        shared.revision = revision
        record = self._write(key, value, lease, revision, old)
        return Outcome("", revision, record.version)

    def on_delete(self, command: c.Delete) -> Outcome:
        key = command.key
        old = self.records.get(key)
        for check in command.checks:
            if not holds(check, old):
                return Outcome("compare_failed", self.shared.revision, item_of(key, old) if old is not None else None)
        if old is None:
            return Outcome("", self.shared.revision, 0)
        self.shared.revision += 1
        self._erase(key, old, self.shared.revision, False)
        return Outcome("", self.shared.revision, 1)

    def on_delete_range(self, command: c.DeleteRange) -> Outcome:
        most = self.shared.limits.range_items
        found, more = self.page(command.start, command.end, min(command.limit or most, most), NO_BOUND)
        if found:
            self.shared.revision += 1
            for key, record in found:
                self._erase(key, record, self.shared.revision, False)
        return Outcome("", self.shared.revision, (len(found), more))

    def on_txn(self, command: c.Txn) -> Outcome:
        shared = self.shared
        most = shared.limits.txn_operations
        if max(len(command.compares), len(command.then), len(command.otherwise)) > most:
            return Outcome("too_large", shared.revision, f"more than {most} compares or operations")
        records = self.records
        succeeded = all(holds(compare.check, records.get(compare.key)) for compare in command.compares)
        operations = command.then if succeeded else command.otherwise
        wrong = self._cannot(operations)
        if wrong is not None:
            return wrong
        revision = shared.revision + 1
        results: list[object] = []
        room = shared.limits.range_bytes
        for operation in operations:
            result, size = self._run(operation, revision, room)
            room = max(room - size, 0)
            results.append(result)
        return Outcome("", shared.revision, (succeeded, results))

    def _run(self, operation: c.Op, revision: int, room: int) -> tuple[object, int]:
        """One operation of a transaction that becomes `revision`; the octets of values that it answers with, of at most about `room`."""
        key = operation.start if isinstance(operation, c.OpRange) else operation.key
        old = self.records.get(key)
        if isinstance(operation, c.OpPut):
            self.shared.revision = revision
            return self._write(key, operation.value, operation.lease, revision, old).version, 0
        if isinstance(operation, c.OpDelete):
            if old is None:
                return 0, 0
            self.shared.revision = revision
            self._erase(key, old, revision, False)
            return 1, 0
        if isinstance(operation, c.OpGet):
            return (item_of(key, old), len(old.value)) if old is not None else (None, 0)
        most = self.shared.limits.range_items
        found, more = self.page(key, operation.end, min(operation.limit or most, most), room)
        items: list[Item] = [item_of(key, record) for key, record in found]
        return (items, more), sum(len(item[1]) for item in items)

    def _cannot(self, operations: tuple[c.Op, ...]) -> Outcome | None:
        """Why these cannot all be done: a transaction is whole or nothing."""
        fresh = 0
        more = 0
        answered = 0
        for operation in operations:
            if isinstance(operation, c.OpPut):
                wrong = self._complaint(operation.key, operation.value, None)
                if wrong is not None:
                    return wrong
                if operation.lease and not self.shared.leases.alive(operation.lease):
                    return Outcome("lease_not_found", self.shared.revision)
                if operation.lease and self._many(operation.lease, len(operations)):
                    return Outcome("full", self.shared.revision, f"lease_keys: at most {self.shared.limits.lease_keys} keys of one lease")
                fresh += 1
                more += len(operation.key) + len(operation.value)
            elif isinstance(operation, c.OpGet):
                record = self.records.get(operation.key)
                answered += len(record.value) if record is not None else 0
        limits = self.shared.limits
        if answered > limits.range_bytes + limits.value_bytes:
            return Outcome("too_large", self.shared.revision, f"values of more than {limits.range_bytes} octets to answer with")
        return self._no_room(fresh, more)

    def _complaint(self, key: bytes, value: bytes, old: Record | None) -> Outcome | None:
        limits = self.shared.limits
        if not key:
            return Outcome("invalid", self.shared.revision, "an empty key")
        if len(key) > limits.key_bytes:
            return Outcome("too_large", self.shared.revision, f"key of {len(key)} octets; at most {limits.key_bytes}")
        if len(value) > limits.value_bytes:
            return Outcome("too_large", self.shared.revision, f"value of {len(value)} octets; at most {limits.value_bytes}")
        if old is None:
            return self._no_room(1, len(key) + len(value))
        return self._no_room(0, len(value) - len(old.value))

    def _many(self, lease: int, more: int) -> bool:
        """Whether so many more keys may be too many for the lease."""
        keys = self.leased.get(lease)
        return (len(keys) if keys is not None else 0) + more > self.shared.limits.lease_keys

    def _no_room(self, keys: int, size: int) -> Outcome | None:
        limits = self.shared.limits
        if keys and len(self.records) + keys > limits.keys:
            return Outcome("full", self.shared.revision, f"keys: at most {limits.keys}")
        if size > 0 and self.bytes + size > limits.store_bytes:
            return Outcome("full", self.shared.revision, f"store_bytes: at most {limits.store_bytes} octets of keys and values")
        return None

    # -- changing

    def _write(self, key: bytes, value: bytes, lease: int, revision: int, old: Record | None) -> Record:
        if self._frozen:
            self._keep(key, old)
        if old is None:
            record = Record(value, revision, revision, 1, lease)
            self.order.add(key)
            self.bytes += len(key) + len(value)
            if lease:
                self._attach(lease, key)
        else:
            record = Record(value, old.create, revision, old.version + 1, lease)
            self.bytes += len(value) - len(old.value)
            if old.lease != lease:
                if old.lease:
                    self._detach(old.lease, key)
                if lease:
                    self._attach(lease, key)
        self.records[key] = record
        limits = self.shared.limits
        self.history.add(Event(revision, key, record), limits.history_events, limits.history_bytes)
        return record

    def _keep(self, key: bytes, old: Record | None) -> None:
        for frozen in self._frozen:
            frozen.keep(key, old)

    def _erase(self, key: bytes, old: Record, revision: int, expired: bool) -> None:
        if self._frozen:
            self._keep(key, old)
        del self.records[key]
        self.order.remove(key)
        self.bytes -= len(key) + len(old.value)
        if old.lease:
            self._detach(old.lease, key)
        limits = self.shared.limits
        self.history.add(Event(revision, key, None, expired), limits.history_events, limits.history_bytes)

    def _attach(self, lease: int, key: bytes) -> None:
        keys = self.leased.get(lease)
        if keys is None:
            self.leased[lease] = {key}
        else:
            keys.add(key)

    def _detach(self, lease: int, key: bytes) -> None:
        keys = self.leased.get(lease)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self.leased[lease]
                self.shared.leases.drop(lease)

    # -- Part

    def lease_ended(self, lease: int, expired: bool) -> None:
        keys = self.leased.pop(lease, None)
        if keys:
            self.shared.revision += 1
            for key in sorted(keys):
                self._erase(key, self.records[key], self.shared.revision, expired)
            self.shared.keys_gone = len(keys)

    def roomy(self) -> bool:
        limits = self.shared.limits
        return len(self.records) * 8 <= limits.keys * 7 and self.bytes * 2 <= limits.store_bytes

    def freeze(self) -> Iterator[Any]:
        """Copies the pointers of the history; keys are told as they were while they change (`frozen.py`)."""
        frozen = Frozen(len(self.records))
        rows = rows_of(frozen, self.order, self.records, self.history.compacted, self.history.kept(), self._thaw)
        next(rows)
        self._frozen.append(frozen)
        return rows

    def _thaw(self, frozen: Frozen) -> None:
        if frozen in self._frozen:
            self._frozen.remove(frozen)

    def load(self, version: int, rows: Iterator[Any]) -> None:
        compacted, keys = msgspec.convert(next(rows), tuple[int, int])
        order: list[bytes] = []
        for _ in range(keys):
            key, record = msgspec.convert(next(rows), tuple[bytes, Record])
            self.records[key] = record
            order.append(key)
            self.bytes += len(key) + len(record.value)
            if record.lease:
                self._attach(record.lease, key)
        if any(order[at - 1] >= order[at] for at in range(1, len(order))):
            raise msgspec.ValidationError("keys that are not in order")
        self.order.fill(order)
        # A record that is still current is told once more by the event that made it: one object for both.
        self.history.load(compacted, [self._shared_event(msgspec.convert(row, Event)) for row in rows])

    def _shared_event(self, event: Event) -> Event:
        current = self.records.get(event.key)
        if current is not None and current == event.record:
            return Event(event.revision, event.key, current)
        return event


def holds(check: c.Check, record: Record | None) -> bool:
    """Whether it is as the check says; a key that is not there has 0 for all numbers, and no value."""
    what = check.what
    op = check.op
    if what == c.VALUE:
        if record is None:
            return op == c.UNEQUAL
        return _compared(op, (record.value > check.octets) - (record.value < check.octets))
    number = 0
    if record is not None:
        if what == c.VERSION:
            number = record.version
        elif what == c.MOD_REVISION:
            number = record.mod
        elif what == c.CREATE_REVISION:
            number = record.create
        else:
            number = record.lease
    return _compared(op, number - check.number)


def _compared(op: int, difference: int) -> bool:
    if op == c.EQUAL:
        return difference == 0
    if op == c.UNEQUAL:
        return difference != 0
    return difference < 0 if op == c.LESS else difference > 0
