"""Active health checks and DNS: what happens beside the requests, for every cluster."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from agent.core.routing.cluster import Cluster
from agent.core.routing.config import HealthCheck
from agent.core.routing.endpoint import Endpoint, EndpointSpec

JITTER = 0.1
"""Share of the interval by which checks are moved, either way."""
PROBES_MAX = 64
"""Checks of one service under way at once."""
RETRY_S = 1.0
"""How soon names are asked for again while none has been resolved."""


async def probe(endpoint: Endpoint | EndpointSpec, check: HealthCheck) -> bool:
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


class Streak:
    """Consecutive results of checks; `good` is what they come to."""

    def __init__(self, good: bool) -> None:
        self.good = good
        self._length = 0

    def add(self, result: bool, check: HealthCheck) -> bool:
        """One more result. True when `good` changed by it."""
        self._length = max(self._length, 0) + 1 if result else min(self._length, 0) - 1
        if self.good != result and (self._length >= check.healthy or -self._length >= check.unhealthy):
            self.good = result
            return True
        return False


async def check_health(cluster: Cluster, share: Callable[[], float]) -> None:
    """Check every endpoint of a cluster, each interval, until cancelled.

    share: a random number from 0 to 1. Intervals are spread by a tenth either way, so that the agents of a fleet that started
    together do not go on checking together.
    """
    check = cluster.service.health
    streaks: dict[str, Streak] = {}
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(PROBES_MAX)

    async def one(endpoint: Endpoint) -> bool:
        async with places:
            return await probe(endpoint, check)

    while True:
        endpoints = list(cluster.endpoints)
        results = await asyncio.gather(*(one(endpoint) for endpoint in endpoints))
        streaks = {endpoint.address: streaks.get(endpoint.address) or Streak(endpoint.healthy) for endpoint in endpoints}
        for endpoint, good in zip(endpoints, results, strict=True):
            streak = streaks[endpoint.address]
            streak.good = endpoint.healthy
            if streak.add(good, check):
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


async def system_lookup(host: str, port: int) -> list[str]:
    """Addresses of a name as this machine resolves it (hosts file, DNS). Raises OSError."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


Lookup = Callable[[str, int], Awaitable[list[str]]]


class Names:
    """The endpoints of a service with each name replaced by its addresses. A name that stops resolving keeps its last ones,
    whatever becomes of the others."""

    def __init__(self, specs: list[EndpointSpec], lookup: Lookup = system_lookup) -> None:
        self._specs = specs
        self._lookup = lookup
        self._known: dict[tuple[str, int], list[str]] = {}
        self.failing: dict[str, str] = {}
        """Names that do not resolve now, and why."""

    async def resolve(self) -> list[EndpointSpec]:
        """Ask for every name once. The answer lacks the names that have never been resolved."""
        names = sorted({(spec.host, spec.port) for spec in self._specs if spec.port and is_name(spec.host)})
        await asyncio.gather(*(self._ask(host, port) for host, port in names))
        found: dict[str, EndpointSpec] = {}
        for spec in self._specs:
            hosts = self._known.get((spec.host, spec.port), []) if (spec.host, spec.port) in names else [spec.host]
            for host in hosts:
                origin = "dns" if host != spec.host else spec.origin
                one = EndpointSpec(host, spec.port, spec.weight, spec.zone, spec.region, origin)
                found.setdefault(one.address, one)
        return list(found.values())

    async def _ask(self, host: str, port: int) -> None:
        try:
            answer = await self._lookup(host, port)
        except OSError as error:
            self.failing[host] = str(error)
            return
        if answer:
            self._known[(host, port)] = answer
            self.failing.pop(host, None)
        else:
            self.failing[host] = "no address"


async def keep_resolved(
    cluster: Cluster, specs: list[EndpointSpec], take: Callable[[list[EndpointSpec]], None], lookup: Lookup = system_lookup
) -> None:
    """Resolve a cluster's names again and again, until cancelled. take: is given what was found."""
    loop = asyncio.get_running_loop()
    names = Names(specs, lookup)
    failing: set[str] = set()
    while True:
        found = await names.resolve()
        now = loop.time()
        for host in sorted(set(names.failing) - failing):
            cluster.note(now, "name does not resolve", host=host, error=names.failing[host])
        for host in sorted(failing - set(names.failing)):
            cluster.note(now, "name resolves again", host=host)
        failing = set(names.failing)
        if found:
            take(found)
        await asyncio.sleep(cluster.service.dns.refresh if cluster.endpoints else RETRY_S)
