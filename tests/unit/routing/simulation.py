"""A discrete-event simulation of clients, one cluster and its servers. Seeded: one seed replays a run.

Each server serves `workers` requests at once and queues the rest; service times are log-normal. Requests come at random
(Poisson). What the agent does around `Cluster` (admission, tries, retries after a backoff within the budget) is done here as
agent.proxy.forward does it.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from agent.core.routing import endpoint as outcome
from agent.core.routing.cluster import ADMITTED
from agent.core.routing.config import Retries
from agent.core.routing.endpoint import Endpoint
from tests.unit.routing.support import cluster_of


class Server:
    """One endpoint's other end."""

    def __init__(self, world: "World", workers: int, mean_s: float) -> None:
        self.world = world
        self.workers = workers
        self.mean_s = mean_s
        self.outcome = outcome.OK
        self.busy = 0
        self.tries = 0
        self.queue: deque[Callable[[int], None]] = deque()

    def serve(self, done: Callable[[int], None]) -> None:
        self.tries += 1
        if self.busy < self.workers:
            self._begin(done)
        else:
            self.queue.append(done)

    def _begin(self, done: Callable[[int], None]) -> None:
        self.busy += 1
        seconds = self.mean_s * self.world.random.lognormvariate(-0.045, 0.3)
        self.world.after(seconds, lambda: self._end(done))

    def _end(self, done: Callable[[int], None]) -> None:
        self.busy -= 1
        if self.queue:
            self._begin(self.queue.popleft())
        done(self.outcome)


class World:
    def __init__(self, servers: int, seed: int, workers: int = 8, mean_s: float = 0.02, **service: Any) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.cluster = cluster_of(servers, seed=seed, **service)
        self.retries: Retries = self.cluster.service.retries
        self.servers = {endpoint.address: Server(self, workers, mean_s) for endpoint in self.cluster.endpoints}
        self.finished: list[tuple[float, float, int]] = []
        """(time, latency, outcome) of each request."""
        self.requests = 0
        self.refused = 0
        self.most_over_budget = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.after(0.0, self._tick)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def load(self, rate: float, until: float) -> None:
        """Requests at this many a second."""

        def arrive() -> None:
            if self.now < until:
                self._request()
                self.after(self.random.expovariate(rate), arrive)

        self.after(0.0, arrive)

    def _tick(self) -> None:
        self.cluster.tick(self.now)
        self.after(0.1, self._tick)

    def _request(self) -> None:
        self.requests += 1
        if self.cluster.admit(self.now, 5) != ADMITTED:
            self.refused += 1
            return
        self._try(self.now, 1, None)

    def _try(self, started: float, number: int, avoid: Endpoint | None) -> None:
        begun = self.now
        endpoint = self.cluster.pick(begun, -1, avoid)
        if endpoint is None:
            self._over(started, number, outcome.LOCAL)
            return
        endpoint.begin(begun)

        def done(result: int) -> None:
            endpoint.finish(self.now, self.now - begun, result)
            budget = self.cluster.budget
            if result != outcome.OK and number <= self.retries.attempts and budget.try_start():
                self.most_over_budget = max(self.most_over_budget, budget.spent - max(budget.at_least, budget.share * budget.active + 1))
                self.after(self.cluster.backoff(self.retries, number), lambda: self._try(started, number + 1, endpoint))
            else:
                self._over(started, number, result)

        self.servers[endpoint.address].serve(done)

    def _over(self, started: float, tries: int, result: int) -> None:
        for _ in range(tries - 1):
            self.cluster.budget.finish()
        self.cluster.done(self.now, self.now - started, result)
        self.finished.append((self.now, self.now - started, result))

    def p99(self, begin: float, end: float) -> float:
        """Of the requests that ended in this time, seconds."""
        took = sorted(latency for at, latency, _ in self.finished if begin <= at < end)
        return took[int(len(took) * 0.99)]
