"""What a host needs of its log, and what is asked of it."""

from collections.abc import Callable
from typing import Protocol

from agent.core.machine.outcome import Outcome
from agent.core.replica.io import Persist


class LogFace(Protocol):
    """What a host itself needs of `agent.runtime.wal.face.LogStore`."""

    def persist(self, batch: Persist) -> None: ...
    def compact(self, index: int) -> None: ...


class Job:
    """A command on its way, from whoever asked until its outcome. `finish` or `fail` is called once.

    session, request, acked: for exactly once, 0 without. safe: it may be said again where it is not known what became of it.
    """

    __slots__ = ("acked", "asked", "command", "request", "safe", "session")

    def __init__(self, command: bytes, session: int, request: int, acked: int, safe: bool, asked: float) -> None:
        self.command = command
        self.session = session
        self.request = request
        self.acked = acked
        self.safe = safe
        self.asked = asked

    def finish(self, outcome: Outcome) -> None:
        """It stands in the log, and this came of it."""
        raise NotImplementedError

    def fail(self, reason: str, leader: int) -> None:
        """It was not taken, or lost its place: it has had no effect by this asking, and will not have any. A word of `io.REFUSALS`."""
        raise NotImplementedError


Ready = Callable[[str, int], None]
"""Called when a read may look at the state machine: "" and the index, or why not and 0."""
