"""Clusters with a clock of the test's own."""

from collections import Counter
from typing import Any

from agent.core.http.head import RequestHead, parse_request_head
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Service
from agent.core.routing.endpoint import OK, EndpointSpec


def specs(count: int, weights: tuple[int, ...] = (), zones: tuple[str, ...] = ()) -> list[EndpointSpec]:
    """`count` endpoints at 10.0.0.0, 10.0.0.1, …"""
    return [
        EndpointSpec(f"10.0.{number >> 8}.{number & 255}", 80, weights[number] if weights else 1, zones[number] if zones else "")
        for number in range(count)
    ]


def cluster_of(given: list[EndpointSpec] | int, zone: str = "", seed: int = 7, **service: Any) -> Cluster:
    """A cluster as `Service(**service)` configures it, at time 0."""
    cluster = Cluster("web", Service(**service), zone, seed)
    cluster.update(specs(given) if isinstance(given, int) else given, 0.0)
    return cluster


def shares(cluster: Cluster, now: float, picks: int, latency_s: float = 0.01, keys: bool = False) -> Counter[str]:
    """Where `picks` requests go that are answered at once, each in `latency_s`."""
    seen: Counter[str] = Counter()
    for number in range(picks):
        endpoint = cluster.pick(now, number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF if keys else -1)
        assert endpoint is not None
        seen[endpoint.address] += 1
        endpoint.begin(now)
        endpoint.finish(now, latency_s, OK)
    return seen


def head_of(text: str) -> RequestHead:
    """A request head from its lines."""
    return parse_request_head(text.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
