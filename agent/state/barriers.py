"""Handlers of double barriers."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from agent.core.machine import commands as c
from agent.core.machine.barriers import BARRIERS
from agent.core.machine.envelope import encode_command
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.state.bodies import BarrierBody
from agent.state.call import Call, value_of
from agent.state.errors import ApiError, bad, of_outcome, of_reason
from agent.state.holds import POLL_S, RELEASE_S, WAIT_S_MAX, lease_of, still_wanted
from agent.state.kv import counted
from agent.state.plan import duration
from agent.state.texts import octets_json
from agent.state.waits import Wait

if TYPE_CHECKING:
    from agent.state.api import StateApi

WAIT_S: Final = 30.0
INSIDE_TOLD_MAX: Final = 100
_BARRIER: Final = msgspec.json.Decoder(BarrierBody)


class Entry:
    """One that enters, from its command until the barrier opens."""

    def __init__(self, api: "StateApi", call: Call, body: BarrierBody, wait_s: float) -> None:
        self.api = api
        self.call = call
        self.owner = body.owner
        self.parties = body.parties
        self.wait_s = wait_s
        self.lease = 0
        self.wait: Wait | None = None
        self._seen = False

    def on_outcome(self, call: Call, outcome: Outcome) -> None:
        self.lease, generation = value_of(outcome)
        if generation:
            self._entered(generation)
        elif call.connection.gone:
            self._say_leave(_unheard)
        elif self.wait_s <= 0.0 or self.api.waits.full:
            self._late()
        else:
            if self.wait is None:
                call.on_gone = self._gone
                self.wait = Wait((BARRIERS, call.plan.name), self._look, self._late)
                self.api.waits.add(self.wait, self.api.service.machine, self.wait_s)
            if self.api.service.client_only:
                self.api.loop.call_later(POLL_S, self._ask_again)

    def _ask_again(self) -> None:
        """Without a state to look at, the same wish said again tells how it stands."""

        def heard(reason: str, outcome: Outcome | None) -> None:
            wait = self.wait
            if wait is None or wait.over:
                return
            if outcome is not None and outcome.error:
                self.api.waits.drop(wait)
                self.call.fail(of_outcome(outcome))
            elif outcome is None:
                self.api.loop.call_later(POLL_S, self._ask_again)
            else:
                if value_of(outcome)[1]:
                    self.api.waits.drop(wait)
                self.on_outcome(self.call, outcome)

        if self.wait is not None and not self.wait.over:
            try:
                command = c.BarrierEnter(self.call.plan.name, self.lease, self.parties, self.owner)
                self.api.writes.say(encode_command(command), heard, RELEASE_S)
            except ApiError:
                self.api.loop.call_later(POLL_S, self._ask_again)

    def _entered(self, generation: int) -> None:
        self.call.answer({"entered": True, "generation": generation, "lease": self.lease})

    def _look(self, machine: Machine) -> bool:
        barrier = machine.barriers.table.get(self.call.plan.name)
        if barrier is not None and (self.lease, self.owner) in barrier.inside:
            self._seen = True
            if barrier.generation:
                self._entered(barrier.generation)
                return True
            return False
        if self._seen:
            self.call.fail(ApiError(404, "lease_not_found", "the lease ended, or the barrier was left elsewhere", "no"))
        return self._seen

    def _late(self) -> None:
        self.call.on_gone = None
        self._say_leave(self._left)

    def _left(self, reason: str, outcome: Outcome | None) -> None:
        if self.call.answered:
            return
        if reason:
            self.call.fail(of_reason(reason, True))
        else:
            self.call.fail(ApiError(409, "waiting", "not all parties came in time; this one was taken out again", "no", lease=self.lease))

    def _gone(self) -> None:
        if self.wait is not None:
            self.api.waits.drop(self.wait)
        self._say_leave(_unheard)

    def _say_leave(self, heard: Any) -> None:
        try:
            self.api.writes.say(encode_command(c.BarrierLeave(self.call.plan.name, self.lease, self.owner)), heard, RELEASE_S)
        except ApiError:
            heard("busy", None)


def _unheard(reason: str, outcome: Outcome | None) -> None:
    pass


def enter(api: "StateApi", call: Call) -> None:
    body = call.read_body(_BARRIER)
    wait_s = duration("wait", body.wait, WAIT_S_MAX) if body.wait is not None else WAIT_S
    lease, ttl_ms = lease_of(call, body)
    parties = counted("parties", body.parties)
    if not parties:
        raise bad("parties", body.parties, "how many enter together, 1 or more")
    call.on_gone = still_wanted
    command = c.BarrierEnter(call.plan.name, lease, parties, body.owner, ttl_ms)
    api.writes.submit(call, command, Entry(api, call, body, wait_s).on_outcome)


def leave(api: "StateApi", call: Call) -> None:
    body = call.read_body(_BARRIER)
    wait_s = duration("wait", body.wait, WAIT_S_MAX) if body.wait is not None else WAIT_S
    lease, _ = lease_of(call, body)
    name = call.plan.name

    def done(call: Call, outcome: Outcome) -> None:
        generation, inside = value_of(outcome)
        if not generation or not inside:
            call.outcome({"left": True}, outcome)
            return

        def look(machine: Machine) -> bool:
            barrier = machine.barriers.table.get(name)
            # The own machine may not yet have seen this one leave; then it is still inside.
            if barrier is not None and barrier.generation == generation:
                return False
            call.answer({"left": True})
            return True

        def late() -> None:
            call.fail(ApiError(409, "waiting", "this one has left; others are still inside", "no"))

        if wait_s <= 0.0 or api.waits.full or api.service.client_only:
            late()
            return
        wait = Wait((BARRIERS, name), look, late)
        call.on_gone = lambda: api.waits.drop(wait)
        api.waits.add(wait, api.service.machine, wait_s)

    api.writes.submit(call, c.BarrierLeave(name, lease, body.owner), done)


def one(api: "StateApi", call: Call) -> None:
    api.reads.add(call, _one)


def _one(machine: Machine, call: Call) -> None:
    name = call.plan.name
    barrier = machine.barriers.table.get(name)
    document: dict[str, Any] = {**octets_json("name", name), "parties": 0, "inside": [], "state": "none", "generation": 0}
    if barrier is not None:
        inside = list(barrier.inside)[:INSIDE_TOLD_MAX]
        document["parties"] = barrier.parties
        document["inside"] = [{"lease": lease, "owner": owner} for lease, owner in inside]
        document["state"] = barrier.state
        document["generation"] = barrier.generation
    call.answer(document, machine.revision)
