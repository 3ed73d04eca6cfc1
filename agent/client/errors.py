"""What can go wrong, by what to do about it. Every message says that too.

AgentUnreachable   no agent answers at the address: is it running, is the address right?
Unavailable        the agent answers, its group cannot serve now; certainly nothing was done. Try again later.
OutcomeUnknown     time ran out on a command that may have been carried out, or still may be. Read before doing it again.
InvalidRequest     the request cannot be used as it is: a mistake of the caller's or of the configuration.
everything else    an answer of the store's: a comparison failed, a lock is held, a lease is gone.
"""

from typing import Any

from agent.client.types import Holder, Item


class SidecarError(Exception):
    """`code`: the agent's word for it. `status`: of the HTTP answer, 0 where there was none."""

    def __init__(self, detail: str, code: str = "", status: int = 0) -> None:
        super().__init__(f"{detail} [{code}]" if code else detail)
        self.detail = detail
        self.code = code
        self.status = status


class AgentUnreachable(SidecarError):
    """Nothing answers at the agent's address, during the whole time that the call had."""


class Unavailable(SidecarError):
    """No leader, a full disk, too much under way: it stayed so for the whole time that the call had. The call had no effect."""


class OutcomeUnknown(SidecarError):
    """The command may have been carried out, or may be yet: its answer did not come in time. Read the state before doing it again."""


class InvalidRequest(SidecarError):
    """The request cannot be used; it was not carried out and never will be as it is."""


class NotFound(SidecarError):
    """There is nothing of this name."""


class NotConfigured(NotFound):
    """This agent has no such part switched on (no cluster, no consensus)."""


class LeaseLost(SidecarError):
    """The lease ended (or was revoked): its keys are deleted, its locks are passed on."""


class LockLost(LeaseLost):
    """The lock is not held any more, or nobody can say that it is: stop what it guards."""


class CompareFailed(SidecarError):
    """The key is not as the condition wants it. `current`: what is there, None for nothing."""

    def __init__(self, detail: str, current: Item | None) -> None:
        super().__init__(detail, "compare_failed", 412)
        self.current = current


class Locked(SidecarError):
    """Another holds it, and the wait (if any) is over."""

    def __init__(self, detail: str, holder: Holder | None) -> None:
        super().__init__(detail, "locked", 409)
        self.holder = holder


class NotOwner(SidecarError):
    """It is another's: the lease or token is not the holder's."""


class Conflict(SidecarError):
    """It is there already with other properties."""


class WaitOver(SidecarError):
    """The time to wait was over before enough others were there."""


class Compacted(SidecarError):
    """Changes since that revision are not kept any more. Read the range anew, then watch after the revision of that reading.
    `oldest`: the first revision still kept; `revision`: now."""

    def __init__(self, detail: str, oldest: int, revision: int) -> None:
        super().__init__(detail, "compacted", 410)
        self.oldest = oldest
        self.revision = revision


class TooLarge(InvalidRequest):
    """A key, a value or a transaction beyond its bound."""


class Full(SidecarError):
    """A bound of the store's is reached (keys, leases, sessions, waiters): delete something, or have it raised."""


UNAVAILABLE = frozenset({"no_leader", "not_ready", "read_only", "too_stale", "stopped", "busy"})
"""Certainly without effect, and worth another try."""


def error_of(status: int, body: Any, item_of: Any) -> SidecarError:
    """The exception for an answer. `item_of`: makes an `Item` of its JSON."""
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    code = str(fields.get("error", "")) or f"http_{status}"
    detail = str(fields.get("detail", "")) or f"the agent answered {status} {code}"
    if code in UNAVAILABLE or status == 429:
        return Unavailable(detail, code, status)
    if code == "compare_failed":
        current = fields.get("current")
        return CompareFailed(detail, item_of(current) if current else None)
    if code == "locked":
        return Locked(detail, Holder.of(fields.get("holder")))
    if code == "compacted":
        return Compacted(detail, int(fields.get("oldest", 0)), int(fields.get("revision", 0)))
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, SidecarError)
    return kind(detail, code, status)


_BY_CODE: dict[str, type[SidecarError]] = {
    "lease_not_found": LeaseLost,
    "not_found": NotFound,
    "not_owner": NotOwner,
    "conflict": Conflict,
    "waiting": WaitOver,
    "too_large": TooLarge,
    "full": Full,
}
_BY_STATUS: dict[int, type[SidecarError]] = {
    400: InvalidRequest,
    403: InvalidRequest,
    404: NotFound,
    405: InvalidRequest,
    408: Unavailable,
    409: Conflict,
    413: TooLarge,
    421: InvalidRequest,
    422: InvalidRequest,
    503: Unavailable,
    504: OutcomeUnknown,
    507: Full,
}
