"""Server-sent events: a watch of keys, or of who leads an election."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from agent.core.machine.records import Event
from agent.runtime.wheel import Alarm
from agent.state.hub import Watch
from agent.state.told import event_text
from agent.state.wire import date, to_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

RETRY_MS: Final = 2_000
BEAT: Final = b": still here\n\n"


class EventStream:
    """A connection that carries events from here on. `on_begin` is called when its turn has come, `on_end` when it is over."""

    def __init__(self, api: "StateApi", on_begin: Callable[["EventStream"], None], on_end: Callable[[], None]) -> None:
        self.alarm = Alarm(self.on_deadline)
        self.api = api
        self.transport: Any = None
        self.over = False
        self._on_begin = on_begin
        self._on_end = on_end
        self._stalled = False
        self.watch: Watch | None = None
        self.on_ready: Callable[[], None] | None = None
        """Called when the reader takes again what is written, where there is no watch."""
        api.figures.watches += 1

    @property
    def ready(self) -> bool:
        return not self.over and not self._stalled

    # -- Stream

    def begin(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=self.api.config.watch_buffer)
        transport.write(
            b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Connection: close\r\n\r\nretry: %d\n\n" % (date(), RETRY_MS)
        )
        self._next_beat()
        self._on_begin(self)

    def on_data(self, data: bytes) -> None:
        """A reader has nothing to say."""

    def on_writable(self, writable: bool) -> None:
        self._stalled = not writable
        if self.over:
            return
        if not writable:
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.watch_stall)
            return
        self._next_beat()
        if self.watch is not None:
            self.api.hub.resume(self.watch)
        elif self.on_ready is not None:
            self.on_ready()

    def on_gone(self) -> None:
        self._end()
        self.api.wheel.release(self.alarm)

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.api.figures.watches -= 1
            self.api.wheel.drop(self.alarm)
            self._on_end()

    def on_deadline(self, now: float) -> None:
        if self.over or self._stalled:
            self.api.figures.slow += not self.over
            self.transport.abort()
        else:
            self.write(BEAT)

    # -- what it says

    def write(self, data: bytes) -> None:
        if not self.over:
            self.transport.write(data)
            self._next_beat()

    def say(self, event: str, document: Any) -> None:
        self.write(b"event: %b\ndata: %b\n\n" % (event.encode("ascii"), to_json(document)))

    def tell(self, watch: Watch, events: list[Event]) -> None:
        parts: list[bytes] = []
        last = len(events) - 1
        for at, event in enumerate(events):
            if at == last or events[at + 1].revision != event.revision:
                # Only when all of a revision have been told may a reader go on after it.
                parts.append(b"id: %d\n" % event.revision)
            parts.append(event_text(event, watch.values))
        self.write(b"".join(parts))

    def compacted(self, watch: Watch, oldest: int, revision: int) -> None:
        self.say("compacted", {"oldest": oldest, "revision": revision})
        self.finish()

    def end(self) -> None:
        """The agent stops."""
        self.say("closed", {"error": "stopped", "detail": "the agent stops; go on at another, or later"})
        self.finish()

    def finish(self) -> None:
        """What has been written still leaves, if the reader takes it."""
        if not self.over:
            self._end()
            self.transport.close()
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.watch_stall)

    def _next_beat(self) -> None:
        if not self._stalled:
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.heartbeat)
