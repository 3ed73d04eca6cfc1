"""Many gossip cores over a network that loses, delays and partitions, by one seed. Broadcasts go as memberlist's do: every `tick_s` to
`tick_fanout` random members, least sent first, each at most 4 × ceil(log10(n + 1)) times."""

import heapq
from collections import Counter
from collections.abc import Callable
from math import ceil, log10
from random import Random

from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.io import (
    Apply,
    Broadcast,
    Changed,
    Effect,
    Input,
    Issued,
    MarkStale,
    PurgeAnswer,
    PushPullIn,
    Received,
    SendPacket,
    SendStream,
    Wake,
)

HEADERS_BYTES = 28 + 40
"""IP and UDP, and the frame with its encryption."""
RETRANSMIT_MULT = 4


class Host:
    """One agent: its core, its broadcast queue, and what its cache would have been told."""

    def __init__(self, net: "Net", name: str, generation: int) -> None:
        self.net = net
        self.name = name
        self.core = GossipCore(name, generation, net.config, net.random, net.now)
        self.queue: dict[bytes, int] = {}
        self.applied: dict[tuple[str, int, int], float] = {}
        self.stale: list[MarkStale] = []
        self.answers: list[PurgeAnswer] = []
        self.issued: list[Issued] = []
        self.state: dict[tuple[str, str], bytes] = {}
        self.up = True

    def give(self, item: Input) -> None:
        net = self.net
        for effect in self.core.step(net.now, item):
            self.carry_out(effect)
        net.wake_at(self)

    def carry_out(self, effect: Effect) -> None:
        net = self.net
        if isinstance(effect, SendPacket):
            for to in effect.to:
                net.packet(self.name, to, effect.payload)
        elif isinstance(effect, Broadcast):
            self.queue[effect.payload] = 0
        elif isinstance(effect, SendStream):
            net.stream(self.name, effect.to, effect.payload)
        elif isinstance(effect, Apply):
            item = effect.invalidation
            key = (item.origin, item.generation, item.sequence)
            assert key not in self.applied, "applied twice"
            self.applied[key] = net.now
        elif isinstance(effect, MarkStale):
            self.stale.append(effect)
        elif isinstance(effect, PurgeAnswer):
            self.answers.append(effect)
        elif isinstance(effect, Issued):
            self.issued.append(effect)
        elif isinstance(effect, Changed):
            if effect.value is None:
                self.state.pop((effect.node, effect.key), None)
            else:
                self.state[effect.node, effect.key] = effect.value

    def tick(self) -> None:
        """Membership's gossip."""
        net = self.net
        if self.up:
            limit = RETRANSMIT_MULT * ceil(log10(len(self.core.live) + 2))
            for to in net.random.sample(self.core.live, min(net.tick_fanout, len(self.core.live))):
                room = 1300
                for payload in sorted(self.queue, key=self.queue.__getitem__):
                    if len(payload) + 4 <= room:
                        room -= len(payload) + 4
                        net.packet(self.name, to, payload, headers=4)
                        self.queue[payload] += 1
                        if self.queue[payload] >= limit:
                            del self.queue[payload]
        net.at(net.now + net.tick_s, self.tick)


