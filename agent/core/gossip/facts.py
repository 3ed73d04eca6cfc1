"""What the values of gossiped state mean: health, load, breakers, endpoints, hot keys, cache, round trips, seats.

Each fact is one key of its agent's state.

A value is a msgpack array in the order of the fields below; fields that a newer agent appends are skipped, those that an older one lacks
take their defaults. What does not fit its type or bounds is `UnreadableError`, and the host uses the fact not at all.
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from agent.core.gossip.messages import UNREADABLE, UnreadableError

Short = Annotated[str, Meta(max_length=128)]
Share = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=0)]

HEALTH_LEVELS: Final = ("ok", "degraded", "unhealthy", "leaving")


class Health(Struct, frozen=True, array_like=True):
    """Key `health`. level: an index of HEALTH_LEVELS. Urgent."""

    level: Annotated[int, Meta(ge=0, le=3)] = 0
    reason: Annotated[str, Meta(max_length=256)] = ""


class Latency(Struct, frozen=True, array_like=True):
    """Of one service as this agent sees it; seconds."""

    p50: Share = 0.0
    p99: Share = 0.0


class Load(Struct, frozen=True, array_like=True):
    """Key `load`. cpu, memory: share of the limit, 1.0 is all of it. loop_lag: seconds. ai: share of what the application's own
    processing can take, as it reports over the admin API (1.0: all of it). in_flight, queue: requests at the local application.
    Published through `damper.Damper`."""

    cpu: Share = 0.0
    memory: Share = 0.0
    loop_lag: Share = 0.0
    in_flight: Count = 0
    queue: Count = 0
    ai: Share = 0.0
    latency: Annotated[dict[Short, Latency], Meta(max_length=32)] = {}


BREAKER_CLOSED: Final = 0
BREAKER_OPEN: Final = 1
BREAKER_HALF_OPEN: Final = 2


class EndpointState(Struct, frozen=True, array_like=True):
    """What an agent has come to think of one endpoint."""

    breaker: Annotated[int, Meta(ge=0, le=2)] = BREAKER_CLOSED
    ejected: bool = False


class Judgements(Struct, frozen=True, array_like=True):
    """Key `judge:<service>`. By address; only those that are not closed and in. Urgent."""

    endpoints: Annotated[dict[Short, EndpointState], Meta(max_length=64)] = {}


class Announced(Struct, frozen=True, array_like=True):
    """Key `endpoint:<service>:<port>`. An application that this agent stands beside. Urgent."""

    service: Short
    address: Short
    port: Annotated[int, Meta(ge=1, le=65535)]
    zone: Short = ""
    region: Short = ""
    tags: Annotated[dict[Short, Short], Meta(max_length=16)] = {}
    weight: Annotated[int, Meta(ge=0, le=1000)] = 1
    healthy: bool = True


class Far(Struct, frozen=True, array_like=True):
    """Key `far:<region>:<part>`. Endpoints of a whole region, as its gateways tell other regions and those tell their agents. Urgent."""

    endpoints: Annotated[tuple[Announced, ...], Meta(max_length=256)] = ()


class FarRegions(Struct, frozen=True, array_like=True):
    """Key `regions`. From gateways: what others call this region, and the other regions with a gateway that is there, with the round trip
    to the nearest of theirs, seconds (0: not measured)."""

    own: Short = ""
    seconds: Annotated[dict[Short, Share], Meta(max_length=64)] = {}


class HotKeys(Struct, frozen=True, array_like=True):
    """Key `hot`. A Bloom filter of the keys that are asked for most and held; see `bloom`."""

    bits: Annotated[bytes, Meta(max_length=2048)]
    hashes: Annotated[int, Meta(ge=1, le=16)]
    keys: Count = 0


class CacheUse(Struct, frozen=True, array_like=True):
    """Key `cache`. What the agent's store holds, and how many requests it was asked for and answered since the start."""

    entries: Count = 0
    size_bytes: Count = 0
    hits: Count = 0
    asked: Count = 0


class RoundTrips(Struct, frozen=True, array_like=True):
    """Key `peers`. By member, the smoothed round trip of our probes, seconds; a few members at most, so that it fits a packet."""

    seconds: Annotated[dict[Short, Share], Meta(max_length=24)] = {}


Id = Annotated[int, Meta(ge=0, lt=2**53)]
ABSENT: Final = 0
"""It is of no group (yet), or waits to be let in."""
LEARNER: Final = 1
VOTER: Final = 2
LEADER: Final = 3
CLIENT: Final = 4
"""It asks, and wants to be no member."""
SEAT_ROLES: Final = ("absent", "learner", "voter", "leader", "client")


class Seat(Struct, frozen=True, array_like=True):
    """Key `seat:<group>`. An agent's place in a consensus group. group_id: 0 where it is of none. member: the id of its log. address,
    port: where it hears members. role: of SEAT_ROLES; wants: the most that it may be, LEARNER, VOTER or CLIENT. expect, ballot, promised:
    of founding. durable: its log outlives the process. leaving: it is about to stop for good. tags: digest of what its build knows.
    Urgent."""

    group_id: Id = 0
    member: Id = 0
    address: Short = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    role: Annotated[int, Meta(ge=0, le=4)] = ABSENT
    wants: Annotated[int, Meta(ge=0, le=4)] = CLIENT
    term: Count = 0
    priority: Annotated[int, Meta(ge=0, le=9)] = 1
    durable: bool = False
    leaving: bool = False
    expect: Count = 0
    ballot: Id = 0
    promised: Id = 0
    tags: Short = ""


Fact = Health | Load | Judgements | Announced | Far | FarRegions | HotKeys | CacheUse | RoundTrips | Seat
T = TypeVar("T", Health, Load, Judgements, Announced, Far, FarRegions, HotKeys, CacheUse, RoundTrips, Seat)

_KINDS: Final[dict[str, type[Fact]]] = {
    "health": Health,
    "load": Load,
    "judge": Judgements,
    "endpoint": Announced,
    "far": Far,
    "regions": FarRegions,
    "hot": HotKeys,
    "cache": CacheUse,
    "peers": RoundTrips,
    "seat": Seat,
}
_encoder = msgspec.msgpack.Encoder()


def encode(fact: Fact) -> bytes:
    """The value of a fact."""
    return _encoder.encode(fact)


def decode(key: str, value: bytes) -> Fact | None:
    """The fact that a key's value states; None: a kind that we do not know. UnreadableError names the key and what is wrong."""
    kind = _KINDS.get(key.partition(":")[0])
    if kind is None:
        return None
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except UNREADABLE as error:
        raise UnreadableError(f"{key}: {error}") from None


def readable(key: str, value: bytes) -> Fact | None:
    """The same, and None for what cannot be read, which was counted when it came."""
    try:
        return decode(key, value)
    except UnreadableError:
        return None
