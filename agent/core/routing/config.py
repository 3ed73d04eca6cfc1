"""Settings of services: who they are, which request is theirs, which endpoint gets it, and what protects both sides."""

from typing import Literal

from msgspec import Struct

from agent.core.cache.config import CachePolicy
from agent.core.units import Address, Count, Duration, Positive, Share, Size


class EndpointConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address of a service. A name with several addresses becomes several endpoints."""

    address: Address
    weight: Positive = 1
    zone: str = ""
    region: str = ""
    """The agent's own where empty."""


class Balance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which endpoint a request goes to."""

    policy: Literal["p2c_ewma", "round_robin", "least_request", "random", "ring_hash", "maglev"] = "p2c_ewma"
    hash_on: str = ""
    """For ring_hash and maglev: ``header:NAME``, ``cookie:NAME``, ``path`` or ``client``. A request without it is random."""
    ewma_decay: Duration = 10.0
    """Time constant of the peak-EWMA latency (linkerd's default)."""
    ewma_initial: Duration = 0.030
    """Latency that an endpoint counts with while its first request is under way. An idle one that has not answered yet costs
    nothing, so that it is tried."""
    zone_preference: bool = True
    """Keep to the agent's own zone while its endpoints can carry the load, spill over in proportion when they cannot:
    when fewer than 1/1.4 of them are usable, or when one costs more than `ewma_initial` and three times what a remote one does.
    Where there are endpoints in other regions, the agent's own region comes after its zone, and then the others, the nearest first."""
    slow_start: Duration = 0.0
    """How long a new or recovered endpoint takes to reach its full weight, from a tenth of it on. 0 gives it all at once. Has no
    effect on the hashing policies."""
    panic_threshold: Share = 0.5
    """Below this share of healthy endpoints, health is ignored and all get traffic. 0 switches panic off."""


class HealthCheck(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Active checks. Off while neither `path` nor `tcp` is set."""

    path: str = ""
    """Target of a GET; 2xx is healthy."""
    tcp: bool = False
    """Only open a connection."""
    host: str = ""
    """Host field of the check; the endpoint's address where empty."""
    interval: Duration = 5.0
    timeout: Duration = 1.0
    healthy: Positive = 2
    """Consecutive successes that bring an endpoint back."""
    unhealthy: Positive = 3
    """Consecutive failures that take it out."""


class Outlier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passive ejection of endpoints that fail or lag real requests (Envoy's terms)."""

    enabled: bool = True
    consecutive_5xx: Count = 5
    """0 switches the rule off; the same for the next."""
    consecutive_gateway: Count = 5
    """Consecutive 502, 503, 504, connection failures and time-outs."""
    interval: Duration = 10.0
    """How often success rate and latency are compared."""
    success_rate_stdev: float = 1.9
    """An endpoint whose success rate is this many standard deviations below the mean is ejected. 0 is off."""
    success_rate_hosts_min: Count = 5
    success_rate_requests_min: Count = 100
    latency_factor: float = 0.0
    """An endpoint whose mean latency is this many times the median of all is ejected. 0 is off."""
    ejection_base: Duration = 30.0
    """Ejection lasts this long times the number of ejections so far."""
    ejection_max: Duration = 300.0
    ejected_share_max: Share = 0.1
    """Never more of the endpoints than this at once, but at least one."""


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A circuit breaker for each endpoint and one for the service."""

    enabled: bool = True
    window: Duration = 10.0
    """Time over which rates are taken."""
    requests_min: Positive = 20
    """Below so many requests in the window the breaker stays closed."""
    error_rate: Share = 0.5
    """Share of failures that opens it."""
    slow_call: Duration = 0.0
    """A call longer than this is slow. 0 switches the slow-call rule off."""
    slow_rate: Share = 0.5
    """Share of slow calls that opens it."""
    open_for: Duration = 5.0
    """How long it stays open before it lets probes through."""
    probes: Positive = 3
    """Requests let through while half-open; all must succeed to close it."""


class ServiceLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what the service may have under way at once. Overflow is answered 503 and never blamed on an endpoint."""

    requests_max: Positive = 4096
    """Requests at upstreams."""
    pending_max: Count = 1024
    """Requests waiting for a connection."""
    connections_max: Positive = 512
    """Connections to one endpoint."""
    idle_max: Count = 512
    """Idle connections kept to one endpoint, as many as may be open: a burst of answers frees many at once that the next requests want
    again. `idle_timeout` closes the surplus."""
    idle_timeout: Duration = 30.0
    """How long an idle connection is kept."""


class Concurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Adaptive limit on requests in flight: a gradient of the shortest latency over the present one."""

    enabled: bool = True
    limit_min: Positive = 100
    limit_max: Positive = 4096
    window: Duration = 0.5
    """How often the limit is set anew."""
    rtt_window: Duration = 60.0
    """How long the shortest latency is believed before it is measured again."""
    tolerance: float = 2.0
    """Latency over the shortest that is still taken as no queueing."""
    slack: Duration = 0.05
    """Added to `tolerance` times the shortest: waiting of this length is the scheduler's and the agent's own, not an overloaded service."""
    priority_header: str = "X-Priority"
    """0 (first to be kept) to 9 (first to be shed); 5 where absent. The last tenths of the limit are kept for the low numbers."""


class Retries(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed try may be repeated. Only idempotent methods, or any method when no byte had been sent."""

    attempts: Count = 2
    """Tries after the first."""
    on: tuple[Literal["connect-failure", "reset", "timeout", "gateway-error", "5xx", "retriable-4xx", "429"], ...] = (
        "connect-failure",
        "reset",
        "gateway-error",
    )
    backoff_base: Duration = 0.025
    """Full jitter between 0 and base × 2ⁿ."""
    backoff_max: Duration = 0.25
    budget: Share = 0.2
    """Retries and hedges under way may be this share of the requests under way…"""
    budget_min: Count = 3
    """…but always this many."""
    body_bytes_max: Size = 65_536
    """A request body larger than this is not kept, and so not sent again."""


class Hedge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second try beside a slow first one, for GET and HEAD, inside the retry budget."""

    enabled: bool = False
    percentile: Share = 0.95
    """Sent when the first has taken longer than this percentile of recent requests."""
    delay_min: Duration = 0.005


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time limits towards the upstream. 0 is none. All end in 504."""

    connect: Duration = 1.0
    first_byte: Duration = 15.0
    """From the request being sent to the response's head."""
    idle: Duration = 30.0
    """Between two reads of a response body."""
    attempt: Duration = 0.0
    """One try, from the request being sent whole to the response's head (Envoy's per-try timeout): a client that takes its time over
    a body does not use it up. Retried where `retries.on` has ``timeout``."""
    request: Duration = 60.0
    """From the request's head to the response's head, over all tries. A shorter deadline from the client wins
    (``X-Request-Timeout-Ms``, ``grpc-timeout``)."""


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token bucket; more is answered 429 with Retry-After."""

    requests: Positive
    """Tokens that come each `per`."""
    per: Duration = 1.0
    burst: Count = 0
    """Tokens that the bucket holds; 0 means `requests`."""
    key: str = ""
    """One bucket for all where empty; else one for each ``header:NAME``, ``client`` or ``path``."""
    keys_max: Positive = 10_000
    """Buckets kept; the least recently used goes."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults made on purpose, for tests of the application."""

    delay: Duration = 0.0
    delay_share: Share = 0.0
    abort_status: Count = 0
    abort_share: Share = 0.0
    header: str = ""
    """Only requests that carry this field are touched, where set."""


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request must be for a route to be its own; all that is set must hold."""

    hosts: tuple[str, ...] = ()
    """As the service's `hosts`, further narrowed."""
    path: str = ""
    """The whole path."""
    prefix: str = ""
    """The path's beginning, at a segment border: ``/api`` matches ``/api`` and ``/api/x`` and not ``/apis``."""
    regex: str = ""
    """The whole path against a regular expression (Python's)."""
    methods: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    """Field name to value; ``*`` is any value, ``~…`` a regular expression."""


class Split(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service's share of a route."""

    service: str
    weight: Count


class Rewrite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the target is changed before it goes to the upstream."""

    prefix: str = ""
    """In place of the matched `prefix`."""
    regex: str = ""
    substitution: str = ""
    """In place of what `regex` matched in the path."""
    host: str = ""


class HeaderRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields set, added or removed."""

    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Redirect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer with a Location instead of forwarding."""

    status: Literal[301, 302, 303, 307, 308] = 302
    host: str = ""
    path: str = ""
    """In place of the path; the query is kept."""
    scheme: str = ""


class DirectResponse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer from the configuration."""

    status: Positive = 200
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of a service. The first that matches wins; what a route leaves out is as the service says."""

    name: str = ""
    match: Match = Match()
    split: tuple[Split, ...] = ()
    """Where the request goes; the route's own service where empty."""
    rewrite: Rewrite | None = None
    request_headers: HeaderRules | None = None
    response_headers: HeaderRules | None = None
    redirect: Redirect | None = None
    respond: DirectResponse | None = None
    timeouts: Timeouts | None = None
    retries: Retries | None = None
    cache: CachePolicy | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    fault: Fault | None = None


class Dns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How endpoints given by name are resolved."""

    refresh: Duration = 5.0
    """How often a name is resolved again. The last good answer is kept while resolving fails."""


class Service(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An upstream service as the application knows it."""

    hosts: tuple[str, ...] = ()
    """Host or authority of the requests that are for it: ``*``, exact, or ``*.suffix``. The most exact wins. Empty: only
    reachable by another service's `split`."""
    endpoints: tuple[str | EndpointConfig, ...] = ()
    """Where its requests go: ``host:port``, ``[v6]:port`` or ``unix:/path``. May be left out where every route answers by itself
    or splits to other services; a request that no route matches is then answered 404."""
    discovered: bool = False
    """Whether what members of the cluster announce under this service's name joins `endpoints`, which may then be empty."""
    routes: tuple[Route, ...] = ()
    balance: Balance = Balance()
    cache: CachePolicy = CachePolicy()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    hedge: Hedge = Hedge()
    health: HealthCheck = HealthCheck()
    outlier: Outlier = Outlier()
    breaker: Breaker = Breaker()
    limits: ServiceLimits = ServiceLimits()
    concurrency: Concurrency = Concurrency()
    rate_limits: tuple[RateLimit, ...] = ()
    fault: Fault | None = None
    request_headers: HeaderRules | None = None
    response_headers: HeaderRules | None = None
    dns: Dns = Dns()
