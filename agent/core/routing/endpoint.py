"""One address of a service: how it does, and what it costs to choose it."""

from hashlib import blake2b
from math import exp
from sys import intern
from typing import Any, Final

from agent.core.routing.breaker import STATE_NAMES, CircuitBreaker
from agent.core.routing.config import Balance, Breaker, Outlier

OK: Final = 0
SERVER_ERROR: Final = 1
"""500, 501, 505 and up."""
GATEWAY_ERROR: Final = 2
"""502, 503, 504, or a response that is no HTTP."""
CONNECT_FAILURE: Final = 3
RESET: Final = 4
TIMEOUT: Final = 5
OVERLOADED: Final = 6
"""429."""
CANCELLED: Final = 7
"""The client left, or a twin was faster: says nothing about the endpoint."""
LOCAL: Final = 8
"""A limit of our own: never the endpoint's fault."""
NAMES: Final = (
    "ok",
    "server-error",
    "gateway-error",
    "connect-failure",
    "reset",
    "timeout",
    "overloaded",
    "cancelled",
    "local",
)

FAILURE_FACTOR: Final = 5.0
"""A failure counts as taking this many times the endpoint's present latency…"""
FAILURE_MOST_S: Final = 10.0
"""…at most this long, unless it really took longer…"""
FAILURE_LEAST_S: Final = 0.5
"""…and at least this long: an endpoint that fails fast must not look fast (linkerd2 issue 7282 met this loop)."""


