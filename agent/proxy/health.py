"""Active health checks and DNS: what happens beside the requests, for every cluster."""

import asyncio
import socket
from collections.abc import Callable

from agent.core.routing.cluster import Cluster
from agent.core.routing.config import HealthCheck
from agent.core.routing.endpoint import Endpoint, EndpointSpec
from agent.proxy.pool import Pool

JITTER = 0.1


async def probe(endpoint: Endpoint, check: HealthCheck) -> bool:
    """One check of one endpoint: a connection, or a GET that is answered 2xx."""
    try:
        async with asyncio.timeout(check.timeout):
            if endpoint.port == 0:
                reader, writer = await asyncio.open_unix_connection(endpoint.host)
            else:
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            try:
                if not check.path:
                    return True
                host = check.host or endpoint.address
                writer.write(
                    f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pilotfish-health\r\nConnection: close\r\n\r\n".encode(
                        "latin-1"
                    )
                )
                line = await reader.readline()
                words = line.split(b" ", 2)
                return len(words) >= 2 and words[1][:1] == b"2"
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False


async def check_health(cluster: Cluster, share: Callable[[], float]) -> None:
    """Check every endpoint of a cluster, each interval, until cancelled.

    share: a random number from 0 to 1. Intervals are spread by a tenth either way, so that the agents of a fleet that started
    together do not go on checking together.
    """
    check = cluster.service.health
    streaks: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    while True:
        endpoints = list(cluster.endpoints)
        results = await asyncio.gather(*(probe(endpoint, check) for endpoint in endpoints))
        streaks = {endpoint.address: streaks.get(endpoint.address, 0) for endpoint in endpoints}
        for endpoint, good in zip(endpoints, results, strict=True):
            streak = streaks.get(endpoint.address, 0)
            streak = max(streak, 0) + 1 if good else min(streak, 0) - 1
            streaks[endpoint.address] = streak
            if streak >= check.healthy or -streak >= check.unhealthy:
                cluster.set_health(endpoint.address, good, loop.time())
        await asyncio.sleep(check.interval * (1.0 + JITTER * (2.0 * share() - 1.0)))


def is_name(host: str) -> bool:
    """Whether a host has to be resolved."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return False
    return not host.startswith("/")


async def resolve(specs: list[EndpointSpec]) -> list[EndpointSpec] | None:
    """Every address behind the names; None where a name cannot be resolved now."""
    loop = asyncio.get_running_loop()
    found: dict[str, EndpointSpec] = {}
    for spec in specs:
        if spec.port == 0 or not is_name(spec.host):
            found[spec.address] = spec
            continue
        try:
            answers = await loop.getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM)
        except OSError:
            return None
        for answer in answers:
            address = EndpointSpec(str(answer[4][0]), spec.port, spec.weight, spec.zone)
            found[address.address] = address
    return list(found.values())


async def keep_resolved(cluster: Cluster, specs: list[EndpointSpec]) -> None:
    """Resolve a cluster's names again and again; the last good answer stands while resolving fails."""
    loop = asyncio.get_running_loop()
    while True:
        found = await resolve(specs)
        if found is not None:
            for gone in cluster.update(found, loop.time()):
                if isinstance(gone.pool, Pool):
                    gone.pool.close()
        await asyncio.sleep(cluster.service.dns.refresh if cluster.endpoints else 1.0)
