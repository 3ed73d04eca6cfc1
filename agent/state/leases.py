"""Handlers of leases and sessions."""

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.leases import Lease
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.state.bodies import LeaseBody, SessionBody
from agent.state.call import Call
from agent.state.errors import ApiError, bad
from agent.state.kv import ttl_of
from agent.state.plan import whole
from agent.state.texts import octets_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

LEASE_TTL: Final = "10s"
SESSION_TTL: Final = "60s"
KEYS_MAX: Final = 1_000
LEASES_MAX: Final = 1_000
_LEASE: Final = msgspec.json.Decoder(LeaseBody)
_SESSION: Final = msgspec.json.Decoder(SessionBody)


def _id(call: Call, what: str) -> int:
    return whole(what, call.plan.name, 1)


# -- leases


def grant(api: "StateApi", call: Call) -> None:
    ttl = call.read_body(_LEASE).ttl
    ttl_ms = ttl_of(LEASE_TTL if ttl is None else ttl)

    def done(call: Call, outcome: Outcome) -> None:
        call.outcome({"lease": outcome.value, "ttl_s": ttl_ms / 1000}, outcome, 201)

    api.writes.submit(call, c.LeaseGrant(ttl_ms), done)


def keep(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.LeaseKeep(_id(call, "lease")), _kept)


def _kept(call: Call, outcome: Outcome) -> None:
    assert isinstance(outcome.value, int)
    call.outcome({"ttl_s": outcome.value / 1000}, outcome)


def revoke(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.LeaseRevoke(_id(call, "lease")), _revoked)


def _revoked(call: Call, outcome: Outcome) -> None:
    call.outcome({"revoked": True, "deleted": outcome.value, "revision": outcome.revision}, outcome)


def one_lease(api: "StateApi", call: Call) -> None:
    _id(call, "lease")
    api.reads.add(call, _lease)


def _lease(machine: Machine, call: Call) -> None:
    lease = machine.leases.table.get(_id(call, "lease"))
    if lease is None:
        raise ApiError(404, "lease_not_found", "there is no such lease (any more)", revision=machine.revision)
    keys = sorted(machine.kv.leased.get(lease.id, ()))
    document = _told(machine, lease)
    document["keys"] = [octets_json("key", key) for key in keys[:KEYS_MAX]]
    document["more"] = len(keys) > KEYS_MAX
    call.answer(document, machine.revision)


def _told(machine: Machine, lease: Lease) -> dict[str, Any]:
    left_ms = lease.expires_ms - machine.time_ms
    return {"lease": lease.id, "ttl_s": lease.ttl_ms / 1000, "left_s": left_ms / 1000}


def all_leases(api: "StateApi", call: Call) -> None:
    api.reads.add(call, _leases)


def _leases(machine: Machine, call: Call) -> None:
    after = call.plan.number("after", 0)
    table = machine.leases.table
    # The table is in the order of the numbers, which only ever rise.
    ids = list(islice((id for id in table if id > after), LEASES_MAX + 1))
    document: dict[str, Any] = {"leases": [_told(machine, table[id]) for id in ids[:LEASES_MAX]], "more": len(ids) > LEASES_MAX}
    call.answer(document, machine.revision)


# -- sessions


def open_session(api: "StateApi", call: Call) -> None:
    body = call.read_body(_SESSION)
    ttl_ms = ttl_of(SESSION_TTL if body.ttl is None else body.ttl)
    if body.window < 1:
        raise bad("window", body.window, "1 or more requests")

    def done(call: Call, outcome: Outcome) -> None:
        call.outcome({"session": outcome.value, "ttl_s": ttl_ms / 1000, "window": body.window}, outcome, 201)

    api.writes.submit(call, c.SessionOpen(ttl_ms, body.window), done)


def keep_session(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.SessionKeep(_id(call, "session"), call.plan.number("acked", 0)), _kept)


def end_session(api: "StateApi", call: Call) -> None:
    api.writes.submit(call, c.SessionEnd(_id(call, "session")), _ended)


def _ended(call: Call, outcome: Outcome) -> None:
    call.outcome({"ended": True, "deleted": outcome.value, "revision": outcome.revision}, outcome)


def one_session(api: "StateApi", call: Call) -> None:
    _id(call, "session")
    api.reads.add(call, _session)


def _session(machine: Machine, call: Call) -> None:
    id = _id(call, "session")
    session = machine.sessions.table.get(id)
    if session is None:
        raise ApiError(404, "session_not_found", "there is no such session (any more)", revision=machine.revision)
    lease = session.lease
    document = {
        "session": id,
        "ttl_s": lease.ttl_ms / 1000,
        "left_s": (lease.expires_ms - machine.time_ms) / 1000,
        "window": session.window,
        "highest": session.highest,
        "acked": session.floor,
    }
    call.answer(document, machine.revision)
