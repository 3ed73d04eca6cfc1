"""What one region asks others: who there has a purge, to change their key rings, who their gateways are.

Any agent asks a gateway of its region (`Regions.ask`); that one asks a gateway of each other region (`GatewayAnswers`), and that one its
own region. Each step is a question of `asks`, with what is said below as JSON in it. Of a region that does not answer in time nothing is
known, and it is named.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from agent.core.gossip.across import inside, renamed
from agent.core.gossip.face import PurgeResult, RegionResult
from agent.core.gossip.facts import FarRegions, Load
from agent.core.gossip.invalidation import FENCE
from agent.core.gossip.messages import Stream

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric
    from agent.cluster.gateway import Gateway

ACROSS: Final = "across"
"""The question to a gateway of one's own region; its arguments are a question to all others."""
PURGE, KEYS, WAN_MEMBERS = "far-purge", "far-keys", "wan-members"
GREET_S: Final = 1.0
"""A gateway is one that answers a ping so soon; two are tried at once."""
SHARE_ACROSS: Final = 0.9
SHARE_THERE: Final = 0.8
"""Of the time that the caller waits: those who are asked must answer before it is over."""
NAMED_MAX: Final = 100
UNREACHABLE: Final = float("inf")
MEMBERS_WAIT_S: Final = 2.0


class FarPurge(Struct, frozen=True):
    """Who has all of `context`, which names streams as other regions call them? wait_s: until this has passed, or all have."""

    context: Annotated[tuple[Stream, ...], Meta(max_length=32)]
    wait_s: Annotated[float, Meta(gt=0.0, le=60.0)]


class FarKeys(Struct, frozen=True):
    """Do this with your region's key rings."""

    operation: Annotated[str, Meta(max_length=16)]
    key: Annotated[str, Meta(max_length=128)] = ""


class RegionPurged(Struct, frozen=True):
    """How far a purge came in one region."""

    region: str
    acked: int
    of: int
    missing: tuple[str, ...] = ()


class RegionKeys(Struct, frozen=True):
    """How far an order to the key rings came in one region. holders: fingerprint → how many members have it."""

    region: str
    acknowledged: int
    of: int
    errors: dict[str, str] = {}
    holders: dict[str, int] = {}


T = TypeVar("T", RegionPurged, RegionKeys, Load)


def said(what: Struct) -> str:
    return msgspec.json.encode(what).decode()


def heard(text: str, kind: type[T]) -> T:
    """Raises ValueError."""
    return msgspec.json.decode(text, type=kind)


class Regions:
    """What an agent knows of other regions: what the gateways of its own tell it."""

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self._known: dict[str, float] = {}
        self.own = ""
        """What this region is called by others; empty while no gateway has said so."""

    def look(self) -> None:
        """Each second: take what the gateways say now."""
        said_by = self.said()
        for fact in said_by.values():
            self.own = fact.own
        nearest: dict[str, float] = {}
        for fact in said_by.values():
            for name, seconds in fact.seconds.items():
                before = nearest.get(name, 0.0)
                nearest[name] = min(seconds, before) if seconds and before else seconds or before
        # Names are kept without a gateway too: it is told of them that they cannot be reached.
        self._known = {**dict.fromkeys(self._known, UNREACHABLE), **nearest}

    def said(self) -> dict[str, FarRegions]:
        """Gateway of this region → what it says of others."""
        fabric = self._fabric
        found = fabric.peers.far_regions()
        if fabric.gateway is not None and fabric.gateway.far is not None:
            found[fabric.name] = fabric.gateway.far
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """All that there have been, reachable or not."""
        return tuple(sorted(self._known))

    def round_trips(self) -> dict[str, float]:
        """To the regions that can be reached, seconds between gateways; 0 where that was not measured yet."""
        return {name: seconds for name, seconds in self._known.items() if seconds != UNREACHABLE}

    async def ask(self, what: str, argument: str, wait_s: float) -> dict[str, str]:
        """Region → what one of its gateways answers; those that are missing do not answer."""
        fabric = self._fabric
        if fabric.gateway is not None:
            return await fabric.gateway.answers.across(what, argument, wait_s)
        facts = self.said()
        most = max((len(fact.seconds) for fact in facts.values()), default=0)
        gateway = await greeted(fabric, (name for name, fact in facts.items() if len(fact.seconds) == most), wait_s)
        if not gateway:
            return {}
        answers = await fabric.asks.ask((gateway,), fabric.stamps.now(), ACROSS, (what, argument, f"{wait_s:.3f}"), wait_s)
        found = answers.get(gateway)
        return dict(zip(found.values[::2], found.values[1::2], strict=False)) if found is not None else {}

    async def purged(self, context: tuple[Stream, ...], wait_s: float) -> list[RegionPurged]:
        """How far what a context names came elsewhere."""
        answers = await self.ask(PURGE, said(FarPurge(context, wait_s * SHARE_THERE)), wait_s)
        return [heard(text, RegionPurged) for text in answers.values() if text]

    async def keys(self, operation: str, key: str, wait_s: float) -> list[RegionKeys]:
        """The same order in all other regions."""
        answers = await self.ask(KEYS, said(FarKeys(operation, key)), wait_s)
        return [heard(text, RegionKeys) for text in answers.values() if text]

    async def members(self, wait_s: float) -> list[dict[str, Any]] | None:
        """The gateways of all regions, as one of this region sees them. None: no gateway answers."""
        fabric = self._fabric
        if fabric.gateway is not None:
            return fabric.gateway.members()
        gateway = await greeted(fabric, self.said(), wait_s)
        answers = await fabric.asks.ask((gateway,) if gateway else (), fabric.stamps.now(), WAN_MEMBERS, (), wait_s)
        return msgspec.json.decode(answers[gateway].values[0]) if gateway in answers and answers[gateway].values else None

    async def shown(self) -> dict[str, Any]:
        """For the admin API."""
        reached = self.round_trips()
        return {
            "region": self._fabric.region,
            "gateway": self._fabric.gateway is not None,
            "regions": {name: round(reached[name] * 1000, 3) if name in reached else None for name in self.names},
            "members": await self.members(MEMBERS_WAIT_S),
        }


