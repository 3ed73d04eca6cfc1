"""A stand-in for `agent.cluster.fabric.Fabric` as the data path uses it: members in one process that hear each other at once.

tests/contract/test_fabric_face.py holds it and the real one to the same.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from agent.core.gossip.bloom import may_hold
from agent.core.gossip.contexts import decode_context, encode_context
from agent.core.gossip.face import AnnouncedEndpoint, LocalFacts, PurgeResult, Reported
from agent.core.gossip.facts import Judgements, Load
from agent.core.gossip.messages import Invalidation, Stream

NAME_BYTES_MAX = 400
TOLD_S = 0.05


class FakeRow(Struct, frozen=True):
    """A member as `members()` gives it."""

    name: str
    state: str
    region: str = "eu"
    zone: str = "a"
    rtt_ms: float = 0.0


class FakeNet:
    """All members, by name. `states` overrides what the others see of one."""

    def __init__(self) -> None:
        self.fabrics: dict[str, FakeFabric] = {}
        self.states: dict[str, str] = {}

    def make(self, name: str) -> "FakeFabric":
        return FakeFabric(self, name)

    def fail(self, name: str, state: str = "dead") -> None:
        """It is gone, as the others see it."""
        self.states[name] = state
        self.told()

    def told(self) -> None:
        for fabric in self.fabrics.values():
            fabric.look()


class FakeFabric:
    """One member."""

    def __init__(self, net: FakeNet, name: str) -> None:
        self.net = net
        self.name = name
        self.running = False
        self.said = LocalFacts()
        self.regions: dict[str, float] = {}
        self.facts: Callable[[], LocalFacts] = LocalFacts
        self.on_endpoints: Callable[[Any], None] = lambda endpoints: None
        self.on_invalidation: Callable[[Invalidation], None] = lambda item: None
        self.on_mark_stale: Callable[[float, tuple[bytes, ...]], None] = lambda older_than, hosts: None
        self.on_loads: Callable[[dict[str, Reported]], None] = lambda loads: None
        self.on_judgements: Callable[[dict[str, dict[str, Judgements]]], None] = lambda judgements: None
        self._endpoints: dict[str, tuple[AnnouncedEndpoint, ...]] = {}
        self._sequence = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.running = True
        self.net.fabrics[self.name] = self
        self.net.states[self.name] = "alive"
        self._task = asyncio.get_running_loop().create_task(self._run())
        self.publish()

    async def stop(self) -> None:
        if self.running and self._task is not None:
            self.running = False
            self._task.cancel()
            self.net.states[self.name] = "left"
            self.net.told()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TOLD_S)
            self.publish()
            self.on_loads({peer.name: Reported(peer.said.load) for peer in self._peers()})
            self.on_judgements({peer.name: peer.said.judgements for peer in self._peers() if peer.said.judgements})

    def _peers(self) -> list["FakeFabric"]:
        found = self.net.fabrics.items() if self.running else []
        return [fabric for name, fabric in sorted(found) if name != self.name and self.net.states[name] in ("alive", "suspect")]

    def look(self) -> None:
        endpoints: dict[str, tuple[AnnouncedEndpoint, ...]] = {}
        for peer in self._peers():
            for fact in peer.said.endpoints:
                endpoints[fact.service] = (*endpoints.get(fact.service, ()), AnnouncedEndpoint(peer.name, fact))
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self.on_endpoints(endpoints)

    def members(self) -> list[FakeRow]:
        return [FakeRow(name, state) for name, state in sorted(self.net.states.items())]

    def region_round_trips(self) -> dict[str, float]:
        return self.regions

    def holders(self, keys: tuple[bytes, ...]) -> tuple[list[str], int]:
        telling = [(peer.name, peer.said.hot) for peer in self._peers() if peer.said.hot is not None]
        return [name for name, hot in telling if any(may_hold(hot, key) for key in keys)], len(telling)

    async def ask_load(self, name: str, wait_s: float) -> Load:
        for peer in self._peers():
            if peer.name == name:
                return peer.said.load
        raise TimeoutError(name)

    def publish(self) -> None:
        if self.running:
            self.said = self.facts()
            self.net.told()

    def invalidate(self, kind: str, host: bytes, value: bytes, soft: bool) -> str:
        if len(host) + len(value) > NAME_BYTES_MAX and kind not in ("url", "prefix"):
            raise ValueError(f"what an invalidation names has at most {NAME_BYTES_MAX} octets")
        self._sequence += 1
        for peer in self._peers():
            peer.on_invalidation(Invalidation(self.name, 1, self._sequence, kind, soft, host, value))
        return encode_context((Stream(self.name, 1, self._sequence),))

    async def invalidate_and_wait(self, kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: str = "") -> PurgeResult:
        if after:
            decode_context(after)
        context = self.invalidate(kind, host, value, soft)
        count = len(self._peers()) + 1
        return PurgeResult(count, count, context=context)
