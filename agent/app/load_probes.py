"""Asks members how busy they are when what they said of it has grown old, and requests go to them.

Gossip tells a load when it changes, within a budget for the whole cluster: in a large one that is seldom (`agent.core.gossip.damper`).
Who is silent may be as busy as before, or not. A member whose endpoints had requests of late is asked over the cluster, so many each
second at most, the one that was heard of longest ago first. What is not answered expires as it would have.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from agent.core.gossip.facts import Load
from agent.core.routing.cluster import Cluster

OLD_S: Final = 5.0
"""A report that is older is asked for; half of the time for which one counts (`advice.FRESH_S`), so that there is time for an answer."""
PROBES_A_SECOND: Final = 8
"""Some 2 kB a second; 40 members are kept fresh by it."""
IN_USE_S: Final = 10.0
"""An endpoint that had no request for so long is not asked about."""
WAIT_S: Final = 1.0
AGAIN_S: Final = 2.0
"""A member that was asked is not asked again sooner, answer or none."""


class LoadProbes:
    """`ask(member)`: its load; LookupError or TimeoutError. `heard(member, load, now)` is told each answer."""

    def __init__(self, ask: Callable[[str, float], Awaitable[Load]], heard: Callable[[str, Load, float], None]) -> None:
        self._ask = ask
        self._heard = heard
        self._asked_at: dict[str, float] = {}
        self._requests: dict[str, tuple[int, float]] = {}
        """Address → requests so far, and when they became more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.answered = 0

    def tick(self, clusters: Iterable[Cluster], members: Mapping[str, list[str]], reported_at: Callable[[str], float], now: float) -> None:
        """Each second. members: to the addresses that they announce. reported_at: when the load of an address was heard last."""
        used = self._used(clusters, now)
        self._asked_at = {member: at for member, at in self._asked_at.items() if now - at < AGAIN_S}
        old: list[tuple[float, str]] = []
        for member, addresses in members.items():
            if member in self._asked_at or not any(address in used for address in addresses):
                continue
            at = min(reported_at(address) for address in addresses)
            if now - at > OLD_S:
                old.append((at, member))
        for _, member in sorted(old)[:PROBES_A_SECOND]:
            self._asked_at[member] = now
            self.sent += 1
            task = asyncio.ensure_future(self._probe(member, now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _probe(self, member: str, now: float) -> None:
        try:
            load = await self._ask(member, WAIT_S)
        except (LookupError, TimeoutError, ValueError, RuntimeError):
            return  # its report expires
        self.answered += 1
        self._heard(member, load, now)

    def _used(self, clusters: Iterable[Cluster], now: float) -> set[str]:
        requests: dict[str, tuple[int, float]] = {}
        for cluster in clusters:
            for endpoint in cluster.endpoints:
                count, at = self._requests.get(endpoint.address, (0, float("-inf")))
                requests[endpoint.address] = (endpoint.requests, now) if endpoint.requests != count else (count, at)
        self._requests = requests
        return {address for address, (_, at) in requests.items() if now - at < IN_USE_S}
