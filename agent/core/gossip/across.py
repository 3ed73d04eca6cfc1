"""Invalidations between regions: how origins are called outside their region, and what a gateway carries from one side to the other.

Outside its region an origin is called by region and name, and keeps its numbers there. So an agent in another region sees what it misses
by the same gaps as at home, whichever gateways it came by and however long there was none: nothing is lost in silence between two.

A gateway takes part on both sides. What it hears for the first time on one it says on the other (`carry_out`, `carry_in`). Where one side
knows of numbers that the other has never heard of, because no gateway was there to say them, it fetches and repeats them, and tells that
they exist (`Bridge.compare`): who then cannot get them marks stale what it holds.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from agent.core.gossip.io import Input, Received, Want
from agent.core.gossip.messages import Invalidation, Invalidations, Stream, Streams, encode
from agent.core.gossip.streams import MISSING_MAX, StreamState

if TYPE_CHECKING:
    from agent.core.gossip.invalidation import Invalidator

BORDER: Final = "\x1f"
"""Between region and name. No name of an agent has it: they are printable."""
RECENT_S: Final = 1_800.0
"""Streams that have been quiet for longer are not compared: one side may have forgotten them already."""


def region_of(origin: str) -> str:
    """The region that an origin is called by; empty where it is of the hearer's own."""
    return origin.partition(BORDER)[0] if BORDER in origin else ""


def outside(origin: str, region: str) -> str:
    """What an origin of that region is called elsewhere; one of a third region keeps its name."""
    return origin if BORDER in origin or not region else region + BORDER + origin


def inside(origin: str, region: str) -> str:
    """What it is called within that region."""
    return origin.partition(BORDER)[2] if region and region_of(origin) == region else origin


def renamed(context: Iterable[Stream], region: str, *, out: bool) -> tuple[Stream, ...]:
    """A context as it is said outside the region, or within it."""
    name = outside if out else inside
    return tuple(Stream(name(each.origin, region), each.generation, each.sequence) for each in context)


def shown(origin: str) -> str:
    """For people."""
    return origin.replace(BORDER, "/")


class Carried(Struct, frozen=True):
    """An input for the core of one side."""

    to_wan: bool
    item: Input


class Bridge:
    """One gateway's. name: of the agent. The host gives each `Carried` to the core of that side."""

    def __init__(self, region: str, name: str) -> None:
        self.region = region
        self.name = name
        self._ahead: dict[tuple[bool, str, int], int] = {}
        """What one side knew beyond the other when that was looked at last: side, stream → number."""
        self.made_up = 0
        """Numbers that one side had missed."""

    def carry_out(self, item: Invalidation) -> Carried | None:
        """The region hears it; None: it came from outside."""
        if BORDER in item.origin:
            return None
        return Carried(True, _repeat(item, outside(item.origin, self.region)))

    def carry_in(self, item: Invalidation) -> Carried | None:
        """The gateways hear it. What another gateway of this region said is news only where the region has fallen apart."""
        name = inside(item.origin, self.region)
        return Carried(False, _repeat(item, name)) if BORDER in item.origin and name != self.name else None

    def compare(self, now: float, lan: "Invalidator", wan: "Invalidator") -> list[Carried]:
        """To be called each second: what one side is ahead by at two looks running is made up for."""
        found: list[Carried] = []
        ahead: dict[tuple[bool, str, int], int] = {}
        for to_wan, stream, other in self._pairs(lan, wan):
            theirs = (wan if to_wan else lan).streams.get((other, stream.generation))
            known = theirs.highest if theirs is not None else 0
            if stream.highest > known and now - stream.advanced_at < RECENT_S and not self._is_over(wan if to_wan else lan, stream, other):
                key = (to_wan, other, stream.generation)
                if key in self._ahead:
                    found.extend(self._make_up(to_wan, stream, known, other, lan if to_wan else wan))
                else:
                    ahead[key] = stream.highest
        self._ahead = ahead
        return found

    def _pairs(self, lan: "Invalidator", wan: "Invalidator") -> Iterator[tuple[bool, StreamState, str]]:
        """Whether it is to be said to the gateways, the stream, and what it is called there."""
        for (origin, _), stream in sorted(lan.streams.items()):
            if BORDER not in origin:
                yield True, stream, outside(origin, self.region)
        for (origin, _), stream in sorted(wan.streams.items()):
            name = inside(origin, self.region)
            if BORDER in origin and name != self.name:
                yield False, stream, name

    def _is_over(self, there: "Invalidator", stream: StreamState, other: str) -> bool:
        """An earlier life than those that are told apart there."""
        return there.stream_key(other, stream.generation) is None

    def _make_up(self, to_wan: bool, stream: StreamState, known: int, other: str, here: "Invalidator") -> Iterator[Carried]:
        numbers = range(known + 1, stream.highest + 1)
        self.made_up += len(numbers)
        fetch: list[int] = []
        if len(numbers) <= MISSING_MAX:
            for number in numbers:
                item = here.ring.get(stream.origin, stream.generation, number)
                if item is not None:
                    yield Carried(to_wan, _repeat(item, other))
                else:
                    fetch.append(number)
        if fetch:
            yield Carried(not to_wan, Want(stream.origin, stream.generation, tuple(fetch)))
        yield Carried(to_wan, Received(encode(Streams("", (Stream(other, stream.generation, stream.highest),)))))


def _repeat(item: Invalidation, origin: str) -> Received:
    return Received(encode(Invalidations((replace(item, origin=origin, ack=False, after=()),), rumour=True)))
