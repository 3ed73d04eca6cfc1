"""What every connection of the data path shares: the running configuration as cells, the store, the pools, the counters.

A reload swaps the cells at once (`DataPath.install`); requests under way keep the objects that they began with.
"""

import asyncio
from collections import deque
from time import perf_counter, time
from typing import Any, Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.store import CacheStore
from agent.core.http.config import ClientTimeouts, HeaderPolicy, HttpLimits, WhyConfig
from agent.core.http.dates import format_http_date, parse_http_date
from agent.core.http.head import RequestHead, ResponseHead, parse_request_head
from agent.core.routing import endpoint as outcome
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Retries
from agent.core.routing.endpoint import Endpoint
from agent.core.routing.table import RouteTable, RouteTarget
from agent.proxy.counters import ListenerCounters, ServiceCounters
from agent.proxy.plugins import PluginHost
from agent.proxy.pool import Pool, PoolLimits
from agent.proxy.story import Story
from agent.runtime.wheel import TimerWheel

HEADS_MAX: Final = 1024
"""Whole heads remembered; a head gets in when it is seen twice, so that heads that never repeat do not crowd it out."""
HEAD_BYTES_MAX: Final = 2048
SEEN_MAX: Final = 4096

_CLOCK: Final = perf_counter
"""A constant is at hand in compiled code; an imported name is looked up."""
_LOW_DIGITS: Final[list[bytes]] = [b"%03x" % number for number in range(4096)]
"""The last digits of request numbers: formatting a number costs more than the rest of making an id."""

_RETRY_OUTCOME: Final = {
    "connect-failure": outcome.CONNECT_FAILURE,
    "reset": outcome.RESET,
    "timeout": outcome.TIMEOUT,
}


class RoutePolicy:
    """What holds for requests of one route to one service."""

    def __init__(self, target: RouteTarget, cluster: Cluster, counters: ServiceCounters) -> None:
        self.target = target
        self.cluster = cluster
        self.counters = counters
        timeouts = target.timeouts
        self.request_s = timeouts.request
        self.first_byte_s = timeouts.first_byte
        self.attempt_s = timeouts.attempt
        self.idle_s = timeouts.idle
        self.retries: Retries = target.retries
        self.cache: CachePolicy = target.cache
        self.hedge_enabled = bool(target.hedge.enabled)
        self.hash_on = cluster.service.balance.hash_on if cluster.service.balance.policy in ("ring_hash", "maglev") else ""
        concurrency = cluster.service.concurrency
        self.priority_header = concurrency.priority_header.lower().encode("latin-1")
        self.priority_from = concurrency.limit_min // 2 if concurrency.enabled else 1 << 60
        """Requests in flight from which on it is worth a look at the request's priority."""
        on = set(target.retries.on)
        self._outcomes = frozenset({code for name, code in _RETRY_OUTCOME.items() if name in on})
        statuses: set[int] = set()
        if "5xx" in on:
            statuses.update(range(500, 600))
        if "gateway-error" in on:
            statuses.update((502, 503, 504))
            self._outcomes |= {outcome.GATEWAY_ERROR}
        if "retriable-4xx" in on:
            statuses.add(409)
        if "429" in on:
            statuses.add(429)
        self._statuses = frozenset(statuses)

    def retries_status(self, status: int) -> bool:
        return status in self._statuses

    def retries_outcome(self, code: int) -> bool:
        return code in self._outcomes


