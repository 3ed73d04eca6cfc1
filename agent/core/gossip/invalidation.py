"""Invalidations to every agent: at once by rumour, what is missed by repair, and what cannot be repaired as `MarkStale`.

Each origin numbers what it issues (origin, generation, sequence). Who sees one for the first time applies it, passes it on to a few
peers at once, and gives it to membership's broadcast, whose retransmissions reach those that the first wave left out. A number that is
skipped, or that a peer's digest names, is missing: after a moment's patience it is asked for, of the origin or of whoever spoke of it,
then of others. Invalidations commute and may be applied twice, so none waits for another: holding one back would only keep what is
stale in use. What is causal is the acknowledgement: it counts as such only once its sender has all that the caller had seen.
"""

from typing import Final

import msgspec
from msgspec import Struct

from agent.core.gossip.chance import Chance, pick
from agent.core.gossip.contexts import CONTEXT_BYTES_MAX, CONTEXT_MAX, context_bytes
from agent.core.gossip.departed import Departed
from agent.core.gossip.io import Apply, Broadcast, Effect, Invalidate, Issued, MarkStale, SendPacket, Want
from agent.core.gossip.messages import (
    BROADCAST_BYTES,
    NUMBER_MAX,
    Acknowledge,
    Ask,
    Invalidation,
    Invalidations,
    Lost,
    Message,
    Stream,
    Streams,
    encode,
)
from agent.core.gossip.repair import Repairs
from agent.core.gossip.streams import Ring, Shed, StreamState, batches, invalidation_bytes
from agent.core.gossip.waits import Wait, Waits

FENCE: Final = "fence"
"""Names nothing: it asks who has what its `after` names."""
KINDS: Final = ("url", "prefix", "host", "tag", "service", "all", FENCE)
LIVES: Final = 2
"""Lives of one origin that are told apart."""
ITEM_BYTES_MAX: Final = BROADCAST_BYTES - 16
"""All of one invalidation. None of ours is larger; a larger one is applied, but neither kept nor passed on."""
SUBJECT_BYTES_MAX: Final = 400
"""Host and value of one invalidation. A longer URL or prefix goes as the prefix of what fits, which drops more, never less."""
ACKS_A_SECOND: Final = 10_000
"""Acknowledgements are spread so that an origin gets no more than about so many a second."""
ACK_SPREAD_MAX_S: Final = 0.2


class InvalidationConfig(Struct, frozen=True):
    """How invalidations travel. Seconds."""

    fanout: int = 4
    """Peers that are told at once: 4 reach 98 % of a large cluster in its first wave, 5 reach 99.3 %."""
    batch: float = 0.01
    """The first one goes at once; those that follow within this time go together."""
    outbox_max: int = 1_024
    """What waits to be passed on; what is beyond it is left to repair."""
    ring_entries: int = 8_192
    ring_bytes: int = 2 * 1024 * 1024
    gap_patience: float = 0.25
    """A missing number may just be overtaken; so long it is not asked for."""
    ask_again: float = 0.4
    asks_max: int = 8
    """After so many that brought nothing the missing numbers are lost (of another region not: they may be on their way)…"""
    give_up: float = 10.0
    """…and so is a number that has been missing for so long."""
    digest: float = 1.0
    """One random peer is told where the streams stand, while any moved within `active`; every tenth time otherwise."""
    active: float = 30.0
    retain: float = 3_600.0
    """A stream whose origin is gone is forgotten after so long."""
    streams_max: int = 10_000


