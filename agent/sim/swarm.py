"""Many SWIM members in one process: their hosts, and what `runtime` does for a real one, in simulated time."""

from collections import deque
from collections.abc import Callable
from math import inf

from agent.core.swim.config import SwimConfig
from agent.core.swim.core import Swim
from agent.core.swim.io import (
    Deliver,
    Effect,
    Input,
    Join,
    Leave,
    MemberEvent,
    OpenStream,
    PacketIn,
    SendPacket,
    StreamAnswer,
    StreamFailed,
    StreamReply,
    StreamRequest,
    Wake,
)
from agent.core.swim.messages import ALIVE, Message, NodeState, Place
from agent.core.swim.sizes import PACKED_BYTES, size_of
from agent.sim.engine import Engine
from agent.sim.network import HEADERS_BYTES, Network, NetworkConfig

INBOX_MAX = 256
"""Datagrams that a paused process's socket holds: about Linux's default buffer (212,992 octets, a small one counts for 768)."""
PACKET_S = 0.0002
"""CPU that a member that was stopped needs for each datagram it finds waiting; others are never behind."""
WAKE = Wake()


class Host:
    """A machine with one member on it."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "clock_offset",
        "clock_rate",
        "core",
        "drains",
        "healthy",
        "inbox",
        "index",
        "left",
        "name",
        "overflows",
        "packets_in",
        "packets_out",
        "paused",
        "place",
        "stream_bytes",
        "up",
        "wake_at",
    )

    def __init__(self, index: int, core: Swim) -> None:
        self.index = index
        self.core = core
        self.name = core.own.name
        self.place: Place = (place_text(index), 7946)
        self.up = True
        self.left = False
        self.paused = False
        self.healthy = True
        """Never paused, slow, skewed or cut off in this run: nobody should think it dead."""
        self.inbox: deque[tuple[Place, tuple[Message, ...] | Input, int]] = deque()
        self.drains = 0
        """Times that it began to read its inbox; an earlier reading has ended."""
        self.wake_at = inf
        self.clock_offset = 0.0
        self.clock_rate = 1.0
        self.packets_out = 0
        self.packets_in = 0
        self.bytes_out = 0
        self.bytes_in = 0
        self.stream_bytes = 0
        self.overflows = 0


def address_of(index: int) -> bytes:
    return bytes((10, index >> 16 & 255, index >> 8 & 255, index & 255))


def place_text(index: int) -> str:
    return f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


def name_of(index: int) -> str:
    return f"node-{index:04d}"


class Swarm:
    """`count` members that know each other from the start (or, with `join`, only the first of them).

    `on_event(host, event)`: what members say of members. `on_deliver(host, payload)`: the application's messages.
    """

    def __init__(
        self,
        engine: Engine,
        config: SwimConfig,
        count: int,
        network: NetworkConfig = NetworkConfig(),  # noqa: B008 - frozen
        *,
        zones: int = 3,
        regions: int = 1,
        join: bool = False,
    ) -> None:
        self.engine = engine
        self.config = config
        places = [(i * regions // max(1, count), i % zones) for i in range(count)]
        self.network = Network(network, places, engine.random)
        self.on_event: Callable[[Host, MemberEvent], None] = _ignore
        self.on_deliver: Callable[[Host, bytes], None] = _ignore
        self._connections: dict[int, tuple[Host, int, Host]] = {}
        self._connection = 0
        self.hosts = [Host(i, self.make_core(i)) for i in range(count)]
        self.by_place = {host.place: host for host in self.hosts}
        self.by_name = {host.name: host for host in self.hosts}
        if not join:
            nodes = [host.core.own for host in self.hosts]
            for host in self.hosts:
                host.core.load(nodes)
        for host in self.hosts:
            if join and host.index:
                self.feed(host, Join((self.hosts[0].place,)))
            self._schedule(host)

    def make_core(self, index: int) -> Swim:
        # As agents do, whose first incarnation is the time of day in seconds: a life outbids the one before.
        own = NodeState(name_of(index), address_of(index), 7946, 1 + int(self.engine.now), ALIVE)
        random = self.engine.random
        return Swim(self.config, own, random.random, self._clock(index))

    def _clock(self, index: int) -> float:
        hosts = getattr(self, "hosts", None)
        return self.local_now(hosts[index]) if hosts else self.engine.now

    def local_now(self, host: Host) -> float:
        """What the host's own clock says."""
        return self.engine.now * host.clock_rate + host.clock_offset

    # -- the driver

    def feed(self, host: Host, event: Input) -> None:
        """Hand an input to a member and carry out what it wants done."""
        effects = host.core.step(self.engine.now * host.clock_rate + host.clock_offset, event)
        if effects:
            self._carry_out(host, effects)
        self._schedule(host)

    def _schedule(self, host: Host) -> None:
        due = (host.core.next_wake() - host.clock_offset) / host.clock_rate
        if due < host.wake_at:
            host.wake_at = due
            self.engine.at(due, self._on_wake, host, due)

    def _on_wake(self, host: Host, due: float) -> None:
        # An earlier one was asked for since; this one is of no use any more.
        if due != host.wake_at or not host.up:
            return
        host.wake_at = inf
        if host.paused:
            return
        local = self.engine.now * host.clock_rate + host.clock_offset
        next_wake = host.core.next_wake()
        # The conversion between clocks rounds.
        if next_wake <= local + 1e-7:
            self.engine.mark(host.index)
            effects = host.core.step(max(local, next_wake), WAKE)
            if effects:
                self._carry_out(host, effects)
        self._schedule(host)

    def _carry_out(self, host: Host, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, SendPacket):
                self._send(host, effect)
            elif isinstance(effect, MemberEvent):
                self.engine.mark_text(f"{host.name} {effect.kind} {effect.member.name} {effect.member.incarnation}")
                self.on_event(host, effect)
            elif isinstance(effect, OpenStream):
                self._open(host, effect)
            elif isinstance(effect, StreamReply):
                self._reply(effect)
            elif isinstance(effect, Deliver):
                self.on_deliver(host, effect.payload)

    # -- datagrams

    def _send(self, host: Host, packet: SendPacket) -> None:
        size = HEADERS_BYTES
        messages = packet.messages
        for message in messages:
            size += size_of(message)
        if len(messages) > 1:
            size += PACKED_BYTES * len(messages)
        assert size <= self.config.packet_bytes + HEADERS_BYTES + 64, f"a packet of {size} octets"
        host.packets_out += 1
        host.bytes_out += size
        target = self.by_place.get(packet.to)
        if target is None:
            return
        engine = self.engine
        for delay_s in self.network.delays(host.index, target.index):
            engine.at(engine.now + delay_s, self._arrive, target, host.place, messages, size)

    def _arrive(self, host: Host, source: Place, messages: tuple[Message, ...], size: int) -> None:
        if not host.up:
            return
        if host.paused or host.inbox:
            if len(host.inbox) < INBOX_MAX:
                host.inbox.append((source, messages, size))
            else:
                host.overflows += 1
            return
        self._receive(host, source, messages, size)

    def _receive(self, host: Host, source: Place, messages: tuple[Message, ...], size: int) -> None:
        host.packets_in += 1
        host.bytes_in += size
        self.engine.mark(host.index * 64 + len(messages))
        now = self.engine.now * host.clock_rate + host.clock_offset
        core = host.core
        for message in messages:
            effects = core.step(now, PacketIn(source, message))
            if effects:
                self._carry_out(host, effects)
        self._schedule(host)

    # -- streams: connecting takes a round trip, then the request, then the answer

    def _open(self, host: Host, ask: OpenStream) -> None:
        engine = self.engine
        target = self.by_place.get(ask.to)
        trip_s = None if target is None else self.network.stream_delay_s(host.index, target.index, 3)
        host.stream_bytes += size_of(ask.message)
        if target is None or trip_s is None:
            engine.after(ask.timeout_s, self._fail, host, ask.stream, "timeout")
            return
        self._connection += 1
        number = self._connection
        self._connections[number] = (host, ask.stream, target)
        engine.after(trip_s, self._request, target, number, StreamRequest(number, host.place, ask.message))
        engine.after(ask.timeout_s, self._expire, number)

    def _request(self, target: Host, number: int, request: StreamRequest) -> None:
        if not target.up:
            # The kernel of a machine that is up refuses; `expire` stands for one that is not.
            connection = self._connections.pop(number, None)
            if connection is not None:
                self._fail(connection[0], connection[1], "refused")
        elif number in self._connections:
            self._input(target, request)

    def _reply(self, reply: StreamReply) -> None:
        connection = self._connections.get(reply.stream)
        if connection is None or reply.message is None:
            return
        origin, stream, target = connection
        target.stream_bytes += size_of(reply.message)
        trip_s = self.network.stream_delay_s(target.index, origin.index, 1)
        if trip_s is not None:
            self.engine.after(trip_s, self._answer, reply.stream, StreamAnswer(stream, reply.message))

    def _answer(self, number: int, answer: StreamAnswer) -> None:
        connection = self._connections.pop(number, None)
        if connection is not None:
            self._input(connection[0], answer)

    def _expire(self, number: int) -> None:
        connection = self._connections.pop(number, None)
        if connection is not None:
            self._fail(connection[0], connection[1], "timeout")

    def _fail(self, host: Host, stream: int, reason: str) -> None:
        self._input(host, StreamFailed(stream, reason))

    def _input(self, host: Host, event: Input) -> None:
        """Something on a stream: kept by the kernel while the process is stopped."""
        if not host.up:
            return
        if host.paused or host.inbox:
            host.inbox.append((host.place, event, 0))
            return
        self.engine.mark(host.index * 64 + 63)
        self.feed(host, event)

    # -- what befalls hosts

    def pause(self, host: Host, seconds: float) -> None:
        """Stop the process (SIGSTOP, a garbage collection, no CPU), and let it go on after so long."""
        host.healthy = False
        if host.up and not host.paused:
            host.paused = True
            self.engine.after(seconds, self._resume, host, host.core)

    def _resume(self, host: Host, core: Swim) -> None:
        if not host.paused or host.core is not core:
            return
        host.paused = False
        # The harder order: its own timers run out before it reads what has come meanwhile.
        if core.next_wake() <= self.local_now(host):
            self.feed(host, WAKE)
        host.wake_at = inf
        self._schedule(host)
        host.drains += 1
        self._drain(host, host.drains)

    def _drain(self, host: Host, drains: int) -> None:
        """Read what came while it was stopped, one after another; its timers go on meanwhile."""
        if host.paused or not host.inbox or host.drains != drains:
            return
        source, item, size = host.inbox.popleft()
        if isinstance(item, tuple):
            self._receive(host, source, item, size)
        else:
            self.engine.mark(host.index * 64 + 63)
            self.feed(host, item)
        if host.inbox:
            self.engine.after(PACKET_S, self._drain, host, drains)

    def crash(self, host: Host) -> None:
        host.up = False
        host.paused = False
        host.inbox.clear()
        host.wake_at = inf

    def restart(self, host: Host, seeds: tuple[Place, ...]) -> None:
        """Begin again with the same name and address and no memory, and join by `seeds`."""
        assert not host.up
        host.core = self.make_core(host.index)
        host.up = True
        host.left = False
        host.wake_at = inf
        self.feed(host, Join(seeds))

    def leave(self, host: Host) -> None:
        host.left = True
        self.feed(host, Leave())

    def skew(self, host: Host, offset_s: float, rate: float) -> None:
        """Give the host another clock. At the start of a run only: a member's time never goes back."""
        assert self.engine.now == 0
        host.clock_offset, host.clock_rate = offset_s, rate
        host.core = self.make_core(host.index)
        host.core.load([other.core.own for other in self.hosts])
        host.wake_at = inf
        self._schedule(host)

    def living(self) -> list[Host]:
        return [host for host in self.hosts if host.up and not host.left]

    def converged(self) -> bool:
        """Whether every member that is up knows exactly those that are up as live, none of them suspect."""
        living = self.living()
        names = {host.name for host in living}
        for host in living:
            if host.core.live_count != len(living):
                return False
        return all(sum(node.state == ALIVE and node.name in names for node in host.core.members()) == len(living) for host in living)


def _ignore(_host: Host, _what: object) -> None:
    pass
