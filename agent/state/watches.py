"""Handlers of watches: as a stream, as a WebSocket, as a question that is held until there is an answer; and observers of elections."""

from typing import TYPE_CHECKING, Any, Final

from agent.core.machine.history import Compacted
from agent.core.machine.machine import Machine
from agent.core.machine.ordered import end_of_prefix
from agent.core.machine.records import Event
from agent.core.machine.seats import ELECTIONS
from agent.state import asked_watches
from agent.state.call import Call
from agent.state.errors import ApiError, bad
from agent.state.holds import election_json
from agent.state.hub import Watch
from agent.state.plan import Plan, whole
from agent.state.sse import EventStream
from agent.state.told import event_json
from agent.state.waits import Wait
from agent.state.websocket import Socket, wants_websocket

if TYPE_CHECKING:
    from agent.state.api import StateApi

EVENTS: Final = 100
EVENTS_MAX: Final = 1_000
SCAN_MAX: Final = 8_192
"""Events that one question looks at; the answer says where to go on."""
WAIT_S_MAX: Final = 60.0


def watched(plan: Plan) -> tuple[bytes, bytes]:
    """From which key to before which. Raises ApiError (400)."""
    parameters = plan.parameters
    given = [name for name in ("key", "prefix", "start") if name in parameters]
    if len(given) > 1:
        raise bad(given[1], f"{given[0]} beside it", "one of key, prefix, or start and end")
    if "key" in parameters:
        return parameters["key"], parameters["key"] + b"\0"
    if "prefix" in parameters:
        return parameters["prefix"], end_of_prefix(parameters["prefix"])
    return parameters.get("start", b""), parameters.get("end", b"")


def _after(plan: Plan) -> int:
    """After which revision; -1: from now on."""
    seen = plan.sender.head.get(b"last-event-id")
    if seen:
        return whole("Last-Event-ID", seen)
    return plan.number("after", -1)


def check_room(api: "StateApi") -> None:
    if api.hub.full:
        raise ApiError(503, "busy", f"this agent has its {api.config.watches_max} watches")


def watch(api: "StateApi", call: Call) -> None:
    plan = call.plan
    start, end = watched(plan)
    after = _after(plan)
    values = plan.flag("values", True)
    check_room(api)
    if wants_websocket(plan.sender.head):
        if api.service.client_only:
            raise ApiError(503, "not_ready", "this agent has no copy of the state: watch here without a WebSocket, or at another agent")
        call.become(Socket(api, call, (start, end, after, values) if plan.parameters else None))
        return
    if api.service.client_only:
        asked_watches.stream(api, call, after)
        return
    api.reads.add(call, lambda machine, call: _stream(api, machine, call, Watch(_NOWHERE, 0, start, end, after, values)))


def _stream(api: "StateApi", machine: Machine, call: Call, watch: Watch) -> None:
    check_room(api)
    if watch.cursor < 0:
        watch.cursor = machine.revision

    def begin(stream: EventStream) -> None:
        stream.say("open", {"revision": api.hub.position})
        stream.watch = watch
        api.hub.add(watch)

    stream = EventStream(api, begin, lambda: api.hub.drop(watch))
    watch.sink = stream
    call.become(stream)


# -- a question that is held


class Poll:
    """Answers one call with the first events that come. A sink that is always ready, and taken out when it has told."""

    ready = True

    def __init__(self, api: "StateApi", call: Call) -> None:
        self.api = api
        self.call = call
        self.timer: Any = None

    def tell(self, watch: Watch, events: list[Event]) -> None:
        self.stop(watch)
        if not self.call.answered:
            _tell(self.call, events, watch.values)

    def compacted(self, watch: Watch, oldest: int, revision: int) -> None:
        self.stop(watch)
        if not self.call.answered:
            self.call.fail(_gone(oldest, revision))

    def late(self, watch: Watch, revision: int) -> None:
        self.stop(watch)
        if not self.call.answered:
            self.call.answer({"events": [], "revision": revision, "more": False}, revision)

    def stop(self, watch: Watch) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.api.figures.watches -= 1
        self.api.hub.drop(watch)