class Invalidator:
    """The core. Calls append to `effects`; the gossip core hands them on."""

    def __init__(self, name: str, generation: int, config: InvalidationConfig, chance: Chance, live: list[str], now: float) -> None:
        self.name = name
        self.config = config
        self.chance = chance
        self.live = live
        """The other live members, sorted; the gossip core keeps it."""
        self.effects: list[Effect] = []
        self.own = StreamState(name, generation, now)
        self.streams: dict[tuple[str, int], StreamState] = {(name, generation): self.own}
        self.newest: dict[str, int] = {name: generation}
        """Origin → the highest generation of it that is known."""
        self.ring = Ring(config.ring_entries, config.ring_bytes)
        self.shed = Shed()
        self.departed = Departed(self, now)
        self.repairs = Repairs(self)
        self.waits = Waits()
        self.duplicates = 0
        self.applied = 0
        self._outbox: list[Invalidation] = []
        self._flush_at = float("inf")
        self._flushed_at = -1.0
        self._acks: dict[tuple[str, int], dict[int, bool]] = {}
        self._acks_at = float("inf")
        self._early: list[Invalidation] = []

    # -- issuing

    def invalidate(self, now: float, order: Invalidate) -> None:
        """ValueError: it cannot be said."""
        item = self._make(order)
        self.own.take(item.sequence, now)
        self._keep(item)
        self.effects.append(Issued(order.request, item.sequence, self.context()))
        if order.wait_s > 0.0:
            self._wait(order, item, now)
        self._pass_on(item, now)

    def _wait(self, order: Invalidate, item: Invalidation, now: float) -> None:
        for position in order.after:
            self.learn(position, now, "")
        wait = Wait(order.request, item, {self.name, *self.live}, now, order.wait_s)
        early = not self.has(order.after)
        (wait.early if early else wait.acked).add(self.name)
        self.effects.extend(self.waits.add(wait))
        if early:
            self._acknowledge(item, now)

    def _make(self, order: Invalidate) -> Invalidation:
        kind, host, value = order.kind, order.host, order.value
        if kind not in KINDS:
            raise ValueError(f"an invalidation is of a kind among {', '.join(KINDS)}, not {kind}")
        if len(order.after) > CONTEXT_MAX or context_bytes(order.after) > CONTEXT_BYTES_MAX:
            raise ValueError(f"a context names at most {CONTEXT_MAX} streams in {CONTEXT_BYTES_MAX} octets")
        own = self.own
        ack = order.wait_s > 0.0
        item = Invalidation(self.name, own.generation, own.highest + 1, kind, order.soft, host, b"", ack, order.after)
        room = min(ITEM_BYTES_MAX - invalidation_bytes(item), SUBJECT_BYTES_MAX - len(host))
        if len(value) > room:
            if kind not in ("url", "prefix") or room < 0:
                raise ValueError(f"what an invalidation names has at most {room + len(host)} octets, not {len(host) + len(value)}")
            kind, value = "prefix", value[:room]
        return msgspec.structs.replace(item, kind=kind, value=value)

    def context(self) -> tuple[Stream, ...]:
        """What has been seen here, of the streams that moved last."""
        seen = [stream for stream in self.streams.values() if stream.floor > 0]
        seen.sort(key=lambda stream: (-stream.advanced_at, stream.origin))
        positions = [stream.position(stream.floor) for stream in seen[:CONTEXT_MAX]]
        while context_bytes(positions) > CONTEXT_BYTES_MAX:
            positions.pop()
        return tuple(positions)

    def has(self, context: tuple[Stream, ...]) -> bool:
        """Whether all that a context names has been applied here, or made up for."""
        for position in context:
            stream = self.streams.get((position.origin, position.generation))
            if stream is None:
                if position.generation < self.newest.get(position.origin, 0):
                    continue  # of a life long forgotten
                if self.departed.knows(position.origin, position.generation, position.sequence):
                    continue
                return False
            if stream.floor < position.sequence:
                return False
        return True

    # -- receiving

    def on_invalidations(self, now: float, message: Invalidations) -> None:
        for item in message.items:
            if item.origin == self.name:
                self.learn(Stream(self.name, item.generation, item.sequence), now, "")
                continue
            if self.departed.knows(item.origin, item.generation, item.sequence):
                self.duplicates += 1
                continue
            stream = self.stream(item.origin, item.generation, now)
            if stream is None:  # nothing to number it by; applied once too often does no harm
                self.effects.append(Apply(item))
                continue
            for position in item.after:
                self.learn(position, now, item.origin)
            if stream.seen(item.sequence):
                self.duplicates += 1
                if item.ack and not message.rumour:
                    self._acknowledge(item, now)  # told again directly: our acknowledgement was lost
                continue
            self.repairs.repaired += item.sequence <= stream.highest and not message.rumour
            self._stale_if(stream.learn(item.sequence, now), stream)
            stream.take(item.sequence, now)
            self.applied += 1
            self.effects.append(Apply(item))
            if invalidation_bytes(item) <= ITEM_BYTES_MAX:
                self._keep(item)
                if message.rumour:
                    self._pass_on(item, now)
            if item.ack:
                self._acknowledge(item, now)
            self.repairs.note(stream, now)
        self._context_may_be_complete(now)

    def stream(self, origin: str, generation: int, now: float) -> StreamState | None:
        """The state of a stream, made if need be. None: of a life that is over, or the table is full."""
        stream = self.streams.get((origin, generation))
        if stream is not None:
            return stream
        if self.stream_key(origin, generation) is None or len(self.streams) >= self.config.streams_max:
            return None
        lives = self._lives(origin)
        if len(lives) >= LIVES:
            del self.streams[(origin, lives[0])]
        self.newest[origin] = max(self.newest.get(origin, 0), generation)
        stream = self.streams[(origin, generation)] = StreamState(origin, generation, now)
        self.departed.recall(stream, now)
        return stream

    def forget(self, stream: StreamState) -> None:
        """It is over, and need not be known any more."""
        key = (stream.origin, stream.generation)
        del self.streams[key]
        self.repairs.gaps.pop(key, None)
        if self.newest.get(stream.origin) == stream.generation:
            del self.newest[stream.origin]

    def stream_key(self, origin: str, generation: int) -> tuple[str, int] | None:
        """What `streams` has, or would have, that stream by. None: its life is over."""
        # The life before the newest may still have its last words on their way; those before it are over.
        lives = self._lives(origin)
        return None if len(lives) >= LIVES and generation < lives[0] else (origin, generation)

    def _lives(self, origin: str) -> list[int]:
        return sorted(held.generation for held in self.streams.values() if held.origin == origin) if origin in self.newest else []

    def want(self, order: Want, now: float) -> None:
        """Ask for what was not asked for before."""
        stream = self.streams.get((order.origin, order.generation))
        if stream is not None and stream is not self.own:
            stream.want(order.sequences, now)
            self.repairs.note(stream, now)

    def learn(self, position: Stream, now: float, hint: str) -> None:
        """Someone says that a stream goes that far."""
        if position.origin == self.name:
            if (self.own.generation, self.own.highest) < (position.generation, position.sequence) and position.generation < NUMBER_MAX:
                self._reborn(position.generation + 1, now)
            return
        if self.departed.knows(position.origin, position.generation, position.sequence):
            return
        stream = self.stream(position.origin, position.generation, now)
        if stream is not None and position.sequence > stream.highest:
            self._stale_if(stream.learn(position.sequence, now), stream)
            stream.hint = hint
            self.repairs.note(stream, now)

    def adopt(self, positions: tuple[Stream, ...], now: float) -> None:
        """We join: what was issued until now concerns nothing that we fetch from now on; whatever we hold is to be validated."""
        for position in positions:
            if position.origin == self.name:
                self.learn(position, now, "")
                continue
            stream = self.stream(position.origin, position.generation, now)
            if stream is not None:
                stream.adopt(position.sequence, now)
        self.effects.append(MarkStale(now, "", "joined: invalidations until now are not known one by one"))
        self._context_may_be_complete(now)

    def _reborn(self, generation: int, now: float) -> None:
        """Others know more of our stream than we do: we restarted with the same generation. Take a new one."""
        said = self.ring.of(self.name, self.own.generation)
        del self.streams[(self.name, self.own.generation)]
        self.own = StreamState(self.name, generation, now)
        self.shed = Shed()
        self.streams[(self.name, generation)] = self.own
        self.newest[self.name] = generation
        self.effects.extend(wait.answer() for wait in self.waits.by_sequence.values())
        self.waits.by_sequence.clear()
        for item in said:  # others took these numbers for ones that they knew
            again = msgspec.structs.replace(item, generation=generation, sequence=self.own.highest + 1, ack=False)
            self.own.take(again.sequence, now)
            self._keep(again)
            self._pass_on(again, now)

    def _stale_if(self, older_than: float, stream: StreamState) -> None:
        if older_than:
            self.effects.append(MarkStale(older_than, stream.origin, "too many of its invalidations are missing"))

    # -- acknowledging

    def _acknowledge(self, item: Invalidation, now: float) -> None:
        early = not self.has(item.after)
        if early and item not in self._early and len(self._early) < self.config.outbox_max:
            self._early.append(item)
        self._acks.setdefault((item.origin, item.generation), {})[item.sequence] = early
        spread = min(len(self.live) / ACKS_A_SECOND, ACK_SPREAD_MAX_S)
        self._acks_at = min(self._acks_at, now + spread * self.chance.random())

    def _context_may_be_complete(self, now: float) -> None:
        """What was acknowledged early may now be acknowledged in full."""
        if self._early:
            waiting, self._early = self._early, []
            for item in waiting:
                if self.has(item.after):
                    self._acknowledge(item, now)
                else:
                    self._early.append(item)

    def _keep(self, item: Invalidation) -> None:
        """For whoever asks for it."""
        for gone in self.ring.add(item):
            if gone.origin == self.name and gone.generation == self.own.generation:
                self.shed.note(gone)

    def given_up(self, stream: StreamState, older_than: float, reason: str, now: float, hosts: tuple[bytes, ...]) -> None:
        """Numbers of a stream are lost."""
        self.effects.append(MarkStale(older_than, stream.origin, reason, hosts))
        self._context_may_be_complete(now)

    def on_ack(self, ack: Acknowledge) -> None:
        if ack.origin == self.name and ack.generation == self.own.generation:
            self.effects.extend(self.waits.on_ack(ack))

    def on_gone(self, name: str) -> None:
        self.effects.extend(self.waits.on_gone(name))

    # -- time

    def next_wake(self) -> float:
        return min(self._flush_at, self._acks_at, self.waits.next_at(), self.repairs.next_at())

    def wake(self, now: float) -> None:
        if now >= self._flush_at:
            self._flush(now)
        if now >= self._acks_at:
            self._send_acks()
        answers, again = self.waits.due(now)
        self.effects.extend(answers)
        for item, names in again:
            self.send(names, Invalidations((item,)))
        self.repairs.wake(now)

    def _pass_on(self, item: Invalidation, now: float) -> None:
        if len(self._outbox) < self.config.outbox_max:
            self._outbox.append(item)
        if now - self._flushed_at >= self.config.batch:
            self._flush(now)
        else:
            self._flush_at = self._flushed_at + self.config.batch

    def _flush(self, now: float) -> None:
        """Tell a few peers at once, and hand over to membership's broadcast what reaches the rest."""
        self._flush_at = float("inf")
        self._flushed_at = now
        for batch in batches(self._outbox, BROADCAST_BYTES):
            payload = encode(Invalidations(batch, rumour=True))
            origins = {item.origin for item in batch}
            peers = [name for name in pick(self.chance, self.live, self.config.fanout + 1) if len(origins) > 1 or name not in origins]
            if peers:
                self.effects.append(SendPacket(tuple(peers[: self.config.fanout]), payload))
                self.effects.append(Broadcast(payload))
        self._outbox = []

    def _send_acks(self) -> None:
        self._acks_at = float("inf")
        acks, self._acks = self._acks, {}
        for (origin, generation), sequences in acks.items():
            early = tuple(sorted(sequence for sequence, lacking in sequences.items() if lacking))
            ack = Acknowledge(self.name, origin, generation, tuple(sorted(sequences)), early)
            if origin == self.name:
                self.on_ack(ack)
            else:
                self.send([origin], ack)

    def send(self, names: list[str], message: Message) -> None:
        if names:
            self.effects.append(SendPacket(tuple(names), encode(message)))

    # -- repair and digests

    def on_ask(self, ask: Ask) -> None:
        self.repairs.on_ask(ask)

    def on_lost(self, lost: Lost, now: float) -> None:
        self.repairs.on_lost(lost, now)

    def on_streams(self, digest: Streams, now: float) -> None:
        self.repairs.on_streams(digest, now)
