"""How far endpoints are: in the agent's zone, in its region, in other regions by how long it takes to get there."""

from math import log2
from typing import Final

from agent.core.routing.endpoint import Endpoint

FARTHEST: Final = 99
"""Class of a region to which no latency is known."""
_LEAST_S: Final = 0.002


def latency_class(seconds: float) -> int:
    """Classes are a factor of two wide, so that two regions that are about as far share what is left for them: up to 2 ms, 4 ms, 8 ms, …"""
    return max(int(log2(seconds / _LEAST_S)) + 1, 0) if seconds > _LEAST_S else 0


def rings_of(endpoints: list[Endpoint], zone: str, region: str, distances: dict[str, int]) -> list[list[Endpoint]]:
    """The agent's zone, then the rest of its region, then the other regions by class, the nearest first. The first two are there
    even when they are empty; without a zone the first is. An endpoint that names no region is taken to be in the agent's."""
    near: list[Endpoint] = []
    same: list[Endpoint] = []
    others: dict[int, list[Endpoint]] = {}
    for endpoint in endpoints:
        if endpoint.region and region and endpoint.region != region:
            others.setdefault(distances.get(endpoint.region, FARTHEST), []).append(endpoint)
        elif zone and endpoint.zone == zone:
            near.append(endpoint)
        else:
            same.append(endpoint)
    return [near, same] + [others[distance] for distance in sorted(others)]
