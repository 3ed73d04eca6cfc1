"""Regions of gossip cores, and their gateways' cores with the bridges between, over one network and one seed."""

from collections import Counter
from collections.abc import Callable

from agent.core.gossip.across import Bridge, Carried
from agent.core.gossip.core import GossipConfig
from agent.core.gossip.io import Apply, Effect, Invalidate, MemberGone, MemberUp, PushPullIn
from agent.core.gossip.messages import Invalidation
from tests.sim.gossip_net import HEADERS_BYTES, Host, Net

LOOK_S = 1.0
WAN = "."
"""What the names of the gateways' own cluster have, as ``r0-web-0.wan``."""


class Regions(Net):
    """`count` regions (r0, r1, …) of `members`, the first `gateways` of which are ones. across_s: one way between gateways."""

    def __init__(
        self,
        count: int,
        members: int,
        gateways: int = 1,
        seed: int = 1,
        loss: float = 0.0,
        across_s: float = 0.05,
        config: GossipConfig | None = None,
    ) -> None:
        super().__init__(0, seed, loss, config)
        self.across_s = across_s
        self.wan_bytes: Counter[str] = Counter()
        self.bridges: dict[str, Bridge] = {}
        self.links: Callable[[str, str], bool] = lambda source, to: False
        """Whether the link between two regions is cut."""
        self.names = {f"r{region}": [f"r{region}-web-{number}" for number in range(members)] for region in range(count)}
        for names in self.names.values():
            self._group(names)
            for name in names[:gateways]:
                self._gateway(name)
        self._group([f"{name}{WAN}wan" for name in self.bridges])

    def _group(self, names: list[str]) -> None:
        for name in names:
            host = self.hosts.get(name) or self.add(name, 1)
            for other in names:
                host.give(MemberUp(other))

    def _gateway(self, name: str) -> None:
        self.bridges[name] = Bridge(name.partition("-")[0], name)
        self.add(f"{name}{WAN}wan", 1)
        self.at(self.now + LOOK_S * self.random.random(), lambda: self._look(name))

    def add(self, name: str, generation: int) -> Host:
        host = super().add(name, generation)
        before = host.carry_out

        def carry_out(effect: Effect) -> None:
            before(effect)
            if isinstance(effect, Apply):
                self._bridged(name, effect.invalidation)

        host.carry_out = carry_out  # type: ignore[method-assign]
        return host

    def _bridged(self, name: str, item: Invalidation) -> None:
        bridge = self.bridges.get(name.partition(WAN)[0])
        if bridge is not None:
            self._carry(bridge.name, bridge.carry_in(item) if WAN in name else bridge.carry_out(item))

    def _carry(self, name: str, carried: Carried | None) -> None:
        if carried is not None:
            host = self.hosts[f"{name}{WAN}wan" if carried.to_wan else name]
            if host.up:
                self.at(self.now, lambda: host.give(carried.item))

    def _look(self, name: str) -> None:
        lan, wan = self.hosts[name], self.hosts[f"{name}{WAN}wan"]
        if lan.up and wan.up:
            for carried in self.bridges[name].compare(self.now, lan.core.invalidations, wan.core.invalidations):
                self._carry(name, carried)
        self.at(self.now + LOOK_S, lambda: self._look(name))

    # -- what happens

    def issue(self, name: str, order: Invalidate) -> None:
        """By that agent, which tells its own gateway's part, if it has one, at once."""
        host = self.hosts[name]
        host.give(order)
        made = Invalidation(
            name, host.core.invalidations.own.generation, host.issued[-1].sequence, order.kind, order.soft, order.host, order.value
        )
        self._bridged(name, made)

    def stop_gateway(self, name: str) -> None:
        """It dies, in its region and among the gateways."""
        for each in (name, f"{name}{WAN}wan"):
            self.hosts[each].up = False
            for other in self._others(each):
                other.give(MemberGone(each))

    def start_gateway(self, name: str, generation: int) -> None:
        """It comes back, remembering nothing, and joins both sides."""
        for each in (name, f"{name}{WAN}wan"):
            host = self.add(each, generation)
            others = self._others(each)
            for other in others:
                host.give(MemberUp(other.name))
                other.give(MemberUp(each))
            if others:
                host.give(PushPullIn(others[0].core.push_pull(self.now), True))

    def _others(self, name: str) -> list[Host]:
        def group(each: str) -> str:
            return "wan" if WAN in each else each.partition("-")[0]

        return [host for host in self.live() if host.name != name and group(host.name) == group(name)]

    def members(self) -> list[Host]:
        """Without the gateways' second cores."""
        return [host for host in self.live() if WAN not in host.name]

    # -- the network

    def packet(self, source: str, to: str, payload: bytes, headers: int = HEADERS_BYTES) -> None:
        if WAN in source:
            self.wan_bytes[source] += len(payload) + headers
        super().packet(source, to, payload, headers)

    def stream(self, source: str, to: str, payload: bytes) -> None:
        if WAN in source:
            self.wan_bytes[source] += len(payload) + 3 * HEADERS_BYTES
        super().stream(source, to, payload)

    def _deliver(self, source: str, to: str, delay: float, item: object) -> None:
        ours, theirs = source.partition("-")[0], to.partition("-")[0]
        if ours != theirs:
            delay += self.across_s
            if self.links(ours, theirs):
                return
        super()._deliver(source, to, delay, item)  # type: ignore[arg-type]
