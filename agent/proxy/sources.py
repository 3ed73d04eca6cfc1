"""Where the endpoints of one service come from: configuration and DNS on one side, the members of the mesh on the other."""

import asyncio

from agent.core.routing.cluster import Cluster
from agent.core.routing.endpoint import EndpointSpec
from agent.proxy.pool import Pool


class Sources:
    """Puts both together for a cluster. What is in both is as the configuration has it."""

    def __init__(self, cluster: Cluster, fixed: list[EndpointSpec]) -> None:
        self.cluster = cluster
        self.fixed = fixed
        self.announced: list[EndpointSpec] = []

    def take_fixed(self, specs: list[EndpointSpec]) -> None:
        """What DNS says now."""
        self.fixed = specs
        self.install()

    def take_announced(self, specs: list[EndpointSpec]) -> None:
        """What members announce now."""
        self.announced = specs
        self.install()

    def install(self) -> None:
        """Give the cluster what there is, at once. Requests that are under way at an endpoint that is gone go on."""
        found = {spec.address: spec for spec in self.announced}
        found.update({spec.address: spec for spec in self.fixed})
        for gone in self.cluster.update(list(found.values()), asyncio.get_running_loop().time()):
            if isinstance(gone.pool, Pool):
                gone.pool.close()
