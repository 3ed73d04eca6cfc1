"""The broadcast workload on the gossip core: each message is a key of the node that was given it."""

from collections.abc import Callable
from math import ceil, log10
from random import Random
from typing import Final

from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.io import Broadcast, Changed, Effect, Input, MemberUp, Publish, Received, SendPacket, SendStream, Wake
from agent.core.gossip.nodes import Limits

TICK_S: Final = 0.2
TICK_FANOUT: Final = 3
RETRANSMIT_MULT: Final = 4
"""As memberlist: every 200 ms to 3 random members, each payload 4 · ⌈log10(n + 1)⌉ times."""
CONFIG: Final = GossipConfig(limits=Limits(keys_max=1_000_000, value_bytes_max=60_000))
"""A Maelstrom test broadcasts as many messages as it likes, and an agent's facts are few."""


class Flood:
    """`send(name, octets)`: to another node."""

    def __init__(
        self, name: str, names: list[str], generation: int, send: Callable[[str, bytes], object], now: Callable[[], float], random: Random
    ) -> None:
        self._core = GossipCore(name, generation, CONFIG, random, now())
        self._others = [other for other in names if other != name]
        self._send = send
        self._now = now
        self._random = random
        self._queue: dict[bytes, int] = {}
        self._limit = RETRANSMIT_MULT * ceil(log10(len(names) + 1))
        self._tick_at = now() + TICK_S
        self._number = 0
        self.messages: dict[bytes, None] = {}
        """What was broadcast, as far as it is known here, in the order in which it came."""
        for other in self._others:
            self._give(MemberUp(other))

    def next_wake(self) -> float:
        return min(self._core.next_wake(), self._tick_at)

    def wake(self) -> None:
        now = self._now()
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self._gossip()
        if now >= self._core.next_wake():
            self._give(Wake())

    def receive(self, data: bytes) -> None:
        self._give(Received(data))

    def broadcast(self, message: bytes) -> None:
        """Raises ValueError for one that is too long."""
        if message not in self.messages:
            self._give(Publish(((f"b{self._number}", message),), urgent=True))
            self._number += 1
            self.messages[message] = None

    def _give(self, item: Input) -> None:
        for effect in self._core.step(self._now(), item):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, SendPacket):
            for to in effect.to:
                self._send(to, effect.payload)
        elif isinstance(effect, SendStream):
            self._send(effect.to, effect.payload)
        elif isinstance(effect, Broadcast):
            self._queue[effect.payload] = 0
        elif isinstance(effect, Changed) and effect.value is not None:
            self.messages[effect.value] = None

    def _gossip(self) -> None:
        for to in self._random.sample(self._others, min(TICK_FANOUT, len(self._others))):
            for payload in list(self._queue):
                self._send(to, payload)
                self._queue[payload] += 1
                if self._queue[payload] >= self._limit:
                    del self._queue[payload]
