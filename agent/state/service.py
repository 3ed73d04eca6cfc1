"""What the API needs of the group; the wiring hands it in. `tests/contract/test_state_service.py` holds every implementation to it."""

from collections.abc import Callable
from math import inf
from typing import Any, Literal, Protocol

from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome

Consistency = Literal["linearizable", "lease", "stale"]

Done = Callable[[str, Outcome | None], None]
"""Called once: "" and the outcome; or why there is none and None: a word of `core.replica.io.REFUSALS` or `timeout`, and then it had no
effect and never will; or `unknown`."""

Ready = Callable[[str, int], None]
"""Called once: "" and the index that the state machine has reached; or why not (`REFUSALS`, `timeout`, `stale`) and 0."""


class Service(Protocol):
    """A replica of a group. All calls are made on the loop."""

    @property
    def machine(self) -> Machine | None:
        """The own state machine, to be read only; None where there is none (now)."""

    @property
    def watchers(self) -> list[Callable[[int], None]]:
        """Called with the index whenever entries have been applied, and after a snapshot took the state's place."""

    def submit(
        self, command: bytes, done: Done, timeout_s: float, session: int = 0, request: int = 0, acked: int = 0, *, safe: bool = False
    ) -> None:
        """Have the command committed and applied. `done` is never called within this call, and always by about the time given.

        safe: it may be said again where it is not known what became of it; what has a session always may."""

    def read(self, consistency: Consistency, ready: Ready, timeout_s: float, max_staleness_s: float = inf) -> None:
        """Wait until the state machine may be read. `stale`: ready may be called within this call."""

    @property
    def client_only(self) -> bool:
        """This agent never has a state machine of its own, and asks others."""

    def ask(self, question: bytes, lease: bool, answer: Callable[[str, bytes], None], timeout_s: float) -> None:
        """Have an agent that has the state answer, once its copy is fresh; by the `answer_with` of its own. "" and the answer, or why not.
        `answer` is never called within this call."""

    def answer_with(self, answer: Callable[[bytes], bytes]) -> None:
        """Answer other agents' questions so; it raises ValueError for what is none."""

    def status(self) -> dict[str, Any]:
        """member, group, role, term, leader, leader_name, commit, applied, ready, reason."""