_NOWHERE: Final[Any] = None


def events(api: "StateApi", call: Call) -> None:
    plan = call.plan
    watched(plan)
    plan.number("limit", EVENTS, EVENTS_MAX)
    wait_s = plan.seconds("wait", 0.0, WAIT_S_MAX)
    if "after" not in plan.parameters:
        raise bad("after", "nothing", "the revision after which events are wanted")
    if wait_s > 0.0 and api.service.client_only:
        check_room(api)
        asked_watches.hold(api, call, plan.number("after", 0), wait_s)
        return
    api.reads.add(call, lambda machine, call: _events(api, machine, call))


def _events(api: "StateApi", machine: Machine, call: Call) -> None:
    plan = call.plan
    start, end = watched(plan)
    after = plan.number("after", 0)
    limit = max(plan.number("limit", EVENTS, EVENTS_MAX), 1)
    watch = Watch(_NOWHERE, 0, start, end, after, plan.flag("values", True))
    mine: list[Event] = []
    cursor = after
    scanned = 0
    more = False
    try:
        while len(mine) < limit:
            found = machine.kv.history.after(cursor, EVENTS_MAX)
            if not found:
                break
            if scanned >= SCAN_MAX:
                more = True
                break
            scanned += len(found)
            cursor = found[-1].revision
            mine.extend(event for event in found if watch.covers(event.key))
    except Compacted as gone:
        raise _gone(gone.oldest, machine.revision) from None
    wait_s = plan.seconds("wait", 0.0, WAIT_S_MAX)
    if mine or more or wait_s <= 0.0:
        while len(mine) > limit and mine[limit].revision == mine[limit - 1].revision:
            limit += 1
        told = mine[:limit]
        revision = told[-1].revision if len(mine) > limit else max(cursor, after)
        _tell(call, told, watch.values, revision, more or len(told) < len(mine))
        return
    check_room(api)
    poll = Poll(api, call)
    watch.sink = poll
    watch.cursor = max(cursor, after)
    api.figures.watches += 1
    poll.timer = api.loop.call_later(wait_s, poll.late, watch, watch.cursor)
    call.on_gone = lambda: poll.stop(watch)
    api.hub.add(watch)


def _tell(call: Call, events: list[Event], values: bool, revision: int = -1, more: bool = False) -> None:
    """revision: after which to ask next; more: at once."""
    revision = revision if revision >= 0 else events[-1].revision
    call.answer({"events": [event_json(event, values, True) for event in events], "revision": revision, "more": more}, revision)


def _gone(oldest: int, revision: int) -> ApiError:
    text = "what happened after that revision is no longer kept: read the range anew, then go on after the revision that it tells"
    return ApiError(410, "compacted", text, oldest=oldest, revision=revision)


# -- who leads


def observe(api: "StateApi", call: Call) -> None:
    check_room(api)
    if api.service.client_only:
        raise ApiError(503, "not_ready", "this agent has no copy of the state: observe at one that has, or ask for the election")
    api.reads.add(call, lambda machine, call: _observe(api, call))


def _observe(api: "StateApi", call: Call) -> None:
    name = call.plan.name
    waits = api.waits
    told: list[Any] = [None]
    streams: list[EventStream] = []

    def look(machine: Machine) -> bool:
        now = election_json(machine, name)
        if now != told[0] and streams[0].ready:
            told[0] = now
            streams[0].say("leader", now)
        return False

    wait = Wait((ELECTIONS, name), look, lambda: None)

    def begin(stream: EventStream) -> None:
        streams.append(stream)
        waits.add(wait, api.service.machine, 0.0)

    def writable() -> None:
        machine = api.service.machine
        if machine is not None:
            look(machine)

    stream = EventStream(api, begin, lambda: waits.drop(wait))
    stream.on_ready = writable
    call.become(stream)