class EndpointSpec:
    """An address as configuration, DNS or a member of the mesh gives it."""

    __slots__ = ("host", "origin", "port", "region", "weight", "zone")

    def __init__(self, host: str, port: int, weight: int = 1, zone: str = "", region: str = "", origin: str = "static") -> None:
        self.host = host
        self.port = port
        """0 for a Unix socket, whose path is `host`."""
        self.weight = weight
        self.zone = zone
        self.region = region
        """The agent's own where empty."""
        self.origin = origin
        """``static``, ``dns`` or ``member NAME``: who says that it is there."""

    @property
    def address(self) -> str:
        """``host:port``, ``[v6]:port`` or ``unix:/path``; one object, whoever keeps it."""
        if self.port == 0:
            return intern(f"unix:{self.host}")
        return intern(f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Board:
    """What the endpoints of one cluster write on for it: whether it must look again before its next choice."""

    def __init__(self) -> None:
        self.dirty = True


class Endpoint:
    """State of one endpoint. `Cluster` decides by it; the data path tells it how requests went."""

    def __init__(self, spec: EndpointSpec, balance: Balance, breaker: Breaker, outlier: Outlier, board: Board, now: float) -> None:
        self.address = spec.address
        self.host = spec.host
        self.port = spec.port
        self.weight = spec.weight
        self.zone = spec.zone
        self.region = spec.region
        self.origin = spec.origin
        self.pool: object | None = None
        """The data path's connections to it."""
        self.share = 1.0
        """Its weight over the mean weight of the cluster."""
        self.in_flight = 0
        self.initial_s = balance.ewma_initial
        self.ewma_s = balance.ewma_initial
        self.ewma_at = now
        self.measured = False
        """Whether `ewma_s` comes from a request. Until then it costs nothing to try it, one request at a time."""
        self.decay_s = balance.ewma_decay if balance.ewma_decay > 0 else 0.001
        self.breaker = CircuitBreaker(breaker)
        self.healthy = True
        """By active checks."""
        self.ejected_until = 0.0
        self.ejections = 0
        """Ejections so far, forgotten one by one while it behaves."""
        self.ejected_total = 0
        self.busy_until = 0.0
        """Retry-After of its last 429 or 503."""
        self.ramp_from = 0.0
        """When it came (back), for slow start; 0 when that is long past."""
        self.requests = 0
        self.failures = 0
        self.consecutive_5xx = 0
        self.consecutive_gateway = 0
        self.setbacks = 0
        """Failures and 429s in a row, the latest at `setback_at`."""
        self.setback_at = 0.0
        self.window_requests = 0
        self.window_failures = 0
        self.window_latency_s = 0.0
        self.ramp = 1.0
        """Share of its weight that slow start gives it now."""
        self.resting = 1.0
        """What it counts as outstanding when it is idle: 1, and more while it reports that others load it (`advice.RemoteLoads`)."""
        self.usable = True
        """As of the cluster's last look."""
        self._outlier = outlier
        self._board = board

    def inherit(self, old: "Endpoint", slow_start: bool) -> None:
        """After a reload: go on from what is known of the same address. Requests under way stay the old one's."""
        self.pool = old.pool
        self.ewma_s = old.ewma_s
        self.ewma_at = old.ewma_at
        self.measured = old.measured
        self.healthy = old.healthy
        self.ejected_until = old.ejected_until
        self.ejections = old.ejections
        self.ejected_total = old.ejected_total
        self.busy_until = old.busy_until
        self.resting = old.resting
        self.requests = old.requests
        self.failures = old.failures
        self.breaker.inherit(old.breaker)
        if slow_start:
            self.ramp = old.ramp
            self.ramp_from = old.ramp_from

    def begin(self, now: float) -> None:
        """A request is on its way to it."""
        self.in_flight += 1
        self.requests += 1

    def finish(self, now: float, latency_s: float, outcome: int, retry_after_s: float = 0.0) -> None:
        """A request that `begin` announced is over. latency_s: to the response head, or to the failure."""
        self.in_flight -= 1
        breaker = self.breaker
        if outcome == OK:
            self.consecutive_5xx = 0
            self.consecutive_gateway = 0
            self.setbacks = 0
            self.window_requests += 1
            self.window_latency_s += latency_s
            self._observe(now, latency_s)
            if breaker.enabled and breaker.record(now, True, latency_s):
                self._board.dirty = True
            return
        if outcome == CANCELLED or outcome == LOCAL:
            if outcome == CANCELLED and latency_s > self.ewma_s:
                self._observe(now, latency_s)  # it took at least that long
            if breaker.probes_out:
                breaker.release()
                self._board.dirty = True
            return
        self._failed(now, latency_s, outcome, retry_after_s)

    def _failed(self, now: float, latency_s: float, outcome: int, retry_after_s: float) -> None:
        self._observe(now, max(latency_s, min(FAILURE_FACTOR * self.ewma_s, FAILURE_MOST_S), FAILURE_LEAST_S))
        self.setbacks += 1
        self.setback_at = now
        if retry_after_s > 0.0:
            self.busy_until = max(self.busy_until, now + retry_after_s)
            self._board.dirty = True
        self.window_requests += 1
        if outcome == OVERLOADED:
            if self.breaker.record(now, True, latency_s):  # it works, it has too much to do
                self._board.dirty = True
            return
        self.failures += 1
        self.window_failures += 1
        self.consecutive_5xx += 1
        self.consecutive_gateway = self.consecutive_gateway + 1 if outcome != SERVER_ERROR else 0
        outlier = self._outlier
        if outlier.enabled and (
            0 < outlier.consecutive_5xx <= self.consecutive_5xx or 0 < outlier.consecutive_gateway <= self.consecutive_gateway
        ):
            self._board.dirty = True
        if self.breaker.record(now, False, latency_s):
            self._board.dirty = True

    def _observe(self, now: float, latency_s: float) -> None:
        """Peak-EWMA: up at once, down with time (Finagle; linkerd2-proxy)."""
        if not self.measured:
            self.measured = True
            self.ewma_s = min(latency_s, 60.0)
        elif latency_s > self.ewma_s:
            # Bounded: one failure after another must not raise it without end.
            self.ewma_s = min(latency_s, 60.0)
        else:
            weight = exp((self.ewma_at - now) / self.decay_s) if now > self.ewma_at else 1.0
            if weight > 0.95:
                weight = 0.95  # at high rates time alone would let no sample count
            self.ewma_s = self.ewma_s * weight + latency_s * (1.0 - weight)
        self.ewma_at = now

    def caution(self, now: float) -> bool:
        """Others say that it fails: try it with probes first. False: what we have seen ourselves says enough."""
        if not self.breaker.caution(now):
            return False
        self._board.dirty = True
        return True

    def forget_latency(self) -> None:
        """It was out and may be used again: what it took before says nothing about now."""
        self.measured = False
        self.ewma_s = self.initial_s
        self.setbacks = 0

    def cost(self, now: float) -> float:
        """Peak-EWMA × requests outstanding for its weight; what was slow and has not been asked since is forgotten in time.

        An endpoint that has answered nothing yet costs nothing while it is idle (Finagle's PeakEwma): it gets its first try at
        once, and no second one beside it unless the others are slower than `ewma_initial`.
        """
        if not self.measured and self.in_flight == 0:
            return 0.0
        idle_s = now - self.ewma_at
        ewma = self.ewma_s
        if idle_s > self.decay_s:
            ewma *= exp((self.decay_s - idle_s) / self.decay_s)
        # Weight counts by what is outstanding, not at rest: the weighted draw of the two candidates has seen to that already.
        return (ewma + 0.0001) * (self.in_flight / (self.share * self.ramp) + self.resting)

    def standing_cost(self) -> float:
        """`cost` without forgetting, and with the initial latency while nothing is known: for one that is seldom asked."""
        return (self.ewma_s + 0.0001) * (self.in_flight / (self.share * self.ramp) + self.resting)

    def load(self, now: float) -> float:
        """Requests outstanding for its weight. Recent failures in a row count as outstanding: failing fast must not look idle."""
        outstanding = self.in_flight
        if self.setbacks and now - self.setback_at < self.decay_s:
            outstanding += self.setbacks
        return outstanding / (self.share * self.ramp)

    def row(self, now: float) -> dict[str, Any]:
        """What `/clusters` shows of it."""
        return {
            "address": self.address,
            "zone": self.zone,
            "region": self.region,
            "origin": self.origin,
            "weight": self.weight,
            "usable": self.usable,
            "healthy": self.healthy,
            "ejected_for_s": round(max(self.ejected_until - now, 0.0), 3),
            "ejections": self.ejected_total,
            "breaker": STATE_NAMES[self.breaker.state],
            "ewma_ms": round(self.ewma_s * 1000, 3),
            "in_flight": self.in_flight,
            "cost": round(self.cost(now), 6),
            "requests": self.requests,
            "failures": self.failures,
        }


def hash_of(value: bytes) -> int:
    """A 64-bit hash that is the same in every process (BLAKE2b: 1 µs whatever the length, where FNV-1a in Python takes 0.2 µs
    an octet)."""
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "little")
