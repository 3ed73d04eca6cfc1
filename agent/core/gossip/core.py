"""The gossip core: everyone's state and everyone's invalidations, behind one `step(now, input) -> effects`."""

from bisect import bisect_left
from contextlib import suppress
from typing import Final

from msgspec import Struct, field

from agent.core.gossip.chance import Chance, pick
from agent.core.gossip.departed import Member
from agent.core.gossip.invalidation import InvalidationConfig, Invalidator
from agent.core.gossip.io import (
    Broadcast,
    Changed,
    Effect,
    Forgot,
    Input,
    Invalidate,
    MemberGone,
    MemberUp,
    Publish,
    PushPullIn,
    Received,
    SendPacket,
    SendStream,
    Want,
)
from agent.core.gossip.messages import (
    BROADCAST_BYTES,
    PACKET_BYTES,
    Acknowledge,
    Ask,
    Delta,
    Digest,
    Exchange,
    Invalidations,
    Item,
    Lost,
    Message,
    NodeDelta,
    Position,
    Streams,
    UnreadableError,
    decode,
    encode,
)
from agent.core.gossip.nodes import Limits, Nodes, delta_bytes, pack, positions_bytes
from agent.core.gossip.state import NodeState

HOUSEKEEP_S: Final = 5.0
SEEN: Final = "seen"
"""The key under which members say which ended lives they have all of; see `departed`."""
CATCH_UP_S: Final = 1.0
"""Who does not know every live member's state asks a random one for everything, by stream: after so long, and then ever less often
(a member may have none: a Serf agent, for one)."""
CATCH_UP_MAX_S: Final = 60.0


class GossipConfig(Struct, frozen=True):
    """How often and how much. Seconds, octets."""

    interval: float = 0.5
    """Between exchanges that this agent opens. A change reaches 1,000 agents in about ten of them."""
    packets: int = 4
    """Packets of deltas in one answer; what is beyond waits for the next exchange, newest first."""
    stream_bytes: int = 262_144
    """Deltas in one stream."""
    limits: Limits = field(default_factory=Limits)
    invalidation: InvalidationConfig = field(default_factory=InvalidationConfig)


