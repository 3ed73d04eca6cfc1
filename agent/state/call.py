"""One request under way, from its head to its answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from agent.core.machine.outcome import Outcome
from agent.state import wire
from agent.state.errors import ApiError
from agent.state.plan import Plan

if TYPE_CHECKING:
    from agent.state.connection import ApiConnection

Body = TypeVar("Body")


class Stream(Protocol):
    """What takes a connection over, for events without end."""

    def begin(self, transport: Any) -> None:
        """The request's turn has come: say the head and what is to be said first."""

    def on_data(self, data: bytes) -> None: ...
    def on_writable(self, writable: bool) -> None: ...
    def on_gone(self) -> None: ...


def value_of(outcome: Outcome) -> Any:
    """What a command that succeeded answers with; its shape is by the command (`core/machine/commands.py`)."""
    return outcome.value


class Call:
    """`body`: whole. Answered once, whenever; answers leave in the order of the requests."""

    __slots__ = ("body", "connection", "keep", "on_gone", "output", "plan", "stream")

    def __init__(self, connection: "ApiConnection", plan: Plan, body: bytes, keep: bool) -> None:
        self.connection = connection
        self.plan = plan
        self.body = body
        self.keep = keep
        self.output: bytes | None = None
        self.stream: Stream | None = None
        self.on_gone: Callable[[], None] | None = None
        """Called if the client goes away before it has its answer."""

    @property
    def answered(self) -> bool:
        return self.output is not None or self.stream is not None or self.connection.gone

    def reply(self, status: int, kind: bytes, body: bytes, fields: bytes = b"") -> None:
        self.output = wire.response(status, kind, body, fields, self.keep, self.plan.method != "HEAD")
        self.on_gone = None
        self.connection.advance()

    def answer(self, document: Any, revision: int = -1, status: int = 200, fields: bytes = b"") -> None:
        """JSON; `revision` of the store, where it is known."""
        if revision >= 0:
            fields += b"Pilotfish-Revision: %d\r\n" % revision
        self.reply(status, wire.JSON, wire.to_json(document), fields)

    def outcome(self, document: Any, outcome: Outcome, status: int = 200, fields: bytes = b"") -> None:
        """The answer to a command."""
        if outcome.replayed:
            fields += b"Pilotfish-Replayed: true\r\n"
        self.answer(document, outcome.revision, status, fields)

    def fail(self, error: ApiError) -> None:
        self.count(error)
        fields = b"Retry-After: 1\r\n" if error.status in (429, 503) else b""
        if "revision" in error.more:
            fields += b"Pilotfish-Revision: %d\r\n" % error.more["revision"]
        if error.status == 405:
            fields += b"Allow: " + str(error.more["allow"]).encode("ascii") + b"\r\n"
        self.reply(error.status, wire.JSON, wire.to_json(error.document()), fields)

    def count(self, error: ApiError) -> None:
        counts = self.connection.api.figures.errors
        counts[error.code] = counts.get(error.code, 0) + 1

    def become(self, stream: Stream) -> None:
        self.stream = stream
        self.on_gone = None
        self.connection.advance()

    def read_body(self, decoder: "msgspec.json.Decoder[Body]") -> Body:
        """The body as a structure, an empty one as `{}`. Raises ApiError (400), which names the field."""
        try:
            return decoder.decode(self.body or b"{}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ApiError(400, "bad_request", f"body: {error}", "no") from None
