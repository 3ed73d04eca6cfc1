"""Reads, gathered: all of one turn of the loop and kind ask the group once."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agent.core.machine.machine import Machine
from agent.state.call import Call
from agent.state.errors import ApiError, of_reason
from agent.state.questions import Questions, Told
from agent.state.service import Service

Answer = Callable[[Machine, Call], None]
"""Answers the call from the state machine; may raise ApiError."""
STALE: Final = "stale"


def _tell(call: Call, told: Told) -> None:
    call.reply(told.status, told.kind, told.body, told.fields)


class Reads:
    def __init__(self, service: Service, questions: Questions) -> None:
        self._service = service
        self._questions = questions
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[tuple[str, float], list[tuple[Call, Answer]]] = {}
        self.asked = 0
        """Reads."""
        self.rounds = 0
        """Times that the group was asked for them."""

    def add(self, call: Call, answer: Answer) -> None:
        """Answer the call once the state machine is as fresh as it wants."""
        self.asked += 1
        plan = call.plan
        if self._service.client_only:
            self._questions.ask(call, _tell)
            return
        if plan.consistency == STALE:
            self.rounds += 1
            self._service.read(STALE, partial(self._ready, [(call, answer)]), plan.timeout_s, plan.max_staleness_s)
            return
        key = (plan.consistency, plan.timeout_s)
        gathered = self._gathered.get(key)
        if gathered is not None:
            gathered.append((call, answer))
            return
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered[key] = [(call, answer)]

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for (consistency, timeout_s), batch in gathered.items():
            self.rounds += 1
            kind: Any = consistency
            self._service.read(kind, partial(self._ready, batch), timeout_s)

    def _ready(self, batch: list[tuple[Call, Answer]], reason: str, index: int) -> None:
        machine = self._service.machine
        error: ApiError | None = None
        if reason:
            error = of_reason(reason, False)
        elif machine is None:
            error = ApiError(503, "not_ready", "this agent has no replica of the state (yet)")
        for call, answer in batch:
            if call.answered:
                continue
            if error is not None or machine is None:
                call.fail(error or of_reason("stopped", False))
                continue
            try:
                answer(machine, call)
            except ApiError as failure:
                call.fail(failure)
