"""The commands of the built-in parts, as they stand in the log.

A structure here never changes: its octets are in logs, and replicas of two versions of the agent must read them alike. A field more is
a new version, with a tag of its own (`kv.put/2`). The docstrings name what `Outcome.value` holds.
"""

from typing import Annotated, Final

from msgspec import Meta, Raw, Struct

Count = Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)]
"""What JavaScript's numbers and everybody's integers hold."""
Signed = Annotated[int, Meta(ge=-9_223_372_036_854_775_808, le=9_223_372_036_854_775_807)]

# -- what is compared

VALUE: Final = 0
VERSION: Final = 1
MOD_REVISION: Final = 2
CREATE_REVISION: Final = 3
LEASE: Final = 4
EQUAL: Final = 0
UNEQUAL: Final = 1
LESS: Final = 2
GREATER: Final = 3


class Check(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One thing about a key's record; all numbers of a key that is not there are 0, and a value of it equals nothing."""

    what: Annotated[int, Meta(ge=0, le=4)]
    op: Annotated[int, Meta(ge=0, le=3)] = EQUAL
    number: Count = 0
    octets: bytes = b""


class Compare(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    key: bytes
    check: Check


# -- kv


class Put(Struct, frozen=True, array_like=True, gc=False, tag="kv.put", forbid_unknown_fields=True):
    """The key's new version (int). compare_failed: the item as it is, or None. `ttl_ms`: under a lease of its own."""

    key: bytes
    value: bytes
    lease: Count = 0
    ttl_ms: Count = 0
    checks: tuple[Check, ...] = ()


class Delete(Struct, frozen=True, array_like=True, gc=False, tag="kv.delete", forbid_unknown_fields=True):
    """How many keys are gone (0 or 1). compare_failed: as with `Put`."""

    key: bytes
    checks: tuple[Check, ...] = ()


class DeleteRange(Struct, frozen=True, array_like=True, gc=False, tag="kv.delete_range", forbid_unknown_fields=True):
    """How many keys are gone, and whether there are more. `end` empty: no end."""

    start: bytes
    end: bytes = b""
    limit: Count = 0


class OpPut(Struct, frozen=True, array_like=True, gc=False, tag="put", forbid_unknown_fields=True):
    key: bytes
    value: bytes
    lease: Count = 0


class OpDelete(Struct, frozen=True, array_like=True, gc=False, tag="delete", forbid_unknown_fields=True):
    key: bytes


class OpGet(Struct, frozen=True, array_like=True, gc=False, tag="get", forbid_unknown_fields=True):
    key: bytes


class OpRange(Struct, frozen=True, array_like=True, gc=False, tag="range", forbid_unknown_fields=True):
    start: bytes
    end: bytes = b""
    limit: Count = 0


Op = OpPut | OpDelete | OpGet | OpRange


class Txn(Struct, frozen=True, array_like=True, gc=False, tag="kv.txn", forbid_unknown_fields=True):
    """Whether all compares held, and the results in the order of the operations: put: version; delete: count; get: item or None;
    range: items and whether there are more. Nothing is done unless all can be done."""

    compares: tuple[Compare, ...]
    then: tuple[Op, ...]
    otherwise: tuple[Op, ...] = ()


# -- leases and sessions


class LeaseGrant(Struct, frozen=True, array_like=True, gc=False, tag="lease.grant", forbid_unknown_fields=True):
    """The lease's id."""

    ttl_ms: Count


class LeaseKeep(Struct, frozen=True, array_like=True, gc=False, tag="lease.keep", forbid_unknown_fields=True):
    """The lease's time to live, in ms."""

    lease: Count


class LeaseRevoke(Struct, frozen=True, array_like=True, gc=False, tag="lease.revoke", forbid_unknown_fields=True):
    """How many keys went with it."""

    lease: Count


class SessionOpen(Struct, frozen=True, array_like=True, gc=False, tag="session.open", forbid_unknown_fields=True):
    """The session's id, which is its lease's id too."""

    ttl_ms: Count
    window: Count


class SessionKeep(Struct, frozen=True, array_like=True, gc=False, tag="session.keep", forbid_unknown_fields=True):
    """The session's time to live, in ms."""

    session: Count
    acked: Count = 0


class SessionEnd(Struct, frozen=True, array_like=True, gc=False, tag="session.end", forbid_unknown_fields=True):
    """How many keys went with it."""

    session: Count


class Once(Struct, frozen=True, array_like=True, gc=False, tag="once", forbid_unknown_fields=True):
    """The outcome of the command within, executed once for the key: exactly-once for those who have no session."""

    key: str
    ttl_ms: Count
    command: Raw


# -- locks and elections


class LockAcquire(Struct, frozen=True, array_like=True, gc=False, tag="lock.acquire", forbid_unknown_fields=True):
    """(lease, token, position): held where position is 0, else waiting at this place. `ttl_ms` instead of a lease: one is made.
    locked (with `wait` False): the holder as (lease, owner, token, value)."""

    name: bytes
    lease: Count
    owner: str = ""
    wait: bool = False
    ttl_ms: Count = 0
    value: bytes = b""


class LockRelease(Struct, frozen=True, array_like=True, gc=False, tag="lock.release", forbid_unknown_fields=True):
    """Whether it was held (False: it was waited for, and no longer is). By the owner, or by the token alone (`lease` 0)."""

    name: bytes
    lease: Count = 0
    owner: str = ""
    token: Count = 0


class Campaign(Struct, frozen=True, array_like=True, gc=False, tag="election.campaign", forbid_unknown_fields=True):
    """As `LockAcquire`; candidates always wait."""

    name: bytes
    lease: Count
    owner: str = ""
    value: bytes = b""
    ttl_ms: Count = 0


class Proclaim(Struct, frozen=True, array_like=True, gc=False, tag="election.proclaim", forbid_unknown_fields=True):
    """The leader's token, which stays."""

    name: bytes
    lease: Count
    owner: str = ""
    value: bytes = b""


class Resign(Struct, frozen=True, array_like=True, gc=False, tag="election.resign", forbid_unknown_fields=True):
    """Whether it led."""

    name: bytes
    lease: Count
    owner: str = ""


# -- counters and barriers


class CounterAdd(Struct, frozen=True, array_like=True, gc=False, tag="counter.add", forbid_unknown_fields=True):
    """The new value where `read`, else None. Two's complement in 64 bits: it wraps, so that the order of additions never matters."""

    name: bytes
    delta: Signed
    read: bool = True


class CounterDelete(Struct, frozen=True, array_like=True, gc=False, tag="counter.delete", forbid_unknown_fields=True):
    """The last value, or None where there was none."""

    name: bytes


class BarrierEnter(Struct, frozen=True, array_like=True, gc=False, tag="barrier.enter", forbid_unknown_fields=True):
    """(lease, generation): the barrier is open where generation is not 0. conflict: other parties, or full: as (parties, inside)."""

    name: bytes
    lease: Count
    parties: Count
    owner: str = ""
    ttl_ms: Count = 0


class BarrierLeave(Struct, frozen=True, array_like=True, gc=False, tag="barrier.leave", forbid_unknown_fields=True):
    """(generation, how many are still inside)."""

    name: bytes
    lease: Count
    owner: str = ""


# -- the machine itself


class Tick(Struct, frozen=True, array_like=True, gc=False, tag="machine.tick", forbid_unknown_fields=True):
    """Nothing but the time in its envelope."""


class SetLimits(Struct, frozen=True, array_like=True, gc=False, tag="machine.limits", forbid_unknown_fields=True):
    """Bounds by their names in `Limits`; those not named stay."""

    bounds: dict[str, Count]
