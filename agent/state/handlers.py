"""All operations of the API. `openapi.py` describes them; a test holds one against the other."""

from typing import TYPE_CHECKING

from agent.state import barriers, counters, holds, kv, leases, txn, watches
from agent.state.call import Call
from agent.state.router import ALL, ONE, Router

if TYPE_CHECKING:
    from agent.state.api import StateApi


def status(api: "StateApi", call: Call) -> None:
    """What this agent knows; asks nobody."""
    machine = api.service.machine
    document = dict(api.service.status())
    document["agent"] = api.agent_id
    document["revision"] = machine.revision if machine is not None else 0
    document["machine_time_ms"] = machine.time_ms if machine is not None else 0
    call.answer(document)


def openapi(api: "StateApi", call: Call) -> None:
    from agent.state.openapi import DOCUMENT

    call.answer(DOCUMENT)


def router() -> Router:
    made = Router()
    add = made.add
    add("GET", "kv", ALL, kv.page)
    add("DELETE", "kv", ALL, kv.delete_range)
    add("GET", "kv", ONE, kv.get, whole_path=True)
    add("PUT", "kv", ONE, kv.put, whole_path=True)
    add("DELETE", "kv", ONE, kv.delete, whole_path=True)
    add("POST", "cas", ALL, kv.cas)
    add("POST", "txn", ALL, txn.txn)
    add("GET", "watch", ALL, watches.watch, endless=True)
    add("GET", "events", ALL, watches.events)
    add("POST", "sessions", ALL, leases.open_session)
    add("GET", "sessions", ONE, leases.one_session)
    add("DELETE", "sessions", ONE, leases.end_session)
    add("POST", "sessions", f"{ONE}/keepalive", leases.keep_session)
    add("GET", "leases", ALL, leases.all_leases)
    add("POST", "leases", ALL, leases.grant)
    add("GET", "leases", ONE, leases.one_lease)
    add("DELETE", "leases", ONE, leases.revoke)
    add("POST", "leases", f"{ONE}/keepalive", leases.keep)
    add("GET", "locks", ONE, holds.one_lock)
    add("POST", "locks", ONE, holds.acquire)
    add("DELETE", "locks", ONE, holds.release)
    add("GET", "elections", ONE, holds.one_election)
    add("POST", "elections", ONE, holds.campaign)
    add("PUT", "elections", ONE, holds.proclaim)
    add("DELETE", "elections", ONE, holds.resign)
    add("GET", "elections", f"{ONE}/observe", watches.observe, endless=True)
    add("GET", "counters", ONE, counters.get)
    add("POST", "counters", ONE, counters.add)
    add("DELETE", "counters", ONE, counters.delete)
    add("GET", "barriers", ONE, barriers.one)
    add("POST", "barriers", f"{ONE}/enter", barriers.enter)
    add("POST", "barriers", f"{ONE}/leave", barriers.leave)
    add("GET", "status", ALL, status)
    add("GET", "openapi.json", ALL, openapi)
    return made
