"""A machine, and words to talk to it."""

from msgspec import Struct

from agent.core.machine.config import Limits
from agent.core.machine.envelope import encode_command, seal
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import Registry
from agent.core.replica.log import COMMAND, Entry


class Rig:
    """Entries as a host would make them; time stands still unless a test moves it."""

    def __init__(self, limits: Limits | None = None, registry: Registry | None = None) -> None:
        self.machine = Machine(registry, limits)
        self.time_ms = 1_000
        self.log: list[Entry] = []

    def do(self, command: Struct, session: int = 0, request: int = 0, acked: int = 0) -> Outcome:
        return self.take(seal(self.time_ms, session, request, acked, encode_command(command)))

    def take(self, data: bytes) -> Outcome:
        entry = Entry(1, self.machine.index + 1, COMMAND, data)
        self.log.append(entry)
        outcome = self.machine.apply(entry)
        assert outcome is not None
        return outcome

    def value(self, command: Struct, session: int = 0, request: int = 0, acked: int = 0) -> object:
        """What a command that must succeed answers with."""
        outcome = self.do(command, session, request, acked)
        assert outcome.error == "", outcome
        return outcome.value

    def lease(self, ttl_ms: int = 10_000) -> int:
        from agent.core.machine.commands import LeaseGrant

        lease = self.value(LeaseGrant(ttl_ms))
        assert isinstance(lease, int)
        return lease

    def pass_time(self, ms: int) -> None:
        from agent.core.machine.commands import Tick

        self.time_ms += ms
        self.do(Tick())

    def twin(self) -> Machine:
        """A machine that was brought to this state by a snapshot."""
        other = Machine(self.machine.registry)
        other.restore(list(self.machine.snapshot()))
        return other
