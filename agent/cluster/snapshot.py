"""The cluster as the admin API and its page show it: plain values, ready for JSON."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from agent.cluster.identity import Profile, decode_profile
from agent.core.gossip.facts import HEALTH_LEVELS, Announced, CacheUse, Fact, Health, HotKeys, Judgements, Load, RoundTrips
from agent.core.swim.members import place_of
from agent.core.swim.messages import STATE_NAMES, NodeState

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric
    from agent.cluster.gateway import Gateway

BREAKERS = ("closed", "open", "half-open")


class Row(Struct, frozen=True):
    """A member. rtt_ms: smoothed, 0 where it has not been measured; since_s: in this state for so long, as this agent saw it."""

    name: str
    address: str
    state: str
    incarnation: int
    since_s: float
    rtt_ms: float
    profile: Profile
    versions: tuple[int, ...]

    @property
    def region(self) -> str:
        return self.profile.region

    @property
    def zone(self) -> str:
        return self.profile.zone

    @property
    def tags(self) -> dict[str, str]:
        return self.profile.tags


def row(node: NodeState, since_s: float, rtt_s: float) -> Row:
    host, port = place_of(node.address, node.port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Row(
        node.name,
        address,
        STATE_NAMES[node.state],
        node.incarnation,
        round(since_s, 1),
        round(rtt_s * 1000, 3),
        decode_profile(node.meta),
        node.versions,
    )


def snapshot(fabric: "Fabric") -> dict[str, Any]:
    """All of it."""
    rows = fabric.members()
    own = next(each for each in rows if each.name == fabric.name)
    health = fabric.facts_of(fabric.name).get("health")
    return {
        "self": {
            "name": own.name,
            "address": own.address,
            "region": own.region,
            "zone": own.zone,
            "cluster": fabric.config.name,
            "preset": fabric.config.preset,
            "incarnation": own.incarnation,
            "encrypted": fabric.keys.ring is not None,
            "health_score": fabric.swim.health,
            "health": _health(health if isinstance(health, Health) else Health()),
        },
        "members": [_member(each, fabric.facts_of(each.name)) for each in sorted(rows, key=lambda each: each.name)],
        "keys": fabric.keys.fingerprints(),
        "gossip": fabric.figures.gossip(),
        "invalidations": fabric.figures.invalidations(),
        "wan": _wan(fabric.gateway, fabric.gateway.wan) if fabric.gateway is not None and fabric.gateway.wan is not None else None,
    }


def row_shown(row: Row) -> dict[str, Any]:
    """A gateway's."""
    return {
        "name": row.name,
        "address": row.address,
        "region": row.region,
        "state": row.state,
        "since_s": row.since_s,
        "rtt_ms": row.rtt_ms or None,
    }


def _wan(gateway: "Gateway", wan: "Fabric") -> dict[str, Any]:
    """The gateways of all regions, as this one sees them."""
    return {
        "name": wan.name,
        "members": gateway.members(),
        "gossip": wan.figures.gossip(),
        "invalidations": {**wan.figures.invalidations(), "made_up": gateway.bridge.made_up},
    }


def _member(row: Row, facts: dict[str, Fact]) -> dict[str, Any]:
    health, load, cache, peers, hot = (facts.get(key) for key in ("health", "load", "cache", "peers", "hot"))
    profile = row.profile
    return {
        "name": row.name,
        "address": row.address,
        "region": row.region,
        "zone": row.zone,
        "state": row.state,
        "since_s": row.since_s,
        "incarnation": row.incarnation,
        "rtt_ms": row.rtt_ms or None,
        "roles": list(profile.roles),
        "admin": profile.admin,
        "tags": profile.tags,
        "versions": {"agent": profile.version, "gossip": profile.gossip, "protocol": row.versions[2], "delegate": row.versions[5]},
        "health": _health(health) if isinstance(health, Health) else None,
        "load": _load(load) if isinstance(load, Load) else None,
        "cache": (
            {"entries": cache.entries, "bytes": cache.size_bytes, "hits": cache.hits, "asked": cache.asked}
            if isinstance(cache, CacheUse)
            else None
        ),
        "hot": {"keys": hot.keys, "bits": len(hot.bits) * 8} if isinstance(hot, HotKeys) else None,
        "peers_ms": {name: round(s * 1000, 3) for name, s in peers.seconds.items()} if isinstance(peers, RoundTrips) else None,
        "announced": [_announced(fact) for _, fact in sorted(facts.items(), key=lambda item: item[0]) if isinstance(fact, Announced)],
        "judgements": [
            {"service": key.partition(":")[2], "address": address, "breaker": BREAKERS[state.breaker], "ejected": state.ejected}
            for key, fact in sorted(facts.items(), key=lambda item: item[0])
            if isinstance(fact, Judgements)
            for address, state in sorted(fact.endpoints.items())
        ],
    }


def _health(health: Health) -> dict[str, Any]:
    return {"level": HEALTH_LEVELS[health.level], "reason": health.reason}


def _load(load: Load) -> dict[str, Any]:
    return {
        "cpu": load.cpu,
        "memory": load.memory,
        "loop_lag_s": load.loop_lag,
        "in_flight": load.in_flight,
        "queue": load.queue,
        "ai": load.ai,
        "latency": {
            service: {"p50_ms": round(each.p50 * 1000, 3), "p99_ms": round(each.p99 * 1000, 3)} for service, each in load.latency.items()
        },
    }


def _announced(fact: Announced) -> dict[str, Any]:
    host = f"[{fact.address}]" if ":" in fact.address else fact.address
    address = f"{host}:{fact.port}"
    return {"service": fact.service, "address": address, "weight": fact.weight, "healthy": fact.healthy, "tags": fact.tags}
