"""Handlers of locks and elections: held or waited for, for as long as a lease lasts."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from agent.core.machine import commands as c
from agent.core.machine.envelope import encode_command
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.machine.seats import ELECTIONS, LOCKS, Seat, Seats
from agent.state.bodies import HoldBody, octets
from agent.state.call import Call, value_of
from agent.state.errors import ApiError, bad, of_outcome, of_reason
from agent.state.kv import counted, ttl_of
from agent.state.plan import duration
from agent.state.texts import octets_json
from agent.state.waits import Wait

if TYPE_CHECKING:
    from agent.state.api import StateApi

WAIT_S_MAX: Final = 3_600.0
WAITERS_TOLD_MAX: Final = 100
RELEASE_S: Final = 5.0
POLL_S: Final = 0.3
"""How often an agent that has no copy of the state asks how a wait stands."""
_HOLD: Final = msgspec.json.Decoder(HoldBody)


def lease_of(call: Call, body: Any) -> tuple[int, int]:
    """By which lease something is held, or the time to live of one that is to be made: (lease, ttl in ms). Raises ApiError (400)."""
    lease = counted("lease", body.lease)
    if lease and body.ttl is not None:
        raise bad("lease", "ttl beside it", "either lease or ttl")
    if body.ttl is not None:
        return 0, ttl_of(body.ttl)
    lease = lease or call.plan.sender.session
    if not lease:
        raise bad("lease", "nothing", "lease, or ttl, or a Pilotfish-Session")
    return lease, 0


class Hold:
    """One wish to hold a seat, from the command until the client has its answer."""

    def __init__(self, api: "StateApi", call: Call, kind: str, body: HoldBody, wait_s: float) -> None:
        self.api = api
        self.call = call
        self.kind = kind
        self.body = body
        self.wait_s = wait_s
        self.lease = 0
        self.value = octets("value", body.value, body.value_base64, b"")
        self.wait: Wait | None = None
        self._seen = False

    def _seats(self, machine: Machine) -> Seats:
        return machine.locks if self.kind == LOCKS else machine.elections

    def on_outcome(self, call: Call, outcome: Outcome) -> None:
        lease, token, position = value_of(outcome)
        self.lease = lease
        if position == 0:
            self._held(token, self.value, outcome)
        elif call.connection.gone:
            self._give_up()
        elif self.wait_s <= 0.0:
            # Only candidates stay without waiting.
            seat = self._known_seat()
            document = {"queued": True, "position": position, "lease": lease, "leader": holder_json(seat)}
            call.outcome(document, outcome, 202)
        elif self.api.waits.full:
            self._give_up()
            raise ApiError(429, "busy", "too many requests wait at this agent", "no")
        else:
            if self.wait is None:
                call.on_gone = self._gone
                self.wait = Wait((self.kind, call.plan.name), self._look, self._late)
                self.api.waits.add(self.wait, self.api.service.machine, self.wait_s)
            if self.api.service.client_only:
                self._ask_again()

    def _command(self, lease: int, ttl_ms: int) -> Struct:
        name, owner = self.call.plan.name, self.body.owner
        if self.kind == ELECTIONS:
            return c.Campaign(name, lease, owner, self.value, ttl_ms)
        return c.LockAcquire(name, lease, owner, self.wait_s > 0.0, ttl_ms, self.value)

    def submit(self, lease: int, ttl_ms: int) -> None:
        """Raises ApiError."""
        if self.wait_s > 0.0:
            self.call.on_gone = still_wanted
        self.api.writes.submit(self.call, self._command(lease, ttl_ms), self.on_outcome)

    def _ask_again(self) -> None:
        """Without a state to look at, the same wish said again tells how it stands."""

        def heard(reason: str, outcome: Outcome | None) -> None:
            if self.wait is None or self.wait.over:
                return
            if reason or outcome is None:
                self._ask_again()
            elif outcome.error:
                self.api.waits.drop(self.wait)
                self.call.fail(of_outcome(outcome))
            else:
                position = value_of(outcome)[2]
                if position == 0:
                    self.api.waits.drop(self.wait)
                self.on_outcome(self.call, outcome)

        def say() -> None:
            if self.wait is not None and not self.wait.over:
                try:
                    self.api.writes.say(encode_command(self._command(self.lease, 0)), heard, RELEASE_S)
                except ApiError:
                    self._ask_again()

        self.api.loop.call_later(POLL_S, say)

    def _known_seat(self) -> Seat | None:
        machine = self.api.service.machine
        return self._seats(machine).table.get(self.call.plan.name) if machine is not None else None

    def _held(self, token: int, value: bytes, outcome: Outcome | None) -> None:
        document = {
            **octets_json("name", self.call.plan.name),
            "lease": self.lease,
            "owner": self.body.owner,
            "token": token,
            **octets_json("value", value),
        }
        if outcome is not None:
            self.call.outcome(document, outcome)
        else:
            self.call.answer(document)

    def _look(self, machine: Machine) -> bool:
        seat = self._seats(machine).table.get(self.call.plan.name)
        who = (self.lease, self.body.owner)
        if seat is not None and seat.holder == who:
            self._held(seat.token, seat.value, None)
            return True
        if seat is not None and who in seat.waiting:
            self._seen = True
            return False
        if self._seen:
            self.call.fail(ApiError(404, "lease_not_found", "the lease ended, or the wait was given up elsewhere", "no"))
        return self._seen

    def _late(self) -> None:
        """The wait is over: out of the queue, and only then is the client told."""
        self.call.on_gone = None
        self._say_release(self._released)

    def _released(self, reason: str, outcome: Outcome | None) -> None:
        if self.call.answered:
            return
        if reason:
            self.call.fail(of_reason(reason, True))
            return
        seat = self._known_seat()
        self.call.fail(ApiError(409, "locked", "another holds it, and the wait is over", "no", holder=holder_json(seat)))

    def _gone(self) -> None:
        if self.wait is not None:
            self.api.waits.drop(self.wait)
        self._give_up()

    def _give_up(self) -> None:
        self._say_release(lambda reason, outcome: None)

    def _say_release(self, heard: Any) -> None:
        name = self.call.plan.name
        command: Struct = c.LockRelease(name, self.lease, self.body.owner)
        if self.kind == ELECTIONS:
            command = c.Resign(name, self.lease, self.body.owner)
        try:
            self.api.writes.say(encode_command(command), heard, RELEASE_S)
        except ApiError:
            heard("busy", None)


def acquire(api: "StateApi", call: Call) -> None:
    body = call.read_body(_HOLD)
    wait_s = duration("wait", body.wait, WAIT_S_MAX) if body.wait is not None else 0.0
    lease, ttl_ms = lease_of(call, body)
    Hold(api, call, LOCKS, body, wait_s).submit(lease, ttl_ms)


def campaign(api: "StateApi", call: Call) -> None:
    body = call.read_body(_HOLD)
    wait_s = duration("wait", body.wait, WAIT_S_MAX) if body.wait is not None else 0.0
    lease, ttl_ms = lease_of(call, body)
    Hold(api, call, ELECTIONS, body, wait_s).submit(lease, ttl_ms)


def still_wanted() -> None:
    """The outcome is wanted even when the client is gone: then the wait is given up."""


def _who(call: Call) -> HoldBody:
    """Who holds, from the body or the parameters."""
    plan = call.plan
    if call.body or not plan.parameters:
        return call.read_body(_HOLD)
    return HoldBody(lease=plan.number("lease", 0), owner=plan.text("owner"), token=plan.number("token", 0))


def release(api: "StateApi", call: Call) -> None:
    body = _who(call)
    lease = counted("lease", body.lease) or (0 if body.token else call.plan.sender.session)
    if not lease and not body.token:
        raise bad("lease", "nothing", "lease, or token, or a Pilotfish-Session")
    api.writes.submit(call, c.LockRelease(call.plan.name, lease, body.owner, counted("token", body.token)), _let_go)


def _let_go(call: Call, outcome: Outcome) -> None:
    call.outcome({"released": True, "held": outcome.value}, outcome)


def resign(api: "StateApi", call: Call) -> None:
    body = _who(call)
    lease, _ = lease_of(call, body)
    api.writes.submit(call, c.Resign(call.plan.name, lease, body.owner), _resigned)


def _resigned(call: Call, outcome: Outcome) -> None:
    call.outcome({"resigned": True, "led": outcome.value}, outcome)


def proclaim(api: "StateApi", call: Call) -> None:
    body = call.read_body(_HOLD)
    lease, _ = lease_of(call, body)
    value = octets("value", body.value, body.value_base64)

    def done(call: Call, outcome: Outcome) -> None:
        document = {**octets_json("name", call.plan.name), "lease": lease, "owner": body.owner, "token": outcome.value}
        call.outcome({**document, **octets_json("value", value)}, outcome)

    api.writes.submit(call, c.Proclaim(call.plan.name, lease, body.owner, value), done)


def holder_json(seat: Seat | None) -> dict[str, Any] | None:
    if seat is None:
        return None
    lease, owner = seat.holder
    return {"lease": lease, "owner": owner, "token": seat.token, **octets_json("value", seat.value)}


def lock_json(machine: Machine, name: bytes) -> dict[str, Any]:
    seat = machine.locks.table.get(name)
    waiting = list(seat.waiting)[:WAITERS_TOLD_MAX] if seat is not None else []
    waiters = [{"lease": lease, "owner": owner} for lease, owner in waiting]
    return {**octets_json("name", name), "holder": holder_json(seat), "waiters": waiters, "waiting": len(seat.waiting) if seat else 0}


def election_json(machine: Machine, name: bytes) -> dict[str, Any]:
    seat = machine.elections.table.get(name)
    return {**octets_json("name", name), "leader": holder_json(seat), "candidates": len(seat.waiting) if seat else 0}


def one_lock(api: "StateApi", call: Call) -> None:
    api.reads.add(call, lambda machine, call: call.answer(lock_json(machine, call.plan.name), machine.revision))


def one_election(api: "StateApi", call: Call) -> None:
    api.reads.add(call, lambda machine, call: call.answer(election_json(machine, call.plan.name), machine.revision))
