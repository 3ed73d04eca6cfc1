"""An agent that speaks for its region: a member of a second cluster, that of all regions' gateways, and what it passes between the two.

Endpoints: each gateway tells the others what its region announces, and its region what the others tell, a handful of keys for each region.
Several gateways of a region tell the same; what one of them says counts while that one is there.

Invalidations: each gateway repeats among the gateways what its region says, and in its region what gateways say, with the origin's own
numbers (`agent.core.gossip.across`), so that whoever hears it twice knows, and whoever misses it sees a gap.
"""

import time
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from agent.cluster.config import ClusterDiscovery, ClusterWan
from agent.cluster.fabric import Fabric
from agent.cluster.far import GatewayAnswers
from agent.cluster.peers import Endpoints
from agent.cluster.snapshot import row_shown
from agent.core.gossip.across import Bridge, Carried
from agent.core.gossip.face import AnnouncedEndpoint
from agent.core.gossip.facts import Announced, Far, FarRegions, encode
from agent.core.gossip.messages import Invalidation

PARTS: Final = 8
"""Keys for a region's endpoints, each of which is one of them by its address: a change of one tells an eighth again."""
PART_BYTES_MAX: Final = 4_000
PART_ENDPOINTS_MAX: Final = 256
REGIONS_MAX: Final = 20
"""Others; so that with their keys there is room for the gateway's own (256 in all)."""
ALONE_S: Final = 5.0
"""Who has met nobody by then is the first there."""


