"""Reads for agents that have no copy of the state: one that has answers the question as it would a client's of its own."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from agent.core.http.head import RequestHead
from agent.core.machine.machine import Machine
from agent.state.call import Call
from agent.state.errors import ApiError, of_reason
from agent.state.plan import Plan, Sender
from agent.state.service import Service

if TYPE_CHECKING:
    from agent.state.router import Router

ASKED: Final = frozenset(
    (
        "GET /v1/kv",
        "GET /v1/kv/{name}",
        "GET /v1/events",
        "GET /v1/sessions/{name}",
        "GET /v1/leases",
        "GET /v1/leases/{name}",
        "GET /v1/locks/{name}",
        "GET /v1/elections/{name}",
        "GET /v1/counters/{name}",
        "GET /v1/barriers/{name}",
    )
)
"""Operations that look at the state and do nothing else."""


class Question(Struct, frozen=True, array_like=True):
    operation: str
    name: bytes
    parameters: dict[str, bytes]
    json: bool


class Told(Struct, frozen=True, array_like=True):
    status: int
    kind: bytes
    body: bytes
    fields: bytes


Heard = Callable[[str, Told | None], None]
_encoder: Final = msgspec.msgpack.Encoder()
_questions: Final = msgspec.msgpack.Decoder(Question)
_told: Final = msgspec.msgpack.Decoder(Told)


class AskedCall(Call):
    """Another agent's call: what would be its answer is kept."""

    __slots__ = ("told",)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.body = b""
        self.keep = True
        self.output = None
        self.stream = None
        self.on_gone = None
        self.told: Told | None = None

    @property
    def answered(self) -> bool:
        return self.told is not None

    def reply(self, status: int, kind: bytes, body: bytes, fields: bytes = b"") -> None:
        self.told = Told(status, kind, body, fields)

    def count(self, error: ApiError) -> None:
        """It is counted where it was asked."""


class _Now:
    """Reads that are answered at once: whoever asks has seen to it that the state is fresh."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def add(self, call: Call, answer: Callable[[Machine, Call], None]) -> None:
        answer(self._machine, call)


class Questions:
    """Both sides. `answer` is what the group calls with another agent's question."""

    def __init__(self, service: Service, router: "Router") -> None:
        self._service = service
        self._routes = {route.label: route for methods in router.routes.values() for route in methods.values() if route.label in ASKED}

    def say(self, operation: str, name: bytes, parameters: dict[str, bytes], timeout_s: float, heard: Heard) -> None:
        """Ask; `heard` is called once, later, with why there is no answer or with it."""

        def told(reason: str, octets: bytes) -> None:
            try:
                found = _told.decode(octets) if not reason else None
            except (msgspec.MsgspecError, ValueError):
                reason, found = "timeout", None
            heard(reason, found)

        self._service.ask(_encoder.encode(Question(operation, name, parameters, True)), False, told, timeout_s)

    def ask(self, call: Call, heard: Callable[[Call, Told], None]) -> None:
        """Ask for the answer to this call."""
        plan = call.plan
        if plan.route.label not in ASKED:
            raise ApiError(503, "not_ready", "this agent has no copy of the state: ask one that has (`consensus.role` voter or learner)")
        question = _encoder.encode(Question(plan.route.label, plan.name, plan.parameters, plan.sender.json))

        def told(reason: str, octets: bytes) -> None:
            if call.answered:
                return
            try:
                if reason:
                    raise of_reason(reason, False)
                heard(call, _told.decode(octets))
            except ApiError as error:
                call.fail(error)
            except (msgspec.MsgspecError, ValueError):
                call.fail(of_reason("timeout", False))

        self._service.ask(question, plan.consistency == "lease", told, plan.timeout_s)

    def answer(self, octets: bytes) -> bytes:
        """The answer to another agent's question, from the state as it is now. Raises ValueError where it is no question."""
        machine = self._service.machine
        try:
            question = _questions.decode(octets)
        except msgspec.MsgspecError as found:
            raise ValueError(str(found)) from None
        route = self._routes.get(question.operation)
        if route is None or machine is None:
            raise ValueError(f"{question.operation} cannot be asked for")
        head = RequestHead(1, [], 0, b"GET", b"/")
        sender = Sender(head)
        sender.json = question.json
        parameters = {name: value for name, value in question.parameters.items() if name not in _OWN}
        call = AskedCall(Plan(sender, "GET", route, question.name, parameters, 1.0))
        api: Any = SimpleNamespace(reads=_Now(machine))
        try:
            route.handler(api, call)
        except ApiError as error:
            call.fail(error)
        if call.told is None:
            raise ValueError(f"{question.operation} has no answer")
        return _encoder.encode(call.told)


_OWN: Final = frozenset(("consistency", "max_staleness", "timeout", "wait"))
"""Parameters that the agent that was asked has dealt with."""
