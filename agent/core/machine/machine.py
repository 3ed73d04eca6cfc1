"""The state machine: entries of the log in, outcomes out.

Pure and deterministic: the same entries give the same state, octet for octet, whatever the host, its hash seed or its clock. What is
read is read straight from the parts (`machine.kv.records` and so on), between two `apply`s, and never changed from outside.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from agent.core.machine.barriers import BARRIERS_PART, Barriers
from agent.core.machine.bounds import BOUNDS, Bounds
from agent.core.machine.commands import Once
from agent.core.machine.config import Limits
from agent.core.machine.counters import COUNTERS_PART, Counters
from agent.core.machine.envelope import UNREADABLE, unseal
from agent.core.machine.kv import Store
from agent.core.machine.kv_part import KV
from agent.core.machine.leases import LEASES, Leases
from agent.core.machine.once import ONCE, OnceTable
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import Part, Registry, UnknownCommand
from agent.core.machine.seats import ELECTIONS_PART, LOCKS_PART, Elections, Locks
from agent.core.machine.sessions import SESSIONS, Sessions
from agent.core.machine.shared import Shared
from agent.core.machine.snapshot import Restored, Snapshot, digest_of, read_snapshot
from agent.core.replica.log import COMMAND, Entry

BUILT_IN: Final = (BOUNDS, LEASES, KV, LOCKS_PART, ELECTIONS_PART, COUNTERS_PART, BARRIERS_PART, SESSIONS, ONCE)


def built_in() -> Registry:
    """What every group's machine has; more parts may be added before the first machine is made of it."""
    return Registry(BUILT_IN)