class Gateway:
    """Beside `lan`, which starts and stops it. The second cluster is a `Fabric` of its own, with the same keys and certificates."""

    def __init__(self, lan: Fabric, config: ClusterWan) -> None:
        self.lan = lan
        self.config = config
        self.wan: Fabric | None = None
        self.left_out = 0
        """Endpoints for which there was no room when they were told last."""
        self._own: tuple[Announced, ...] = ()
        self._across: list[AnnouncedEndpoint] = []
        self.bridge = Bridge(lan.region, lan.name)
        self.answers = GatewayAnswers(self)
        self.far: FarRegions | None = None
        self._started_at = 0.0

    async def start(self) -> None:
        """Listen, and look for other gateways. Raises OSError as `Fabric.start` does."""
        lan, config = self.lan, self.config
        settings = replace(
            lan.config,
            bind=config.bind,
            advertise=config.advertise,
            name=f"{lan.config.name}.wan",
            preset=config.preset,
            seeds=config.seeds,
            discovery=ClusterDiscovery(),
            wan=None,
        )
        wan = Fabric(settings, f"{lan.name}.{lan.region}", lan.region, "", lan.log, lan.keys)
        wan.on_endpoints = self._on_endpoints
        wan.on_invalidation = self._on_invalidation
        wan.passes_fences = True
        # What is lost between gateways the region's members see themselves, by the numbers that they miss.
        wan.act = self.answers.act_far
        lan.act = self.answers.act
        await wan.start()
        self.wan = wan
        self._started_at = time.monotonic()
        self.export()
        self._on_endpoints(wan.peers.endpoints)

    async def leave(self) -> None:
        """Tell the other gateways that this one goes."""
        if self.wan is not None:
            await self.wan.leave()

    async def stop(self) -> None:
        if self.wan is not None:
            await self.wan.stop()

    # -- endpoints

    def on_own(self, endpoints: tuple[Announced, ...]) -> None:
        """What this agent itself announces."""
        if endpoints != self._own:
            self._own = endpoints
            self.export()

    def export(self) -> None:
        """Tell the other gateways what the region announces now."""
        if self.wan is None or not self.wan.running:
            return
        region = self.lan.region
        found = [*self._own, *(one.fact for each in self.lan.peers.endpoints.values() for one in each if not one.far)]
        values, left_out = parts(region, (replace(fact, region=region) for fact in found))
        self.wan.publisher.tell_far(values)
        self._note(left_out)

    def beside(self, endpoints: Endpoints) -> Endpoints:
        """These, and what other regions' gateways tell this one."""
        found = {service: list(each) for service, each in endpoints.items()}
        for one in self._across:
            found.setdefault(one.fact.service, []).append(one)
        return {service: tuple(each) for service, each in found.items()}

    def _on_endpoints(self, endpoints: Endpoints) -> None:
        """The gateways say these now. A region is what a gateway is in: none can speak for another, or for ours."""
        wan, lan = self.wan, self.lan
        if wan is None:
            return
        regions = {name: profile.region for name, profile in wan.peers.live.items() if profile.region not in ("", lan.region)}
        taken = sorted(set(regions.values()))[:REGIONS_MAX]
        self._across = [
            AnnouncedEndpoint(one.member, replace(one.fact, region=regions[one.member]), True)
            for each in endpoints.values()
            for one in each
            if one.far and regions.get(one.member) in taken
        ]
        lan.tell_endpoints()
        if lan.running:
            values: dict[str, bytes] = {}
            left_out = 0
            for region in taken:
                more, without = parts(region, (one.fact for one in self._across if one.fact.region == region))
                values.update(more)
                left_out += without
            lan.publisher.tell_far(values)
            self._note(left_out)

    def _note(self, left_out: int) -> None:
        if left_out and left_out != self.left_out:
            self.lan.log.warning("cluster_endpoints_left_out", count=left_out, text="a region has more endpoints than are told to others")
        self.left_out = left_out

    # -- invalidations

    def on_lan_invalidation(self, item: Invalidation) -> None:
        """A member of the region, this one among them, issued it, or it came from outside."""
        self._carry(self.bridge.carry_out(item))

    def _on_invalidation(self, item: Invalidation) -> None:
        """A gateway says it. The region hears of it as of any other; so do we, by that way."""
        self._carry(self.bridge.carry_in(item))

    def _carry(self, carried: Carried | None) -> None:
        if carried is not None and self.wan is not None:
            side = self.wan if carried.to_wan else self.lan
            if side.running:
                side.gossiper.feed(carried.item)

    def look(self, now: float) -> None:
        """Each second: make up for what one side has missed, and tell the region which others there are, and how far they are."""
        lan, wan = self.lan, self.wan
        if wan is None or not wan.running or not lan.running:
            return
        self.far = self._far(wan)
        lan.publisher.tell_regions(self.far)
        alone = now - self._started_at > ALONE_S
        if (lan.gossiper.core.met or alone) and (wan.gossiper.core.met or alone):
            for carried in self.bridge.compare(now, lan.gossiper.core.invalidations, wan.gossiper.core.invalidations):
                self._carry(carried)

    # -- other regions

    def by_region(self) -> dict[str, list[str]]:
        """Other regions and their gateways that are there, the nearest first."""
        wan = self.wan
        if wan is None:
            return {}
        found: dict[str, list[str]] = {}
        for name, profile in wan.peers.live.items():
            if profile.region not in ("", self.lan.region):
                found.setdefault(profile.region, []).append(name)
        for names in found.values():
            names.sort(key=lambda name: (wan.swim.rtt_s(name) or float("inf"), name))
        return dict(sorted(found.items()))

    def _far(self, wan: Fabric) -> FarRegions:
        by_region = self.by_region()
        return FarRegions(
            self.lan.region, {name: round(wan.swim.rtt_s(names[0]), 5) for name, names in list(by_region.items())[:REGIONS_MAX]}
        )

    def members(self) -> list[dict[str, Any]]:
        """The gateways of all regions, as this one sees them."""
        wan = self.wan
        return [] if wan is None else [row_shown(each) for each in sorted(wan.members(), key=lambda each: (each.region, each.name))]


def parts(region: str, endpoints: Iterable[Announced]) -> tuple[dict[str, bytes], int]:
    """Endpoints of a region as keys and values of gossiped state, the same whoever makes them; and how many found no room."""
    found = {(each.service, each.address, each.port): each for each in endpoints}
    chosen: dict[int, list[Announced]] = {}
    room: dict[int, int] = {}
    left_out = 0
    for key in sorted(found):
        part = crc32("\0".join((key[0], key[1], str(key[2]))).encode()) % PARTS
        size = len(encode(found[key]))
        several = chosen.setdefault(part, [])
        if size > room.setdefault(part, PART_BYTES_MAX) or len(several) == PART_ENDPOINTS_MAX:
            left_out += 1
            continue
        several.append(found[key])
        room[part] -= size
    return {f"far:{region}:{part}": encode(Far(tuple(each))) for part, each in sorted(chosen.items()) if each}, left_out
