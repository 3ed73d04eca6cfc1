"""One member's membership: the parts put together behind `step`.

The host's duties: feed every input in the order in which it came; carry the effects out in the order given; call
`step(now, Wake())` no later than `next_wake()`; `now` never goes back. A message is handed in only when it has been verified.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from agent.core.swim.config import SwimConfig
from agent.core.swim.desk import NACK, QUIET, REAP, RELAY, SUSPICION, Counters, Desk
from agent.core.swim.gossip import Gossip
from agent.core.swim.io import (
    Broadcast,
    Deliver,
    Effect,
    Input,
    Join,
    Leave,
    PacketIn,
    SendPacket,
    SendUser,
    StreamAnswer,
    StreamFailed,
    StreamReply,
    StreamRequest,
    UpdateMeta,
    Wake,
)
from agent.core.swim.members import Member
from agent.core.swim.messages import (
    LEFT,
    Ack,
    Alive,
    Dead,
    Error,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    Place,
    PushPull,
    Suspect,
    User,
)
from agent.core.swim.probe import Prober
from agent.core.swim.pushpull import Exchange
from agent.core.swim.rules import Rules
from agent.core.swim.sizes import PACKED_BYTES, size_of

ROUNDING_S: Final = 1e-6


def no_state(_join: bool) -> bytes:
    """The application has nothing to say in a push/pull."""
    return b""


class Swim:
    """`own`: who we are; its incarnation is where ours begins. `uniform`: the next random number in [0, 1).

    `sizer`: the encoded length of a message, asked once a broadcast. `app_state(join)`: the application's part of a push/pull.
    """

    def __init__(
        self,
        config: SwimConfig,
        own: NodeState,
        uniform: Callable[[], float],
        now: float,
        sizer: Callable[[Message], int] = size_of,
        app_state: Callable[[bool], bytes] = no_state,
    ) -> None:
        self._config = config
        self._lost_s = 0.0
        self._left_at = inf
        self._left = False
        desk = Desk(config, own, uniform, now, sizer)
        self._desk = desk
        self._rules = Rules(desk)
        self._prober = Prober(desk, self._rules)
        self._exchange = Exchange(desk, self._rules, app_state)
        self._gossip = Gossip(desk, self._exchange)
        self._due = self._earliest()

    # -- what is known

    @property
    def own(self) -> NodeState:
        return self._desk.own.node

    @property
    def revision(self) -> int:
        """Grows when the member list changes."""
        return self._desk.members.revision

    @property
    def counters(self) -> Counters:
        return self._desk.counters

    @property
    def health(self) -> int:
        """Local health multiplier: 0 (well) to 7."""
        return self._desk.awareness.level

    @property
    def queued(self) -> tuple[int, int]:
        """Broadcasts that wait: about members, the application's."""
        return self._desk.broadcasts.members.count, self._desk.broadcasts.users.count

    @property
    def live_count(self) -> int:
        """Members alive or suspect, ourselves among them."""
        return self._desk.members.count

    def members(self) -> tuple[NodeState, ...]:
        """Everybody known, ourselves first. Immutable, and the same object until `revision` grows."""
        return self._desk.members.view()

    def member(self, name: str) -> NodeState | None:
        member = self._desk.members.by_name.get(name)
        return None if member is None else member.node

    def rtt_s(self, name: str) -> float:
        """Smoothed round trip to a member, as its acks show; 0 if it has not been measured."""
        member = self._desk.members.by_name.get(name)
        return 0.0 if member is None else member.rtt_s

    def next_wake(self) -> float:
        """When `step(now, Wake())` is due, in the host's time."""
        return self._due + self._lost_s

    # -- what the host knows

    def note_local_health(self, level: int) -> None:
        """How unwell the host finds itself (event-loop lag, CPU throttling), 0 to 7; holds until it says otherwise."""
        self._desk.awareness.hint(level)

    def load(self, nodes: Iterable[NodeState]) -> None:
        """Take these as known, without news or events: a list that was kept over a restart. They hear of us when we join."""
        self._desk.members.load(nodes, self._desk.now)
        self._exchange.spread_start()
        self._due = self._earliest()

    # -- the step

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        desk = self._desk
        own_now = now - self._lost_s
        # What is due may already be late by less than a lag: time never goes back behind the last step.
        expected = max(self._due, desk.now)
        if own_now > expected + self._config.lag_min_s and self._config.lag_forgiven:
            self._forgive(own_now - expected)
            own_now = now - self._lost_s
        assert own_now >= desk.now - ROUNDING_S, "time went back"
        if own_now < self._due <= own_now + ROUNDING_S:
            # Taking away what was added before rounds: a wake-up in time must not come a hair too early, again and again.
            own_now = self._due
        desk.now = max(desk.now, own_now)
        if isinstance(event, PacketIn):
            self._on_packet(event.source, event.message)
        elif isinstance(event, Wake):
            self._on_wake()
        else:
            self._on_other(event)
        self._due = self._earliest()
        out = desk.out
        if not out:
            return ()
        effects = tuple(out)
        out.clear()
        return effects

    def _forgive(self, lag_s: float) -> None:
        """We were stopped or starved: nobody is to blame for what we could not hear (see `lag_forgiven`)."""
        self._lost_s += lag_s
        counters = self._desk.counters
        counters.lags += 1
        counters.lag_s += lag_s
        if lag_s >= self._config.probe_timeout_s:
            self._desk.awareness.apply(1)

    def _earliest(self) -> float:
        desk = self._desk
        due = self._prober.wake_at
        if desk.gossip_at < due:
            due = desk.gossip_at
        if self._exchange.wake_at < due:
            due = self._exchange.wake_at
        if self._gossip.reconnect_at < due:
            due = self._gossip.reconnect_at
        if desk.timers and desk.timers[0][0] < due:
            due = desk.timers[0][0]
        return min(due, self._left_at) if desk.leaving else due

    def _on_wake(self) -> None:
        desk = self._desk
        now = desk.now
        while (timer := desk.due()) is not None:
            self._on_timer(timer[2], timer[3], timer[4])
        if self._prober.wake_at <= now:
            self._prober.on_wake()
        if desk.gossip_at <= now:
            self._gossip.on_wake()
        if self._exchange.wake_at <= now:
            self._exchange.on_wake()
        if self._gossip.reconnect_at <= now:
            self._gossip.on_reconnect_due()
        if desk.leaving:
            self._see_whether_left()

    def _on_timer(self, kind: int, name: str, number: int) -> None:
        if kind == SUSPICION:
            self._rules.on_suspicion_due(name)
            self._gossip.watch_the_dead()
        elif kind == NACK:
            self._prober.on_nack_due(number)
        elif kind == RELAY:
            self._prober.on_relay_due(number)
        elif kind == QUIET:
            self._rules.on_quiet_due(name)
        else:
            assert kind == REAP
            self._rules.on_reap_due(name)
            self._gossip.watch_the_dead()

    def _on_packet(self, source: Place, message: Message) -> None:
        known = True
        if isinstance(message, Ping):
            known = self._prober.on_ping(source, message)
        elif isinstance(message, Ack):
            known = self._prober.on_ack(message) or self._gossip.on_ack(message.seq)
        elif isinstance(message, Suspect):
            self._rules.on_suspect(message, source)
        elif isinstance(message, Alive):
            self._rules.on_alive(message)
            self._gossip.watch_the_dead()
        elif isinstance(message, Dead):
            self._rules.on_dead(message)
            self._gossip.watch_the_dead()
        elif isinstance(message, User):
            self._desk.out.append(Deliver(source, message.payload))
        elif isinstance(message, IndirectPing):
            known = self._prober.on_indirect_ping(source, message)
        elif isinstance(message, Nack):
            self._prober.on_nack(message)
        else:
            known = False
        if not known:
            self._desk.counters.ignored += 1

    def _on_other(self, event: Input) -> None:
        desk = self._desk
        if isinstance(event, StreamRequest):
            self._on_request(event)
        elif isinstance(event, StreamAnswer):
            if not self._exchange.on_answer(event.stream, event.message) and isinstance(event.message, Ack):
                self._prober.on_stream_ack(event.stream, event.message)
        elif isinstance(event, StreamFailed):
            self._exchange.on_failure(event.stream, event.reason)
        elif isinstance(event, Broadcast):
            desk.broadcasts.user(event.key, event.payload, event.foreign)
            desk.wake_gossip()
        elif isinstance(event, SendUser):
            self._send_user(event)
        elif isinstance(event, Join):
            self._exchange.join(event.places)
        elif isinstance(event, UpdateMeta):
            self._rules.update_meta(event.meta)
        elif isinstance(event, Leave):
            self._leave()
        self._gossip.watch_the_dead()

    def _on_request(self, request: StreamRequest) -> None:
        message = request.message
        desk = self._desk
        if isinstance(message, PushPull):
            self._exchange.on_request(request.stream, message)
        elif isinstance(message, Ping):
            ours = message.node in ("", desk.name)
            desk.out.append(StreamReply(request.stream, Ack(message.seq) if ours else None))
        elif isinstance(message, User):
            desk.out.append(StreamReply(request.stream, None))
            desk.out.append(Deliver(request.source, message.payload))
        else:
            desk.counters.ignored += 1
            desk.out.append(StreamReply(request.stream, Error("not a request")))

    def _send_user(self, send: SendUser) -> None:
        desk = self._desk
        member: Member | None = desk.members.by_name.get(send.node)
        if member is None:
            desk.counters.unknown_members += 1
            return
        message = User(send.payload)
        if send.reliable or size_of(message) + PACKED_BYTES > self._config.packet_bytes:
            desk.open_stream(member.place, message, answered=False)
        else:
            desk.out.append(SendPacket(member.place, (message,)))

    # -- leaving

    def _leave(self) -> None:
        """Say so as a death of our own telling, and wait until it has been sent as often as needed."""
        desk = self._desk
        if desk.leaving:
            return
        desk.leaving = True
        self._left_at = desk.now + self._config.leave_timeout_s
        incarnation = desk.own.node.incarnation
        desk.members.set_state(desk.own, LEFT, incarnation, desk.now)
        desk.broadcasts.about(desk.name, Dead(incarnation, desk.name, desk.name))
        desk.gossip_at = desk.now
        self._gossip.watch_the_dead()

    def _see_whether_left(self) -> None:
        desk = self._desk
        if self._left:
            return
        if desk.now >= self._left_at or not desk.members.live or not desk.broadcasts.members.count:
            self._left = True
            self._left_at = inf
            desk.tell("leave", desk.own.node)