async def greeted(fabric: "Fabric", names: Iterable[str], wait_s: float) -> str:
    """The first of some members that answers; empty where none does."""
    answers = await fabric.asks.ask(names, fabric.stamps.now(), "echo", (), min(GREET_S, wait_s / 2), enough=1)
    return next(iter(answers), "")


class GatewayAnswers:
    """What a gateway does for its region, and for others'."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    async def act(self, what: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """A member of the region asks. Raises ValueError."""
        if what == WAN_MEMBERS:
            return (msgspec.json.encode(self._gateway.members()).decode(),)
        found = await self.across(arguments[0], arguments[1], min(float(arguments[2]), 60.0))
        return tuple(text for pair in found.items() for text in pair)

    async def across(self, what: str, argument: str, wait_s: float) -> dict[str, str]:
        """Ask a gateway of every other region."""
        by_region = self._gateway.by_region()
        asked = [self._ask(names, what, argument, wait_s * SHARE_ACROSS) for names in by_region.values()]
        return {region: text for region, text in zip(by_region, await asyncio.gather(*asked), strict=True) if text}

    async def _ask(self, names: list[str], what: str, argument: str, wait_s: float) -> str:
        wan = self._gateway.wan
        assert wan is not None
        name = await greeted(wan, names, wait_s)
        answers = await wan.asks.ask((name,) if name else (), wan.stamps.now(), what, (argument,), wait_s)
        found = answers.get(name)
        return found.values[0] if found is not None and found.values else ""

    async def act_far(self, what: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Another region's gateway asks. Raises ValueError."""
        lan = self._gateway.lan
        if what == PURGE:
            wish = msgspec.json.decode(arguments[0], type=FarPurge)
            after = renamed(wish.context, lan.region, out=False)
            result = await lan.purges.issue_and_wait(FENCE, b"", b"", True, wish.wait_s, after)
            missing = (*result.missing, *result.early)[:NAMED_MAX]
            return (said(RegionPurged(lan.region, result.acked, result.of, missing)),)
        if what == KEYS:
            order = msgspec.json.decode(arguments[0], type=FarKeys)
            return (said(await lan.key_orders.give_here(order.operation, order.key)),)
        return await not_known(what, arguments)


async def not_known(what: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The answer of who is no gateway. Raises ValueError."""
    raise ValueError(f"{what!r} is not known here")


async def waited(
    fabric: "Fabric", kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: tuple[Stream, ...]
) -> PurgeResult:
    """Issue an invalidation and wait for the members of all regions."""
    regions = fabric.regions
    asking: list[asyncio.Task[list[RegionPurged]]] = []

    def on_number(sequence: int) -> None:
        if regions.names and wait_s > 0.0:
            own = Stream(fabric.name, fabric.gossiper.core.invalidations.own.generation, sequence)
            asking.append(asyncio.ensure_future(regions.purged(renamed((own, *after), regions.own, out=True), wait_s)))

    here = await fabric.purges.issue_and_wait(kind, host, value, soft, wait_s, after, on_number)
    if not asking:
        return here
    there = {each.region: each for each in await asking[0]}
    missing = (*here.missing, *(far_name(each.region, name) for each in there.values() for name in each.missing))
    return replace(
        here,
        acked=here.acked + sum(each.acked for each in there.values()),
        of=here.of + sum(each.of for each in there.values()),
        missing=missing[:NAMED_MAX],
        regions={
            regions.own: RegionResult(here.acked, here.of),
            **{name: RegionResult(each.acked, each.of) for name, each in sorted(there.items())},
        },
        unreachable=tuple(name for name in regions.names if name not in there),
    )


def far_name(region: str, name: str) -> str:
    """A member of another region, for people."""
    return f"{region}/{inside(name, region)}"
