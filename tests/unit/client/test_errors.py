"""Every code that the API says is an exception that says what to do."""

import pytest

from agent.client import (
    CompareFailed,
    Conflict,
    Full,
    InvalidRequest,
    LeaseLost,
    Locked,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    SidecarError,
    TooLarge,
    Unavailable,
    WaitOver,
)
from agent.client.errors import error_of
from agent.client.types import Holder, Item
from agent.core.machine.outcome import Outcome
from agent.state.errors import _OUTCOMES, _REASONS, of_outcome, of_reason

KINDS: dict[str, type[SidecarError]] = {
    "bad_request": InvalidRequest,
    "malformed": InvalidRequest,
    "not_found": NotFound,
    "lease_not_found": LeaseLost,
    "session_not_found": NotFound,
    "compare_failed": CompareFailed,
    "too_large": TooLarge,
    "full": Full,
    "request_too_old": InvalidRequest,
    "idempotency_mismatch": InvalidRequest,
    "locked": Locked,
    "not_owner": NotOwner,
    "conflict": Conflict,
    "waiting": WaitOver,
    "no_leader": Unavailable,
    "read_only": Unavailable,
    "stopped": Unavailable,
    "busy": Unavailable,
    "too_stale": Unavailable,
    "timeout": OutcomeUnknown,
}


@pytest.mark.parametrize("reason", sorted({*_REASONS, "timeout", "unknown"}))
def test_reasons_of_the_group(reason: str) -> None:
    told = of_reason(reason, True)
    error = error_of(told.status, told.document(), Item.of)
    assert type(error) is KINDS[told.code]
    assert error.detail == told.detail and error.code == told.code and told.code in str(error)


@pytest.mark.parametrize("code", sorted(_OUTCOMES))
def test_outcomes_of_commands(code: str) -> None:
    told = of_outcome(Outcome(error=code))
    error = error_of(told.status, told.document(), Item.of)
    assert type(error) is KINDS[told.code]


def test_what_comes_with_them() -> None:
    current = {"key": "a", "value_base64": "/w==", "create_revision": 1, "mod_revision": 2, "version": 2, "lease": 0}
    failed = error_of(412, {"error": "compare_failed", "detail": "no", "current": current}, Item.of)
    assert isinstance(failed, CompareFailed) and failed.current == Item(b"a", b"\xff", 1, 2, 2)
    locked = error_of(409, {"error": "locked", "holder": {"lease": 5, "owner": "me", "token": 7, "value": "x"}}, Item.of)
    assert isinstance(locked, Locked) and locked.holder == Holder(5, "me", 7, "x")


@pytest.mark.parametrize("body", [None, {}, [], "text", 7, {"error": None}, {"error": {"code": 1}}])
def test_answers_that_are_no_errors_of_ours_are_told_by_their_status(body: object) -> None:
    """A proxy between, or another program at the port."""
    assert type(error_of(404, body, Item.of)) is NotFound
    assert type(error_of(503, body, Item.of)) is Unavailable
    assert type(error_of(500, body, Item.of)) is SidecarError
    assert "500" in str(error_of(500, None, Item.of))