class Machine:
    """`registry`: alike on all members. `limits`: what a new group begins with; alike on all members too."""

    def __init__(self, registry: Registry | None = None, limits: Limits | None = None) -> None:
        self.registry = registry if registry is not None else built_in()
        self._first_limits = limits if limits is not None else Limits()
        self.life = 0
        """One more whenever a snapshot took the state's place."""
        self._set(Shared(self._first_limits), {})

    def _set(self, shared: Shared, parts: dict[str, Part]) -> None:
        """Make these the machine's, or empty ones where there are none."""
        registry = self.registry
        self.shared = shared
        self.parts = parts or {name: kind.make(shared) for name, kind in registry.parts.items()}
        self._decode: Callable[[bytes], Any] = registry.envelopes().decode
        self._apply: dict[type, Callable[[Any], Outcome]] = {}
        for name, kind in registry.parts.items():
            part = self.parts[name]
            for command in kind.commands:
                self._apply[command.structure] = getattr(part, command.apply.__name__)
        self.bounds: Bounds = self._part("bounds", Bounds)
        self.kv: Store = self._part("kv", Store)
        self.leases: Leases = self._part("leases", Leases)
        self.locks: Locks = self._part("locks", Locks)
        self.elections: Elections = self._part("elections", Elections)
        self.counters: Counters = self._part("counters", Counters)
        self.barriers: Barriers = self._part("barriers", Barriers)
        self.sessions: Sessions = self._part("sessions", Sessions)
        self.once: OnceTable = self._part("once", OnceTable)
        self.leases.holders = [part for part in self.parts.values() if part is not self.leases]
        self.once.execute = self._execute

    def _part(self, name: str, kind: type[Any]) -> Any:
        part = self.parts[name]
        assert isinstance(part, kind)
        return part

    # -- what it tells

    @property
    def index(self) -> int:
        """Of the last entry applied."""
        return self.shared.index

    @property
    def time_ms(self) -> int:
        """Machine time."""
        return self.shared.time_ms

    @property
    def revision(self) -> int:
        """The key-value store's."""
        return self.shared.revision

    def next_due(self) -> int:
        """At which machine time (ms) something ends by itself, or earlier; `NEVER_MS` where nothing does."""
        return self.shared.due_ms

    def roomy(self) -> bool:
        """Whether commands may be executed out of the log's order as far as the bounds are concerned."""
        return all(part.roomy() for part in self.parts.values())

    def watch(self, watched: bool) -> None:
        """Whether `take_touched` will be called from time to time."""
        self.shared.watched = watched
        self.shared.touched.clear()

    def take_touched(self) -> set[tuple[str, bytes]]:
        """(part, name) of the locks, elections, counters and barriers that have changed since the last call."""
        taken = self.shared.touched
        if taken:
            self.shared.touched = set()
        return taken

    # -- as a whole

    def snapshot(self) -> Snapshot:
        """The state as of now, as an iterator of chunks that are taken between commands, on the same thread, while this goes on.

        Beginning it costs 0.3 ms for keys, however many there are (measured with 1,000,000, and 65,536 events); a key that changes before
        it has been told is put aside, which doubles the cost of that change. Of leases, locks and sessions rows are made at once: 50 ms
        for 100,000 leases."""
        return Snapshot(self.registry, self.shared, self.parts)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Take over another machine's state. Raises SnapshotError, and then this one's is as before."""
        self.adopt(read_snapshot(self.registry, chunks))

    def adopt(self, restored: Restored) -> None:
        """Take over what `read_snapshot` read (a large one on another thread). Everything may have changed: `life` says so."""
        restored.shared.watched = self.shared.watched
        self._set(restored.shared, restored.parts)
        self.life += 1

    def clear(self, index: int = 0) -> None:
        """Become the empty machine that a group begins with, as of this index."""
        shared = Shared(self._first_limits)
        shared.index = index
        self.adopt(Restored(shared, {}))

    def digest(self) -> bytes:
        """SHA-256 of the whole state; costs as much as a snapshot."""
        return digest_of(self.snapshot())

    # -- what it does

    def apply_all(self, entries: Iterable[Entry]) -> list[Outcome | None]:
        """Apply in this order; an outcome for each, None for those that are not the machine's. Raises UnknownCommand."""
        return [self.apply(entry) for entry in entries]

    def apply(self, entry: Entry) -> Outcome | None:
        """Apply the next entry. Raises UnknownCommand: this member can no longer take part."""
        shared = self.shared
        shared.index = entry.index
        if entry.kind != COMMAND:
            return None
        try:
            envelope = self._decode(entry.data)
        except UNREADABLE:
            return self._unreadable(entry.data)
        time_ms: int = envelope.time_ms
        if time_ms > shared.time_ms:
            shared.time_ms = time_ms
            if time_ms >= shared.due_ms:
                self._expire()
        command = envelope.command
        if not envelope.session:
            return self._apply[type(command)](command)
        session = self.sessions.table.get(envelope.session)
        if session is None:
            return Outcome("session_not_found", shared.revision)
        lease = session.lease
        lease.expires_ms = shared.time_ms + lease.ttl_ms
        request: int = envelope.request
        kept = session.outcomes.get(request)
        if kept is not None:
            return Outcome(kept.error, kept.revision, kept.value, True)
        if request <= session.floor:
            return Outcome("request_too_old", shared.revision)
        outcome = self._apply[type(command)](command)
        session.keep(request, outcome, shared.limits.session_bytes)
        acked: int = envelope.acked
        if session.floor < acked < request:
            session.forget(acked)
        return outcome

    def _execute(self, octets: bytes) -> Outcome:
        """A command within a command."""
        try:
            command = self.registry.decode(octets)
        except UNREADABLE:
            self._stop_if_unknown(octets)
            return Outcome("malformed", self.shared.revision)
        if isinstance(command, Once):
            return Outcome("malformed", self.shared.revision)
        return self._apply[type(command)](command)

    def _unreadable(self, data: bytes) -> Outcome:
        """What is no envelope changes nothing, on any member; but what another version can read must not be passed over."""
        try:
            sealed = unseal(data)
        except UNREADABLE:
            return Outcome("malformed", self.shared.revision)
        self._stop_if_unknown(bytes(sealed.command))
        return Outcome("malformed", self.shared.revision)

    def _stop_if_unknown(self, command: bytes) -> None:
        tag = self.registry.unknown(command)
        if tag:
            raise UnknownCommand(f"entry {self.shared.index}: command {tag!r} is unknown to this build; install the version that knows it")

    def _expire(self) -> None:
        shared = self.shared
        shared.due_ms = min(self.leases.expire(), self.once.expire())
