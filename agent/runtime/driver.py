"""Drives a sans-IO membership core: feeds it, carries its effects out in order, wakes it with one timer.

    driver = Driver(core, SocketTransport(("10.0.0.1", 7946)), Envelope("blue", ring), tell, log)
    await driver.start()
    driver.feed(Join((("10.0.0.2", 7946),)))

The order of a step's effects is the core's. What the application hears (`tell`) may feed again; that input waits until the effects
of this one are carried out.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from agent.core.swim.envelope import Envelope
from agent.core.swim.errors import WireError
from agent.core.swim.io import Broadcast, Effect, Input, Join, OpenStream, PacketIn, SendPacket, StreamReply, Wake
from agent.core.swim.messages import Foreign, Place
from agent.core.swim.serf import Relay
from agent.core.swim.wire import decode_packet, pack
from agent.runtime.links import Links
from agent.runtime.log import Logger
from agent.runtime.streams import StreamBounds, Streams
from agent.runtime.transport import Connection, Transport

TIMER_SLACK_S: Final = 0.001
"""The loop's timers are whole milliseconds (uvloop), rounded: one that came early would find nothing due, and come again at once."""


class Core(Protocol):
    """What is driven."""

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        """Take an input; what is to be done."""

    def next_wake(self) -> float:
        """When `Wake` is due, by the clock that `now` is of; infinity where it need not be."""


class Driver:
    """One member on one transport. `tell` takes the effects that are not the network's: events, deliveries, merges."""

    def __init__(
        self,
        core: Core,
        transport: Transport,
        envelope: Envelope,
        tell: Callable[[Effect], None],
        log: Logger,
        bounds: StreamBounds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._transport = transport
        self._envelope = envelope
        self._tell = tell
        self._log = log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inputs: deque[Input] = deque()
        self._carrying = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._running = False
        self.links = Links(log, clock)
        self._relay = Relay()
        self.streams = Streams(transport, envelope, self._receive, self.links, bounds or StreamBounds())

    @property
    def place(self) -> Place:
        """Where this member is heard."""
        return self._transport.place

    async def start(self) -> None:
        """Listen, and let the core run. Raises OSError where the place is taken."""
        await self._transport.start(self)
        self._running = True
        self._set_timer()

    async def stop(self) -> None:
        """Fall silent at once; a graceful leave is an input that comes before."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        await self._transport.close()
        await self.streams.close()

    # -- inputs

    def feed(self, event: Input) -> None:
        """Give the core an input of the host's own. Raises what the core raises on it (ValueError: it is not possible)."""
        if self._carrying:
            self._inputs.append(event)
            return
        self._carry_out(self._core.step(self._clock(), event))
        self._feed_waiting()
        self._set_timer()

    def join(self, place: Place) -> None:
        """Ask the member there to be let in; it ends in a `JoinEnded`, whatever happens."""
        self._receive(Join((place,)))

    def _receive(self, event: Input) -> None:
        """An input from outside: whatever it does to the core, the agent goes on."""
        if not self._running:
            return
        self._inputs.append(event)
        if not self._carrying:
            self._feed_waiting()
            self._set_timer()

    def _feed_waiting(self) -> None:
        while self._inputs:
            event = self._inputs.popleft()
            try:
                effects = self._core.step(self._clock(), event)
            except Exception:
                self._fault(f"step({type(event).__name__})")
                continue
            self._carry_out(effects)

    def _fault(self, where: str) -> None:
        self.links.faults += 1
        self._log.error("membership_fault", where=where, text=traceback.format_exc(limit=-4))

    def on_packet(self, source: Place, data: bytes) -> None:
        """A datagram came."""
        self.links.packets_in += 1
        self.links.bytes_in += len(data)
        try:
            messages = decode_packet(self._envelope.open_packet(data))
        except WireError as error:
            self.links.drop(error.reason, source, error.text)
            return
        for message in messages:
            if isinstance(message, Foreign):
                self.links.foreign += 1
                if self._relay.is_new(message.payload):
                    self.feed(Broadcast(message.payload, foreign=True))
            else:
                self._receive(PacketIn(source, message))

    def on_connection(self, connection: Connection) -> None:
        """A stream came."""
        self.streams.on_connection(connection)

    # -- effects

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        self._carrying = True
        try:
            for effect in effects:
                try:
                    self._do(effect)
                except Exception:
                    self._fault(type(effect).__name__)
        finally:
            self._carrying = False

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, SendPacket):
            data = self._envelope.close_packet(pack(effect.messages))
            self.links.packets_out += 1
            self.links.bytes_out += len(data)
            self._transport.send(effect.to, data)
        elif isinstance(effect, OpenStream):
            self.streams.open(effect)
        elif isinstance(effect, StreamReply):
            self.streams.reply(effect)
        else:
            self._tell(effect)

    # -- time

    def _set_timer(self) -> None:
        """One timer. Where the core is due later than the timer stands, the timer is left: it finds out when it comes."""
        if not self._running:
            return
        due = self._core.next_wake()
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._loop.call_later(max(due - self._clock(), 0.0) + TIMER_SLACK_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = inf
        if self._clock() >= self._core.next_wake():
            self._receive(Wake())
        else:
            self._set_timer()