class Net:
    """The event loop and the network."""

    def __init__(
        self, count: int, seed: int, loss: float = 0.0, config: GossipConfig | None = None, tick_s: float = 0.2, tick_fanout: int = 3
    ) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self.loss = loss
        self.config = config or GossipConfig()
        self.tick_s = tick_s
        self.tick_fanout = tick_fanout
        self.cut: Callable[[str, str], bool] = lambda source, to: False
        self.bytes: Counter[str] = Counter()
        self.bytes_by_kind: Counter[int] = Counter()
        self.packets = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._behind = ""
        self._wakes: dict[str, float] = {}
        self.hosts: dict[str, Host] = {}
        names = [f"web-{number}" for number in range(count)]
        for name in names:
            self.add(name, 1)
        for host in self.hosts.values():  # as MemberUp one by one, but for the time that takes
            host.core.live.extend(sorted(set(names) - {host.name}))
            for other in names:
                host.core.nodes.member_up(other)

    def add(self, name: str, generation: int) -> Host:
        host = self.hosts[name] = Host(self, name, generation)
        self.at(self.now + self.tick_s * self.random.random(), host.tick)
        self.wake_at(host)
        return host

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, what))

    def wake_at(self, host: Host) -> None:
        when = max(host.core.next_wake(), self.now)
        if self._wakes.get(host.name, float("inf")) <= when:
            return
        self._wakes[host.name] = when

        def wake() -> None:
            if self._wakes.get(host.name) == when:
                del self._wakes[host.name]
                if host.up and self.hosts[host.name] is host:
                    host.give(Wake())
                    self.wake_at(host)

        self.at(when, wake)

    def packet(self, source: str, to: str, payload: bytes, headers: int = HEADERS_BYTES) -> None:
        assert len(payload) <= 1300, len(payload)
        self.bytes[source] += len(payload) + headers
        self.bytes_by_kind[payload[1]] += len(payload) + headers  # the number that each message begins with
        self.packets += 1
        if self.random.random() >= self.loss:
            # A LAN, and a peer whose loop may have something else to do first.
            self._deliver(source, to, 0.0003 + 0.003 * self.random.random(), Received(payload))

    def stream(self, source: str, to: str, payload: bytes) -> None:
        self.bytes[source] += len(payload) + 3 * HEADERS_BYTES
        self._deliver(source, to, 0.005, Received(payload))

    def _deliver(self, source: str, to: str, delay: float, item: Input) -> None:
        host = self.hosts.get(to)

        def arrive() -> None:
            if host is not None and host.up and self.hosts.get(to) is host:
                host.give(item)

        if host is not None and not self.cut(source, to):
            self.at(self.now + delay, arrive)

    def push_pull_every(self, seconds: float) -> None:
        """As membership does: each member with a random one, that often."""

        def exchange(host: Host) -> None:
            if host.up and host.core.live:
                self.push_pull(host.name, self.random.choice(host.core.live))
            self.at(self.now + seconds, lambda: exchange(host))

        for host in self.hosts.values():
            self.at(self.now + seconds * self.random.random(), lambda host=host: exchange(host))  # type: ignore[misc]

    def push_pull(self, a: str, b: str, join: bool = False) -> None:
        """As membership does it: both sides hand over, both take."""
        one, two = self.hosts[a], self.hosts[b]
        from_one, from_two = one.core.push_pull(self.now), two.core.push_pull(self.now)
        self.bytes[a] += len(from_one)
        self.bytes[b] += len(from_two)
        two.give(PushPullIn(from_one, False))
        one.give(PushPullIn(from_two, join))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Run for that long, or until something holds (looked at every 50 ms); whether it did."""
        end = self.now + seconds
        look_at = self.now
        while self._events and self._events[0][0] <= end:
            if until is not None and self._events[0][0] >= look_at:
                if until():
                    return True
                look_at = self._events[0][0] + 0.05
            when, _, what = heapq.heappop(self._events)
            self.now = max(when, self.now)
            what()
        self.now = end
        return until() if until is not None else True

    # -- what a test asks

    def live(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.up]

    def agrees(self) -> bool:
        """Whether everyone has everyone's state as its owner has it. Looks first at whom it found behind the last time."""
        truth = {host.name: host.core.nodes.own.floor for host in self.live()}
        for host in sorted(self.live(), key=lambda host: host.name != self._behind):
            held = host.core.nodes.by_name
            if any(name not in held or held[name].floor != floor for name, floor in truth.items()):
                self._behind = host.name
                return False
        return True

    def everyone_has(self, origin: str, generation: int, sequences: range) -> bool:
        return all((origin, generation, number) in host.applied for host in self.live() if host.name != origin for number in sequences)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
