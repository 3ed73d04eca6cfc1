"""The agent's counters as Prometheus or OpenMetrics text, put together at the scrape."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from agent import __version__
from agent.admin.catalogue import Families
from agent.admin.cluster_metrics import cluster_metrics
from agent.admin.state_metrics import state_metrics
from agent.proxy.counters import CLASSES, LATENCY_BOUNDS_S, OUTCOMES
from agent.proxy.purging import KINDS
from agent.runtime.build import build

_BOUNDS = (*map(str, LATENCY_BOUNDS_S), "+Inf")


class AgentCollector(Collector):
    """One agent's figures as they are now."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    def collect(self) -> Iterable[Metric]:
        families = Families()
        path = self.agent.path
        for books in [*path.counters.values(), path.none]:
            _service(families, books)
        for name, cluster in path.clusters.items():
            _cluster(families, name, cluster)
        _store(families, path)
        if self.agent.mesh is not None:
            _mesh(families, self.agent.mesh)
        for listener in path.listeners:
            _listener(families, listener)
        _process(families, self.agent)
        fabric = self.agent.fabric
        if fabric is not None:
            cluster_metrics(families, fabric)
        state_api = getattr(self.agent, "state_api", None)
        if state_api is not None:
            state_metrics(families, state_api)
        if getattr(self.agent, "consensus", None) is not None:
            from agent.admin.consensus_metrics import consensus_metrics  # and with it what only such an agent needs

            consensus_metrics(families, self.agent.consensus)
        for row in self.agent.plugins.snapshot():
            _plugin(families, row)
        return families.metrics()


