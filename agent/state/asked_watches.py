"""Watches for agents that have no copy of the state: they ask one that has, again and again, for what came next."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from agent.state.call import Call
from agent.state.questions import Told
from agent.state.sse import EventStream
from agent.state.wire import JSON, to_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

POLL_S: Final = 0.2
EVENTS_MAX: Final = b"1000"
ASK_S: Final = 5.0
RANGE: Final = ("key", "prefix", "start", "end", "values")


class Feed:
    """Asks until it is stopped. `heard`: with events, as JSON has them, and the revision up to which they go; `gone`: with the document
    that says `compacted`, and then it has stopped. after -1: from now on; `began` is told where that is."""

    def __init__(
        self,
        api: "StateApi",
        call: Call,
        after: int,
        began: Callable[[int], None],
        heard: Callable[[list[Any], int], None],
        gone: Callable[[dict[str, Any]], None],
    ) -> None:
        self._api = api
        self._range = {name: value for name, value in call.plan.parameters.items() if name in RANGE}
        self._after = after
        self._began: Callable[[int], None] | None = began
        self._heard = heard
        self._gone = gone
        self._stopped = False
        self._timer: Any = None
        self._ask()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self) -> None:
        self._timer = None
        if self._began is not None:
            # Where now is: any answer to a linearizable read tells.
            self._api.questions.say("GET /v1/kv", b"", {"count": b"true", "prefix": b"\0"}, ASK_S, self._on_now)
            return
        parameters = {**self._range, "after": b"%d" % self._after, "limit": EVENTS_MAX}
        self._api.questions.say("GET /v1/events", b"", parameters, ASK_S, self._on_events)

    def _again(self, seconds: float) -> None:
        if not self._stopped:
            self._timer = self._api.loop.call_later(seconds, self._ask)

    def _on_now(self, reason: str, told: Told | None) -> None:
        if self._stopped:
            return
        if told is not None and told.status == 200 and self._began is not None:
            revision = json.loads(told.body)["revision"]
            began, self._began = self._began, None
            if self._after < 0:
                self._after = revision
            began(revision)
            self._again(0.0)
        else:
            self._again(POLL_S)

    def _on_events(self, reason: str, told: Told | None) -> None:
        if self._stopped:
            return
        if told is None or told.status not in (200, 410) or told.kind != JSON:
            self._again(POLL_S)
            return
        document = json.loads(told.body)
        if told.status == 410:
            self.stop()
            self._gone(document)
            return
        events = document["events"]
        self._after = document["revision"]
        if events:
            self._heard(events, self._after)
        self._again(0.0 if events or document["more"] else POLL_S)


def stream(api: "StateApi", call: Call, after: int) -> None:
    """A watch as server-sent events."""
    feeds: list[Feed] = []

    def begin(stream: EventStream) -> None:
        def heard(events: list[Any], revision: int) -> None:
            parts = []
            for at, event in enumerate(events):
                if at + 1 == len(events) or events[at + 1]["revision"] != event["revision"]:
                    parts.append(b"id: %d\n" % event["revision"])
                kind = event.pop("type")
                parts.append(b"event: %b\ndata: %b\n\n" % (kind.encode("ascii"), to_json(event)))
            api.figures.events += len(events)
            stream.write(b"".join(parts))

        def gone(document: dict[str, Any]) -> None:
            api.figures.compacted += 1
            stream.say("compacted", {"oldest": document["oldest"], "revision": document["revision"]})
            stream.finish()

        feeds.append(Feed(api, call, after, lambda revision: stream.say("open", {"revision": revision}), heard, gone))

    def end() -> None:
        for feed in feeds:
            feed.stop()

    call.become(EventStream(api, begin, end))


def hold(api: "StateApi", call: Call, after: int, wait_s: float) -> None:
    """A question for events that is answered when there are some, or when the wait is over."""

    def end(document: dict[str, Any], status: int = 200) -> None:
        feed.stop()
        timer.cancel()
        if not call.answered:
            call.answer(document, document["revision"], status)

    feed = Feed(
        api,
        call,
        after,
        lambda revision: None,
        lambda events, revision: end({"events": events, "revision": revision, "more": False}),
        lambda document: end(document, 410),
    )
    timer = api.loop.call_later(wait_s, end, {"events": [], "revision": after, "more": False})
    call.on_gone = feed.stop
