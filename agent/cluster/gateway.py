"""An agent that speaks for its region: a member of a second cluster, that of all regions' gateways, and what it passes between the two.

Endpoints: each gateway tells the others what its region announces, and its region what the others tell, a handful of keys for each region.
Several gateways of a region tell the same; what one of them says counts while that one is there.

Invalidations: what a member of the region issued goes across once from each gateway, under a mark that all of them work out alike; what
comes from across is issued again in the region under that mark, and what bears one never goes across.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from msgspec.structs import replace

from agent.cluster.config import ClusterDiscovery, ClusterWan
from agent.cluster.fabric import Fabric
from agent.cluster.peers import Endpoints
from agent.core.gossip.face import AnnouncedEndpoint
from agent.core.gossip.facts import Announced, Far, encode
from agent.core.gossip.messages import Invalidation

PARTS: Final = 8
"""Keys for a region's endpoints, each of which is one of them by its address: a change of one tells an eighth again."""
PART_BYTES_MAX: Final = 4_000
PART_ENDPOINTS_MAX: Final = 256
REGIONS_MAX: Final = 20
"""Others; so that with their keys there is room for the gateway's own (256 in all)."""
MARKS_MAX: Final = 8_192
"""As many as the ring of invalidations has."""
MARK_BYTES: Final = 12
LOST_S: Final = 0.1
"""What is lost within this time is told the region at once."""


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
        self._marks: dict[bytes, None] = {}
        """Of invalidations that are known on both sides, the oldest first."""
        self._lost: asyncio.TimerHandle | None = None

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
        wan.on_mark_stale = self._on_lost
        await wan.start()
        self.wan = wan
        self.export()
        self._on_endpoints(wan.peers.endpoints)

    async def leave(self) -> None:
        """Tell the other gateways that this one goes."""
        if self.wan is not None:
            await self.wan.leave()

    async def stop(self) -> None:
        if self._lost is not None:
            self._lost.cancel()
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
        """A member of the region, this one among them, issued it: across with it, unless it came from there."""
        mark = item.mark or mark_of(self.lan.region, item)
        if self._is_new(mark) and not item.mark and self.wan is not None and self.wan.running:
            _issue(self.wan, item, mark)

    def _on_invalidation(self, item: Invalidation) -> None:
        """Another gateway issued it."""
        if item.mark and self._is_new(item.mark):
            self.lan.on_invalidation(item)
            if self.lan.running:
                _issue(self.lan, item, item.mark)

    def _on_lost(self, older_than: float) -> None:
        """Invalidations of other regions are lost, or were issued before this gateway came: the region validates what it has."""
        self.lan.on_mark_stale(older_than)
        if self._lost is None:
            self._lost = asyncio.get_running_loop().call_later(LOST_S, self._tell_lost)

    def _tell_lost(self) -> None:
        self._lost = None
        if self.lan.running:
            own = self.lan.gossiper.core.invalidations.own
            mark = mark_of(self.lan.region, Invalidation(self.lan.name, own.generation, own.highest + 1, "all"))
            self._is_new(mark)
            self.lan.purges.issue("all", b"", b"", True, mark)

    def _is_new(self, mark: bytes) -> bool:
        if mark in self._marks:
            return False
        self._marks[mark] = None
        if len(self._marks) > MARKS_MAX:
            del self._marks[next(iter(self._marks))]
        return True


def _issue(fabric: Fabric, item: Invalidation, mark: bytes) -> None:
    try:
        fabric.purges.issue(item.kind, item.host, item.value, item.soft, mark)
    except ValueError:  # a newer agent's kind, for one: what drops more, never less
        fabric.purges.issue("all", b"", b"", True, mark)


def mark_of(region: str, item: Invalidation) -> bytes:
    """What names an invalidation in all regions."""
    said = "\0".join((region, item.origin, str(item.generation), str(item.sequence)))
    return hashlib.blake2b(said.encode(), digest_size=MARK_BYTES).digest()


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