class GossipCore:
    """See the package for the host's duties. name, generation: this life of this agent. chance: seeded in the simulator."""

    def __init__(self, name: str, generation: int, config: GossipConfig, chance: Chance, now: float) -> None:
        self.name = name
        self.config = config
        self.chance = chance
        self.live: list[str] = []
        """The other live members, sorted."""
        self.nodes = Nodes(name, generation, config.limits, now)
        self.invalidations = Invalidator(name, generation, config.invalidation, chance, self.live, now)
        self.unreadable = 0
        """Payloads that were no message of ours."""
        self._effects: list[Effect] = self.invalidations.effects
        self._exchange_at = now + config.interval * chance.random()
        self._housekeep_at = now + HOUSEKEEP_S
        self._digest_bytes = PACKET_BYTES - 32 - len(name.encode())
        self._catch_up_at = now + CATCH_UP_S
        self._catch_up_s = CATCH_UP_S
        self.met = False
        """Whether states have been exchanged with anybody."""

    def next_wake(self) -> float:
        """No later than this the host gives `Wake`."""
        return min(self._exchange_at, self._housekeep_at, self.invalidations.next_wake())

    def step(self, now: float, item: Input) -> tuple[Effect, ...]:
        """One input; its effects, to be carried out in order. ValueError: an `Invalidate` or `Publish` that cannot be said."""
        if isinstance(item, Received):
            self._receive(now, item.payload)
        elif isinstance(item, MemberUp):
            self._member_up(item.name)
        elif isinstance(item, MemberGone):
            self._member_gone(item.name, now)
        elif isinstance(item, Publish):
            self._publish(now, item)
        elif isinstance(item, Invalidate):
            self.invalidations.invalidate(now, item)
        elif isinstance(item, PushPullIn):
            self._push_pull(now, item)
        elif isinstance(item, Want):
            self.invalidations.want(item, now)
        else:
            self._wake(now)
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def push_pull(self, now: float) -> bytes:
        """Our user part of a push/pull: where we stand. What the other lacks follows by stream, both ways."""
        return encode(Exchange((), self.nodes.positions(now), self.invalidations.repairs.positions(), self.name))

    # -- time

    def _wake(self, now: float) -> None:
        if now >= self._exchange_at:
            # Within a tenth of the interval, so that agents started together do not stay in step.
            self._exchange_at = now + self.config.interval * (0.9 + 0.2 * self.chance.random())
            peers = pick(self.chance, self.live, 1)
            if peers and len(self.nodes.by_name) <= len(self.live) and now >= self._catch_up_at:
                self._catch_up_at = now + self._catch_up_s
                self._catch_up_s = min(2 * self._catch_up_s, CATCH_UP_MAX_S)
                self._effects.append(SendStream(peers[0], self.push_pull(now)))
            elif peers:
                self._send(peers, Digest(self.name, 2, self.nodes.digest(now, self._digest_bytes)))
        if now >= self._housekeep_at:
            self._housekeep_at = now + HOUSEKEEP_S
            self._effects.extend(Forgot(name) for name in self.nodes.housekeep(now))
            self._prune(now)
        self.invalidations.wake(now)

    def _prune(self, now: float) -> None:
        """Origins that are gone leave the vector, once every live member says that it has all they issued."""
        departed = self.invalidations.departed
        ripe = departed.look(now)
        if not ripe:
            return
        said = departed.report(ripe, now, len(self.live) + 1)
        if said is not None and self.nodes.own.value(SEEN) != said:
            with suppress(ValueError):  # no room beside the host's own keys: origins are pruned by their age alone then
                self._publish(now, Publish(((SEEN, said),)))
        members: dict[str, Member] = {}
        for name in self.live:
            state = self.nodes.by_name.get(name)
            if state is None:
                return  # who is there and has not said anything yet may lack anything
            members[name] = Member(state.generation, state.value(SEEN) or b"")
        departed.prune(ripe, members, now)

    # -- members

    def _member_up(self, name: str) -> None:
        if name != self.name:
            at = bisect_left(self.live, name)
            if at == len(self.live) or self.live[at] != name:
                self.live.insert(at, name)
                self._catch_up_s = CATCH_UP_S
            self.nodes.member_up(name)

    def _member_gone(self, name: str, now: float) -> None:
        if name in self.live:
            self.live.remove(name)
            self.nodes.member_gone(name, now)
            self.invalidations.on_gone(name)

    # -- our own state

    def _publish(self, now: float, order: Publish) -> None:
        limits, own = self.config.limits, self.nodes.own
        for key, value in order.items:
            if not 0 < len(key.encode()) <= limits.key_bytes_max:
                raise ValueError(f"a key has 1 to {limits.key_bytes_max} octets, not {len(key.encode())}")
            if value is not None and len(value) > limits.value_bytes_max:
                raise ValueError(f"the value of {key} has {len(value)} octets, more than {limits.value_bytes_max}")
        if len(own.items.keys() | {key for key, _ in order.items}) > limits.keys_max:
            raise ValueError(f"more than {limits.keys_max} keys (those deleted within {limits.tombstone_grace:g} s count)")
        told: list[NodeDelta] = []
        for key, value in order.items:
            if self.nodes.put(key, value, now):
                item = Item(key, own.floor, value)
                told.append(NodeDelta(self.name, own.generation, own.collected, own.floor - 1, own.floor, own.floor, (item,)))
        if order.urgent:
            self._tell(told, ())

    def _tell(self, deltas: list[NodeDelta], but: tuple[str, ...]) -> None:
        """By rumour, within what a broadcast may take; what is larger is left to the exchanges."""
        batch: list[NodeDelta] = []
        room = BROADCAST_BYTES - 16
        for delta in [*deltas, None]:
            if batch and (delta is None or delta_bytes(delta) > room):
                payload = encode(Delta(tuple(batch), rumour=True))
                peers = tuple(name for name in pick(self.chance, self.live, self.config.invalidation.fanout) if name not in but)
                if peers:
                    self._effects.append(SendPacket(peers, payload))
                    self._effects.append(Broadcast(payload))
                batch, room = [], BROADCAST_BYTES - 16
            if delta is not None and delta_bytes(delta) <= room:
                batch.append(delta)
                room -= delta_bytes(delta)

    # -- messages

    def _receive(self, now: float, payload: bytes) -> None:
        try:
            message = decode(payload)
        except UnreadableError:
            self.unreadable += 1
            return
        if isinstance(message, Invalidations):
            self.invalidations.on_invalidations(now, message)
        elif isinstance(message, Delta):
            news = [delta for delta in message.nodes if self._apply(delta, now)]
            if message.rumour and news:
                self._tell(news, tuple(delta.node for delta in news))
        elif isinstance(message, Digest):
            self._on_digest(message, now)
        elif isinstance(message, Acknowledge):
            self.invalidations.on_ack(message)
        elif isinstance(message, Ask):
            self.invalidations.on_ask(message)
        elif isinstance(message, Lost):
            self.invalidations.on_lost(message, now)
        elif isinstance(message, Streams):
            self.invalidations.on_streams(message, now)
        else:
            self._exchange(message, now)

    def _apply(self, delta: NodeDelta, now: float) -> bool:
        changes = self.nodes.apply(delta, now)
        self._effects.extend(Changed(node, key, value) for node, key, value in changes)
        return bool(changes)

    def _on_digest(self, digest: Digest, now: float) -> None:
        self._meet_self(digest.positions, now)
        self._give(digest.sender, self.nodes.lacking(digest.positions, now), now)
        if digest.answer > 0:
            positions = self.nodes.wanted(digest.positions)
            if digest.answer > 1:
                positions += self.nodes.unnamed(digest.positions, now, self._digest_bytes - positions_bytes(positions))
            if positions:
                self._send([digest.sender], Digest(self.name, min(digest.answer, 2) - 1, positions))

    def _meet_self(self, positions: tuple[Position, ...], now: float) -> None:
        for position in positions:
            if position.node == self.name:
                self.nodes.meet_self(position.generation, position.floor, now)

    def _give(self, to: str, lacking: list[tuple[NodeState, Position | None]], now: float) -> None:
        packets, left = pack(lacking, PACKET_BYTES - 16, self.config.packets)
        for deltas in packets:
            self._send([to], Delta(tuple(deltas)))
        large = [(state, position) for state, position in lacking if state in left and state.delta_for(position, PACKET_BYTES - 16) is None]
        if large:
            self._stream(to, large)

    def _stream(self, to: str, lacking: list[tuple[NodeState, Position | None]]) -> None:
        room = self.config.stream_bytes
        deltas: list[NodeDelta] = []
        for state, position in lacking:
            delta = state.delta_for(position, room)
            if delta is not None:
                deltas.append(delta)
                room -= delta_bytes(delta)
        if deltas:
            self._effects.append(SendStream(to, encode(Exchange(tuple(deltas), sender=self.name))))

    # -- push/pull and streams

    def _push_pull(self, now: float, item: PushPullIn) -> None:
        try:
            message = decode(item.payload)
        except UnreadableError:
            self.unreadable += 1
            return
        if not isinstance(message, Exchange):
            self.unreadable += 1
            return
        if item.join and not self.met:
            self.invalidations.adopt(message.streams, now)
        self.met = True
        self._exchange(message, now)

    def _exchange(self, message: Exchange, now: float) -> None:
        for delta in message.deltas:
            self._apply(delta, now)
        for position in message.streams:
            self.invalidations.learn(position, now, message.sender)
        if message.digest and message.sender and message.sender != self.name:
            self._meet_self(message.digest, now)
            self._stream(message.sender, self.nodes.lacking(message.digest, now) + self.nodes.unknown_to(message.digest, now))

    def _send(self, to: list[str], message: Message) -> None:
        self._effects.append(SendPacket(tuple(to), encode(message)))
