"""What can go wrong, as the client sees it: a status, a code that programs read, a text that says what to do."""

from typing import Any, Final

from agent.core.machine.outcome import Outcome
from agent.state.texts import item_json, octets_json

NO: Final = "no"
UNKNOWN: Final = "unknown"


class ApiError(Exception):
    """applied: of a command: `no` (it had no effect and will have none), `unknown`; empty where that is no question. more: further members
    of the answer."""

    def __init__(self, status: int, code: str, detail: str, applied: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.applied = applied
        self.more = more

    def document(self) -> dict[str, Any]:
        made: dict[str, Any] = {"error": self.code, "detail": self.detail}
        if self.applied:
            made["applied"] = self.applied
        made.update(self.more)
        return made


def bad(name: str, found: object, expected: str) -> ApiError:
    """400: a parameter that makes no sense."""
    shown = repr(found)
    return ApiError(400, "bad_request", f"{name}: found {shown if len(shown) <= 80 else shown[:77] + '...'}, expected {expected}", NO)


_REASONS: Final[dict[str, tuple[int, str, str]]] = {
    "not_leader": (503, "no_leader", "the group has no leader that can be reached now; try again"),
    "transferring": (503, "no_leader", "leadership is changing hands; try again"),
    "lost": (503, "no_leader", "the leader changed meanwhile; try again"),
    "read_only": (503, "read_only", "the leader's disk takes nothing (full or failed); free space there, then try again"),
    "stopped": (503, "stopped", "this agent's replica has stopped; ask another agent, and see this one's log"),
    "busy": (429, "busy", "too many commands are under way; try again a little later"),
    "too_large": (413, "too_large", "the command is greater than the log takes"),
    "pending_change": (503, "no_leader", "the group is changing its members; try again"),
    "invalid": (400, "bad_request", "the group does not take this command"),
    "off": (503, "stopped", "this agent takes no part in its group (GET /v1/status says why): ask another agent"),
    "stale": (503, "too_stale", "the state here may be older than max_staleness allows; try again, or ask with another consistency"),
}


def of_reason(reason: str, command: bool) -> ApiError:
    """Why the group gave no outcome or no leave to read."""
    if reason in ("timeout", "unknown"):
        if command and reason == "timeout":
            return ApiError(504, "timeout", "nobody took it in time: is there a leader? (GET /v1/status)", NO)
        if command:
            text = _UNKNOWN_TEXT
            return ApiError(504, "timeout", text, UNKNOWN)
        return ApiError(504, "timeout", "no answer in time: is there a leader? (GET /v1/status)")
    status, code, detail = _REASONS.get(reason, (503, "not_ready", f"the group does not answer: {reason}"))
    return ApiError(status, code, detail, NO if command else "")


_UNKNOWN_TEXT: Final = (
    "no answer in time; it may have been applied or may still be: "
    "try again with the same session and request number, or the same idempotency key"
)
_OUTCOMES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "the command was not understood"),
    "not_found": (404, "there is nothing of that name"),
    "compare_failed": (412, "it is not as the condition says; `current` is what it is"),
    "too_large": (413, ""),
    "full": (507, ""),
    "lease_not_found": (404, "there is no such lease (any more): make one, and keep it alive"),
    "session_not_found": (404, "there is no such session (any more): not executed; whether an earlier try was is unknown"),
    "request_too_old": (422, "the request is no longer in the session's window: not executed (again), its outcome is not kept"),
    "idempotency_mismatch": (422, "this idempotency key came with another command before: use a new key for a new command"),
    "locked": (409, "another holds it: `holder`; wait for it (`wait`), or try again later"),
    "not_owner": (409, "it is not held (or entered) by that owner"),
    "conflict": (409, "the barrier is of other parties, or full"),
    "invalid": (400, ""),
}


def of_outcome(outcome: Outcome, key: bytes = b"") -> ApiError:
    """What a command's outcome says that is no success."""
    code = outcome.error
    status, detail = _OUTCOMES.get(code, (500, f"unexpected outcome {code}"))
    value = outcome.value
    if not detail:
        detail = value if isinstance(value, str) else code
    more: dict[str, Any] = {}
    if code == "compare_failed":
        more["current"] = item_json(value) if isinstance(value, (tuple, list)) else None
    elif code in ("locked", "not_owner") and isinstance(value, (tuple, list)) and len(value) == 4:
        more["holder"] = {"lease": value[0], "owner": value[1], "token": value[2], **octets_json("value", value[3])}
    elif code == "conflict" and isinstance(value, (tuple, list)):
        more["parties"], more["inside"] = value
    elif code == "invalid":
        code = "bad_request"
    applied = UNKNOWN if code in ("session_not_found", "request_too_old") else NO
    return ApiError(status, code, detail, applied, revision=outcome.revision, **more)