def _service(families: Families, books: Any) -> None:
    name = books.name or "none"
    for index, series in enumerate(books.table):
        if series is not None:
            so_far = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip(_BOUNDS, series.buckets, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            labels = (name, f"{index % CLASSES}xx", OUTCOMES[index // CLASSES])
            families.add_histogram("pilotfish_request_duration_seconds", labels, buckets, series.sum_s)
    for metric, value in (
        ("pilotfish_requests_in_flight", books.in_flight),
        ("pilotfish_responses_aborted", books.aborted),
        ("pilotfish_retries", books.retries),
        ("pilotfish_retries_over_budget", books.retries_over_budget),
        ("pilotfish_hedges", books.hedges),
        ("pilotfish_cache_stored", books.stored),
        ("pilotfish_cache_stale_served", books.stale_served),
        ("pilotfish_cache_collapsed", books.collapsed),
        ("pilotfish_cache_fills", books.fills),
        ("pilotfish_cache_fills_failed", books.fills_failed),
    ):
        families.add(metric, (name,), value)
    for flag, count in books.flags.items():
        families.add("pilotfish_local_responses", (name, flag), count)


def _cluster(families: Families, name: str, cluster: Any) -> None:
    families.add("pilotfish_concurrency_limit", (name,), cluster.limit.limit)
    families.add("pilotfish_panic", (name,), float(cluster.panic))
    families.add("pilotfish_breaker_state", (name, ""), float(cluster.breaker.state))
    families.add("pilotfish_breaker_opened", (name, ""), cluster.breaker.opened)
    for endpoint in cluster.endpoints:
        labels = (name, endpoint.address)
        families.add("pilotfish_endpoint_requests", labels, endpoint.requests)
        families.add("pilotfish_endpoint_failures", labels, endpoint.failures)
        families.add("pilotfish_endpoint_ejections", labels, endpoint.ejected_total)
        families.add("pilotfish_endpoint_healthy", labels, float(endpoint.healthy))
        families.add("pilotfish_endpoint_usable", labels, float(endpoint.usable))
        families.add("pilotfish_endpoint_in_flight", labels, endpoint.in_flight)
        families.add("pilotfish_endpoint_ewma_seconds", labels, endpoint.ewma_s)
        families.add("pilotfish_breaker_state", labels, float(endpoint.breaker.state))
        families.add("pilotfish_breaker_opened", labels, endpoint.breaker.opened)


def _store(families: Families, path: Any) -> None:
    families.add("pilotfish_cache_bytes", (), path.store.used_bytes)
    families.add("pilotfish_cache_entries", (), path.store.count)
    families.add("pilotfish_cache_demoted", (), path.store.demoted)
    for name, stats in path.store.by_service.items():
        if name in path.counters:
            families.add("pilotfish_cache_evictions", (name,), stats.evictions)


def _mesh(families: Families, mesh: Any) -> None:
    for name, specs in mesh.directory.endpoints().items():
        if name in mesh.agent.path.clusters:
            families.add("pilotfish_mesh_endpoints", (name,), len(specs))
    for announcement, out in mesh.announcer.rows():
        families.add("pilotfish_mesh_announced", (announcement.service, announcement.address), float(out))
    for kind in KINDS:
        families.add("pilotfish_mesh_invalidations_sent", (kind,), mesh.sent.get(kind, 0))
        families.add("pilotfish_mesh_invalidations_received", (kind,), mesh.received.get(kind, 0))
    for result, count in (("sent", mesh.probes.sent), ("answered", mesh.probes.answered)):
        families.add("pilotfish_mesh_load_probes", (result,), count)
    for metric, value in (
        ("pilotfish_mesh_endpoints_kept", mesh.directory.kept),
        ("pilotfish_mesh_endpoints_refused", mesh.refused),
        ("pilotfish_mesh_isolated", float(mesh.directory.isolated)),
        ("pilotfish_mesh_advice_taken", mesh.advice.given),
        ("pilotfish_mesh_invalidations_coalesced", mesh.outbox.coalesced),
        ("pilotfish_mesh_invalidations_widened", mesh.outbox.widened),
        ("pilotfish_mesh_hot_keys", mesh.hot.value.keys if mesh.hot.value is not None else 0),
        ("pilotfish_mesh_stale_marks", mesh.stale_marks),
    ):
        families.add(metric, (), value)


def _listener(families: Families, listener: Any) -> None:
    labels = (listener.name,)
    families.add("pilotfish_connections", labels, listener.open)
    families.add("pilotfish_connections_accepted", labels, listener.accepted)
    families.add("pilotfish_connections_refused", labels, listener.refused)
    families.add("pilotfish_protocol_errors", labels, listener.protocol_errors)


def _process(families: Families, agent: Any) -> None:
    access = agent.path.access_log
    if access is not None:
        for result, count in (("written", access.written), ("dropped", access.dropped), ("failed", access.errors)):
            families.add("pilotfish_access_log_lines", (result,), count)
    families.add("pilotfish_log_lines_dropped", (), agent.log.dropped)
    families.add("pilotfish_loop_lag_seconds", (), agent.loop_lag_s)
    families.add("pilotfish_loop_lag_max_seconds", (), agent.loop_lag_max_s)
    families.add("pilotfish_gc_pause_seconds", (), agent.collector.pause_s)
    families.add("pilotfish_config_generation", (), agent.reload["generation"])
    for result, count in agent.reload["counts"].items():
        families.add("pilotfish_config_reloads", (result,), count)
    good = agent.reload["result"] in ("ok", "unchanged")
    families.add("pilotfish_config_last_reload_successful", (), float(good))
    families.add_info("pilotfish_build", {"version": __version__, "build": build()})


def _plugin(families: Families, row: dict[str, Any]) -> None:
    labels = (row["name"],)
    families.add("pilotfish_plugin_calls", labels, row["calls"])
    families.add("pilotfish_plugin_seconds", labels, row["calls"] * row["mean_us"] / 1e6)
    families.add("pilotfish_plugin_faults", labels, row["faults"])
    families.add("pilotfish_plugin_enabled", labels, float(row["enabled"]))
    families.add("pilotfish_plugin_background_waiting", labels, row["background"]["waiting"])
    families.add("pilotfish_plugin_background_dropped", labels, row["background"]["dropped"])
    for event, count in row["events"].items():
        families.add("pilotfish_plugin_events", (row["name"], event), count)


def render(agent: Any, accept: str) -> tuple[bytes, str]:
    """The scrape's body and its content type."""
    registry = CollectorRegistry()
    registry.register(AgentCollector(agent))
    ProcessCollector(registry=registry)
    if "application/openmetrics-text" in accept:
        return generate_openmetrics(registry), OPENMETRICS  # type: ignore[no-untyped-call,unused-ignore]
    return generate_latest(registry), CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call,unused-ignore]
