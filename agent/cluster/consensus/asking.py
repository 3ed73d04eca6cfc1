"""Reads of another agent's copy of the state, for agents that have none: whoever is asked makes sure that its copy is fresh, and answers.

What a question and an answer hold is known to `agent.state` alone; here they are octets.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from agent.cluster.consensus.messages import Answers, Question, Questions, Told

if TYPE_CHECKING:
    from agent.cluster.consensus.service import Consensus

WAITING_MAX: Final = 10_000
LOOK_S: Final = 0.1
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024

Answer = Callable[[str, bytes], None]
"""Called once: "" and the answer, or why there is none."""


class _Asked:
    __slots__ = ("answer", "deadline", "to")

    def __init__(self, answer: Answer, deadline: float, to: str) -> None:
        self.answer = answer
        self.deadline = deadline
        self.to = to


class Asking:
    """`on_question(question)` answers from the own state machine; `agent.state` sets it. It may raise ValueError: the question is none."""

    def __init__(self, service: "Consensus") -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self.on_question: Callable[[bytes], bytes] = _nobody
        self._asked: dict[int, _Asked] = {}
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self.served = 0

    def ask(self, question: bytes, lease: bool, answer: Answer, timeout_s: float) -> None:
        """Ask the leader's agent. `answer` is called once, never within this call."""
        name = self._service.leader_name()
        if not name or len(self._asked) >= WAITING_MAX:
            self._loop.call_soon(answer, "busy" if name else "timeout", b"")
            return
        self._last += 1
        self._asked[self._last] = _Asked(answer, time.monotonic() + timeout_s, name)
        if not self._service.say(name, Questions((Question(self._last, lease, question),))):
            self._loop.call_soon(self._end, self._last, "timeout", b"")
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _end(self, ticket: int, reason: str, octets: bytes) -> None:
        asked = self._asked.pop(ticket, None)
        if asked is not None:
            asked.answer(reason, octets)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for ticket in [ticket for ticket, asked in self._asked.items() if asked.deadline <= now]:
            self._end(ticket, "timeout", b"")
        if self._asked:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def take(self, name: str, message: Questions | Answers) -> None:
        """Another agent asks, or answers."""
        if isinstance(message, Answers):
            for told in message.items:
                self._end(told.ticket, told.reason, told.outcome)
            return
        for item in message.items:
            self._serve(name, item)

    def _serve(self, name: str, item: Question) -> None:
        self.served += 1

        def ready(reason: str, index: int) -> None:
            octets = b""
            if not reason:
                try:
                    octets = self.on_question(item.question)
                except ValueError:
                    reason = "invalid"
            if len(octets) > ANSWER_BYTES_MAX:
                reason, octets = "too_large", b""
            self._service.say(name, Answers((Told(item.ticket, reason, octets),)))

        self._service.read("lease" if item.lease else "linearizable", ready)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for ticket in list(self._asked):
            self._end(ticket, "stopped", b"")


def _nobody(question: bytes) -> bytes:
    raise ValueError("nothing here answers questions")
