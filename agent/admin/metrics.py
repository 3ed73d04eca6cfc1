"""The agent's counters as Prometheus or OpenMetrics text, put together at the scrape."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from agent import __version__
from agent.core.routing.breaker import STATE_NAMES
from agent.proxy.counters import CLASSES, LATENCY_BOUNDS_S, OUTCOMES
from agent.runtime.build import build


class AgentCollector(Collector):
    """Labels are services, endpoints that exist now, code classes and outcomes; never paths."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._clusters()
        yield from self._rest()

    def _requests(self) -> Iterator[Metric]:
        latency = HistogramMetricFamily(
            "pilotfish_request_duration_seconds", "Requests by service, code class and cache outcome", labels=["service", "code", "outcome"]
        )
        retries = CounterMetricFamily("pilotfish_retries", "Tries after the first", labels=["service"])
        over = CounterMetricFamily("pilotfish_retries_over_budget", "Retries that the budget refused", labels=["service"])
        hedges = CounterMetricFamily("pilotfish_hedges", "Second tries beside slow first ones", labels=["service"])
        collapsed = CounterMetricFamily("pilotfish_cache_collapsed", "Requests that waited on another's fill", labels=["service"])
        fills = CounterMetricFamily("pilotfish_cache_fills", "Flights for the cache", labels=["service"])
        flags = CounterMetricFamily("pilotfish_local_responses", "Agent-made responses by reason flag", labels=["service", "flag"])
        flight = GaugeMetricFamily("pilotfish_requests_in_flight", "Requests under way", labels=["service"])
        path = self.agent.path
        for books in [*path.counters.values(), path.none]:
            name = books.name or "none"
            for index, series in enumerate(books.table):
                if series is not None:
                    labels = [name, f"{index % CLASSES}xx", OUTCOMES[index // CLASSES]]
                    so_far = 0
                    buckets = []
                    for bound, count in zip([*map(str, LATENCY_BOUNDS_S), "+Inf"], series.buckets, strict=True):
                        so_far += count
                        buckets.append((bound, so_far))
                    latency.add_metric(labels, buckets, series.sum_s)
            retries.add_metric([name], books.retries)
            over.add_metric([name], books.retries_over_budget)
            hedges.add_metric([name], books.hedges)
            collapsed.add_metric([name], books.collapsed)
            fills.add_metric([name], books.fills)
            flight.add_metric([name], books.in_flight)
            for flag, count in books.flags.items():
                flags.add_metric([name, flag], count)
        yield from (latency, retries, over, hedges, collapsed, fills, flags, flight)

    def _clusters(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("pilotfish_endpoint_requests", "Tries by endpoint", labels=["service", "endpoint"])
        failures = CounterMetricFamily("pilotfish_endpoint_failures", "Failed tries by endpoint", labels=["service", "endpoint"])
        ejections = CounterMetricFamily("pilotfish_endpoint_ejections", "Outlier ejections", labels=["service", "endpoint"])
        usable = GaugeMetricFamily("pilotfish_endpoint_usable", "1 where the endpoint may be chosen", labels=["service", "endpoint"])
        ewma = GaugeMetricFamily("pilotfish_endpoint_ewma_seconds", "Peak-EWMA latency", labels=["service", "endpoint"])
        breaker = GaugeMetricFamily("pilotfish_breaker_state", "0 closed, 1 open, 2 half-open", labels=["service", "endpoint"])
        limit = GaugeMetricFamily("pilotfish_concurrency_limit", "Adaptive limit on requests in flight", labels=["service"])
        panic = GaugeMetricFamily("pilotfish_panic", "1 where health is ignored for want of healthy endpoints", labels=["service"])
        for name, cluster in self.agent.path.clusters.items():
            breaker.add_metric([name, ""], float(cluster.breaker.state))
            limit.add_metric([name], cluster.limit.limit)
            panic.add_metric([name], float(cluster.panic))
            for endpoint in cluster.endpoints:
                labels = [name, endpoint.address]
                requests.add_metric(labels, endpoint.requests)
                failures.add_metric(labels, endpoint.failures)
                ejections.add_metric(labels, endpoint.ejected_total)
                usable.add_metric(labels, float(endpoint.usable))
                ewma.add_metric(labels, endpoint.ewma_s)
                breaker.add_metric(labels, float(endpoint.breaker.state))
        assert len(STATE_NAMES) == 3
        yield from (requests, failures, ejections, usable, ewma, breaker, limit, panic)

    def _rest(self) -> Iterator[Metric]:
        agent = self.agent
        store = agent.path.store
        yield GaugeMetricFamily("pilotfish_cache_bytes", "Bytes that stored responses take", value=store.used_bytes)
        yield GaugeMetricFamily("pilotfish_cache_entries", "Stored responses", value=store.count)
        evictions = CounterMetricFamily("pilotfish_cache_evictions", "Entries that went for want of room", labels=["service"])
        for name, stats in store.by_service.items():
            if name in agent.path.counters:
                evictions.add_metric([name], stats.evictions)
        yield evictions
        connections = GaugeMetricFamily("pilotfish_connections", "Open client connections", labels=["listener"])
        errors = CounterMetricFamily("pilotfish_protocol_errors", "What clients sent that is no HTTP/1", labels=["listener"])
        for listener in agent.path.listeners:
            connections.add_metric([listener.name], listener.open)
            errors.add_metric([listener.name], listener.protocol_errors)
        yield connections
        yield errors
        yield GaugeMetricFamily("pilotfish_loop_lag_seconds", "How late the event loop was at its last tick", value=agent.loop_lag_s)
        yield GaugeMetricFamily("pilotfish_config_generation", "Configurations taken since the start", value=agent.reload["generation"])
        reloads = CounterMetricFamily("pilotfish_config_reloads", "Times that the configuration was read again", labels=["result"])
        for result, count in agent.reload["counts"].items():
            reloads.add_metric([result], count)
        yield reloads
        good = agent.reload["result"] in ("ok", "unchanged")
        yield GaugeMetricFamily("pilotfish_config_last_reload_successful", "0 after a refused or invalid reload", value=float(good))
        info = InfoMetricFamily("pilotfish_build", "Version and build", value={"version": __version__, "build": build()})
        yield info
        if agent.plugins.loaded:
            yield from _plugins(agent.plugins.snapshot())


def _plugins(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    calls = CounterMetricFamily("pilotfish_plugin_calls", "Calls of hooks", labels=["plugin"])
    seconds = CounterMetricFamily("pilotfish_plugin_seconds", "Time in hooks", labels=["plugin"])
    faults = CounterMetricFamily("pilotfish_plugin_faults", "Hooks that raised, were slow or answered nonsense", labels=["plugin"])
    enabled = GaugeMetricFamily("pilotfish_plugin_enabled", "0 once it is switched off", labels=["plugin"])
    waiting = GaugeMetricFamily("pilotfish_plugin_background_waiting", "Background work that waits", labels=["plugin"])
    dropped = CounterMetricFamily("pilotfish_plugin_background_dropped", "Background work for which there was no room", labels=["plugin"])
    events = CounterMetricFamily("pilotfish_plugin_events", "What plugins count themselves", labels=["plugin", "event"])
    for row in rows:
        labels = [row["name"]]
        calls.add_metric(labels, row["calls"])
        seconds.add_metric(labels, row["calls"] * row["mean_us"] / 1e6)
        faults.add_metric(labels, row["faults"])
        enabled.add_metric(labels, float(row["enabled"]))
        waiting.add_metric(labels, row["background"]["waiting"])
        dropped.add_metric(labels, row["background"]["dropped"])
        for event, count in row["events"].items():
            events.add_metric([*labels, event], count)
    yield from (calls, seconds, faults, enabled, waiting, dropped, events)


def render(agent: Any, accept: str) -> tuple[bytes, str]:
    """The scrape's body and its content type."""
    registry = CollectorRegistry()
    registry.register(AgentCollector(agent))
    ProcessCollector(registry=registry)
    if "application/openmetrics-text" in accept:
        return generate_openmetrics(registry), OPENMETRICS  # type: ignore[no-untyped-call,unused-ignore]
    return generate_latest(registry), CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call,unused-ignore]
