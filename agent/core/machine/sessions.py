"""Exactly once: a request that comes again is answered with its first outcome (Raft dissertation, 6.3; RIFL, Lee et al. 2015).

A session has a window of its latest requests' outcomes. Requests may come in any order within it, so that a client may have many under
way; those that the client says it has the outcome of (`acked`) are forgotten. A session is a lease as well, and every command of its
is a sign of life; one that has ended executes nothing any more, since nobody could tell a new request from an old one.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.core.machine.commands import SessionEnd, SessionKeep, SessionOpen
from agent.core.machine.leases import Lease, Leases
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import CommandType, Part, PartType
from agent.core.machine.shared import Shared

VERSION: Final = 1
OUTCOME_BYTES: Final = 64


class Session:
    """floor: outcomes of requests up to this one are no longer kept."""

    __slots__ = ("bytes", "floor", "highest", "lease", "outcomes", "window")

    def __init__(self, lease: Lease, window: int) -> None:
        self.lease = lease
        self.window = window
        self.floor = 0
        self.highest = 0
        self.outcomes: dict[int, Outcome] = {}
        self.bytes = 0
        """Of outcomes that hold more than a number."""

    def forget(self, floor: int) -> None:
        """Keep nothing of requests up to this one."""
        outcomes = self.outcomes
        if floor - self.floor > 2 * len(outcomes) + 16:
            for request in [request for request in outcomes if request <= floor]:
                self._drop(request)
        else:
            for request in range(self.floor + 1, floor + 1):
                if request in outcomes:
                    self._drop(request)
        self.floor = floor

    def _drop(self, request: int) -> None:
        value = self.outcomes.pop(request).value
        if value is not None and type(value) is not int:
            self.bytes -= size_of(value)

    def keep(self, request: int, outcome: Outcome, bytes_max: int) -> None:
        """Keep the outcome of a request beyond the floor that has none yet."""
        self.outcomes[request] = outcome
        if request > self.highest:
            self.highest = request
            floor = request - self.window
            if floor > self.floor:
                self.forget(floor)
        value = outcome.value
        if value is not None and type(value) is not int:
            self.bytes += size_of(value)
            while self.bytes > bytes_max and len(self.outcomes) > 1:
                self.forget(min(self.outcomes))


def size_of(value: object) -> int:
    """About how many octets an outcome's value takes. Depends on the value alone, not on whether it is a list or a tuple."""
    if isinstance(value, (bytes, str)):
        return OUTCOME_BYTES + len(value)
    if isinstance(value, (tuple, list)):
        return OUTCOME_BYTES + sum(size_of(part) for part in value)
    return OUTCOME_BYTES


class Sessions(Part):
    def __init__(self, shared: Shared, leases: Leases) -> None:
        super().__init__(shared)
        self.table: dict[int, Session] = {}
        self.windows = 0
        self._leases = leases

    def on_open(self, command: SessionOpen) -> Outcome:
        shared = self.shared
        limits = shared.limits
        error, why = self._leases.complaint(command.ttl_ms)
        if not error and command.ttl_ms > limits.session_ttl_ms_max:
            error, why = "invalid", f"ttl {command.ttl_ms} ms: a session's is at most {limits.session_ttl_ms_max} ms"
        if not error and not 1 <= command.window <= limits.session_window_max:
            error, why = "invalid", f"window {command.window}: expected 1 to {limits.session_window_max} requests"
        if not error and len(self.table) >= limits.sessions:
            error, why = "full", f"sessions: at most {limits.sessions}"
        if not error and self.windows + command.window > limits.windows:
            error, why = "full", f"windows: at most {limits.windows} requests of all sessions together"
        if error:
            return Outcome(error, shared.revision, why)
        id = self._leases.grant(command.ttl_ms)
        self.table[id] = Session(self._leases.table[id], command.window)
        self.windows += command.window
        return Outcome("", shared.revision, id)

    def on_keep(self, command: SessionKeep) -> Outcome:
        session = self.table.get(command.session)
        if session is None:
            return Outcome("session_not_found", self.shared.revision)
        if session.floor < command.acked <= session.highest:
            session.forget(command.acked)
        lease = session.lease
        lease.expires_ms = self.shared.time_ms + lease.ttl_ms
        return Outcome("", self.shared.revision, lease.ttl_ms)

    def on_end(self, command: SessionEnd) -> Outcome:
        if command.session not in self.table:
            return Outcome("session_not_found", self.shared.revision)
        gone = self._leases.end(command.session, False)
        return Outcome("", self.shared.revision, gone)

    # -- Part

    def lease_ended(self, lease: int, expired: bool) -> None:
        session = self.table.pop(lease, None)
        if session is not None:
            self.windows -= session.window

    def freeze(self) -> Iterator[Any]:
        """Copies the tables of outcomes: about 1 µs for a session with a hundred of them."""
        rows = [(id, one.window, one.floor, one.highest, one.outcomes.copy()) for id, one in self.table.items()]
        return _rows(rows)

    def load(self, version: int, rows: Iterator[Any]) -> None:
        for row in rows:
            id, window, floor, highest, outcomes = msgspec.convert(row, tuple[int, int, int, int, list[tuple[int, Outcome]]])
            lease = self._leases.table.get(id)
            if lease is None:
                raise msgspec.ValidationError(f"session {id} without its lease")
            session = Session(lease, window)
            session.floor, session.highest = floor, highest
            session.outcomes = dict(outcomes)
            session.bytes = sum(
                size_of(one.value) for one in session.outcomes.values() if one.value is not None and type(one.value) is not int
            )
            self.table[id] = session
            self.windows += window


def _rows(rows: list[tuple[int, int, int, int, dict[int, Outcome]]]) -> Iterator[Any]:
    rows.sort(key=_id)
    for id, window, floor, highest, outcomes in rows:
        yield id, window, floor, highest, sorted(outcomes.items(), key=_id)


def _id(row: Any) -> int:
    id: int = row[0]
    return id


def _make(shared: Shared) -> Sessions:
    assert isinstance(shared.leases, Leases)
    return Sessions(shared, shared.leases)


SESSIONS: Final = PartType(
    "sessions",
    VERSION,
    _make,
    (
        CommandType(SessionOpen, Sessions.on_open),
        CommandType(SessionKeep, Sessions.on_keep),
        CommandType(SessionEnd, Sessions.on_end),
    ),
)