class DataPath:
    """The one object that listeners, connections and exchanges share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wheel: TimerWheel, store: CacheStore, plugins: PluginHost) -> None:
        self.loop: Any = loop
        self.wheel = wheel
        self.store = store
        self.plugins = plugins
        self.agent_id = "pilotfish"
        self.zone = ""
        self.http = HttpLimits()
        self.client_timeouts = ClientTimeouts()
        self.headers = HeaderPolicy()
        self.why = WhyConfig()
        self.tells = self.why.recent > 0
        """Whether requests are remembered for `GET /why`."""
        self.table = RouteTable({})
        self.clusters: dict[str, Cluster] = {}
        self.policies: dict[tuple[RouteTarget, str], RoutePolicy] = {}
        self.counters: dict[str, ServiceCounters] = {}
        self.none = ServiceCounters("")
        """Counts what belongs to no service: bad requests, no route."""
        self.listeners: list[ListenerCounters] = []
        self.generation: object = object()
        self.unmatched_pass = False
        self.passthrough: Any = None
        """Makes policies for destinations that no service claims (agent.app.wiring)."""
        self.tell: Any = None
        """Called with service, host and target of what an unsafe request made stale, where other agents are to know of it."""
        self.draining = False
        self.connections: set[Any] = set()
        """Open client connections, for draining."""
        self.fills: dict[bytes, Any] = {}
        self.hit_for_pass: dict[bytes, float] = {}
        self.in_flight = 0
        self.access_log: Any = None
        self.recent: deque[Story] = deque(maxlen=1024)
        """The latest requests (`agent.proxy.explain`)."""
        self.explain: Any = None
        """Makes the answer to a request that asks why (agent.proxy.explain, introduced by agent.app.wiring)."""
        self.now = 0.0
        """The latest reading of `clock`. Whatever the loop calls first (octets from a client, a response head, a timer) reads it
        anew; what follows from that in the same turn takes it from here."""
        self._wall_offset_s = 0.0
        self.set_wall()
        self._heads: dict[bytes, RequestHead] = {}
        self._seen: set[int] = set()
        self._rng = 0x9E3779B97F4A7C15
        self._request_number = 0
        self._request_prefix = b""
        self._request_page = b""
        self._date = b""
        self._date_second = 0

    def seed(self, seed: int) -> None:
        """Set the generator behind splits, sampling and jitter, and what request ids begin with."""
        self._rng = (seed & 0xFFFFFFFFFFFFFFFF) or 1
        self._request_prefix = b"%016x-" % self._rng
        self._request_page = b""

    def random_u32(self) -> int:
        """The next of a xorshift sequence; good enough for splits and sampling, and cheap."""
        x = self._rng
        x ^= (x << 13) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 7
        x ^= (x << 17) & 0xFFFFFFFFFFFFFFFF
        self._rng = x
        return x >> 32

    def request_id(self) -> bytes:
        """A new X-Request-Id: a prefix of this process and a number."""
        number = self._request_number
        self._request_number = number + 1
        low = number & 0xFFF
        if low == 0 or not self._request_page:
            self._request_page = self._request_prefix + b"%05x" % (number >> 12)
        return self._request_page + _LOW_DIGITS[low]

    def trace_parent(self) -> bytes:
        """A new sampled traceparent (W3C Trace Context, version 00)."""
        high = self.random_u32() << 96 | self.random_u32() << 64 | self.random_u32() << 32 | self.random_u32()
        low = self.random_u32() << 32 | self.random_u32() | 1
        return b"00-%032x-%016x-01" % (high | 1, low)

    def parse_head(self, raw: bytes) -> RequestHead:
        """`parse_request_head` behind the memo of whole heads."""
        head = self._heads.get(raw)
        if head is not None:
            return head
        head = parse_request_head(raw, self.http.header_count_max, self.http.target_bytes_max)
        if len(raw) <= HEAD_BYTES_MAX:
            mark = hash(raw)
            seen = self._seen
            if mark in seen:
                if len(self._heads) >= HEADS_MAX:
                    self._heads.clear()
                self._heads[raw] = head
            else:
                if len(seen) >= SEEN_MAX:
                    seen.clear()
                seen.add(mark)
        return head

    def known_head(self, raw: bytes) -> RequestHead | None:
        """The parsed head, where exactly these octets are remembered."""
        return self._heads.get(raw)

    def clock(self) -> float:
        """Monotonic seconds, finer than the loop's own clock, on the same scale; `now` remembers the reading."""
        now = _CLOCK()
        self.now = now
        return now

    def wall(self) -> float:
        """Seconds of the wall clock at the latest reading of `clock`: a request is judged at the time that it came."""
        return self.now + self._wall_offset_s

    def set_wall(self) -> None:
        """Follow the system's wall clock; to be called now and then."""
        self._wall_offset_s = time() - self.clock()

    def date(self, now: float) -> bytes:
        """The value of a Date field, made once a second."""
        second = int(now)
        if second != self._date_second:
            self._date_second = second
            self._date = format_http_date(second)
        return self._date

    def retry_after_s(self, head: ResponseHead) -> float:
        """Seconds that Retry-After asks for (RFC 9110 section 10.2.3), at most 300; 0 where it says nothing usable."""
        value = head.get(b"retry-after")
        if value is None:
            return 0.0
        if value.isdigit():
            return min(float(value[:6]), 300.0)
        when = parse_http_date(value)
        if when is None:
            return 0.0
        date = parse_http_date(head.get(b"date") or b"")
        return min(max(when - (date if date is not None else self.wall()), 0.0), 300.0)

    def service_counters(self, name: str) -> ServiceCounters:
        counters = self.counters.get(name)
        if counters is None:
            counters = ServiceCounters(name)
            self.counters[name] = counters
        return counters

    def policy_for(self, target: RouteTarget, service: str) -> RoutePolicy:
        """The policy of a route towards one service (the route's own, or one that a split or plugin chose)."""
        key = (target, service)
        policy = self.policies.get(key)
        if policy is None:
            policy = RoutePolicy(target, self.clusters[service], self.service_counters(service))
            self.policies[key] = policy
        return policy

    def make_pool(self, cluster: Cluster, endpoint: Endpoint) -> Pool:
        """The pool of an endpoint, made at its first use."""
        pool = Pool(self.loop, self.wheel, endpoint.host, endpoint.port, self.pool_limits(cluster))
        endpoint.pool = pool
        return pool

    def pool_limits(self, cluster: Cluster) -> PoolLimits:
        """The bounds of a service's pools as configured now."""
        limits = cluster.service.limits
        bounds = PoolLimits(limits.connections_max, limits.idle_max, limits.idle_timeout, limits.pending_max)
        bounds.connect_timeout_s = cluster.service.timeouts.connect
        bounds.head_bytes_max = self.http.head_bytes_max
        bounds.header_count_max = self.http.header_count_max
        return bounds

    def install(self, table: RouteTable, clusters: dict[str, Cluster]) -> None:
        """Swap routes and clusters at once. Heads remember what they were routed to by `generation`."""
        self.table = table
        self.clusters = clusters
        self.plugins.services = clusters
        self.policies = {}
        self.hit_for_pass.clear()
        self.generation = object()
