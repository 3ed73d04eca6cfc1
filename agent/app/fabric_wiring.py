"""Introduces the cluster to the agent. Imported only where `cluster` is configured."""

from typing import TYPE_CHECKING

from agent.cluster.fabric import Fabric
from agent.core.gossip.facts import CacheUse
from agent.proxy.counters import CLASSES, HIT, REVALIDATED, STALE

if TYPE_CHECKING:
    from agent.app.config import Settings
    from agent.app.wiring import Agent

ANSWERED = (HIT, STALE, REVALIDATED)


def make_fabric(agent: "Agent", settings: "Settings") -> Fabric:
    """The agent's part in its cluster, not started yet."""
    assert settings.cluster is not None
    fabric = Fabric(settings.cluster, agent.agent_id, settings.agent.region, settings.agent.zone, agent.log)
    if settings.cluster.wan is not None:
        from agent.cluster.gateway import Gateway  # only gateways load it

        fabric.gateway = Gateway(fabric, settings.cluster.wan)
    fabric.cache_use = lambda: _cache_use(agent)
    return fabric


def _cache_use(agent: "Agent") -> CacheUse:
    hits = asked = 0
    for name, books in agent.path.counters.items():
        cluster = agent.path.clusters.get(name)
        if cluster is not None and cluster.service.cache.enabled:
            for index, series in enumerate(books.table):
                if series is not None:
                    asked += series.count
                    hits += series.count if index // CLASSES in ANSWERED else 0
    store = agent.path.store
    return CacheUse(store.count, store.used_bytes, hits, asked)
