"""Reason flags: why the agent, and not an upstream, made a response. Envoy's letters where Envoy has them."""

from typing import Final

NO_ROUTE: Final = "NR"
NO_HEALTHY: Final = "UH"
OVERFLOW: Final = "UO"
BREAKER_OPEN: Final = "CB"
LOAD_SHED: Final = "LS"
RATE_LIMITED: Final = "RL"
UPSTREAM_UNREACHABLE: Final = "UF"
UPSTREAM_RESET: Final = "UC"
UPSTREAM_TIMEOUT: Final = "UT"
UPSTREAM_PROTOCOL_ERROR: Final = "UPE"
DOWNSTREAM_PROTOCOL_ERROR: Final = "DPE"
DOWNSTREAM_CLOSED: Final = "DC"
DOWNSTREAM_TIMEOUT: Final = "DT"
BODY_TOO_LARGE: Final = "BL"
FAULT_INJECTED: Final = "FI"
ONLY_IF_CACHED: Final = "OIC"
LOOP: Final = "LP"
CONNECTIONS_MAX: Final = "CX"
PLUGIN: Final = "PL"
DRAINING: Final = "DR"
DEADLINE: Final = "DE"

MEANING: Final[dict[str, str]] = {
    NO_ROUTE: "no service or route matches the request",
    NO_HEALTHY: "the service has no healthy endpoint",
    OVERFLOW: "a bound of the service (requests, connections, waiting) is reached",
    BREAKER_OPEN: "the service's circuit breaker is open",
    LOAD_SHED: "the adaptive concurrency limit shed the request",
    RATE_LIMITED: "a rate limit is used up",
    UPSTREAM_UNREACHABLE: "no connection to the upstream",
    UPSTREAM_RESET: "the upstream closed the connection early",
    UPSTREAM_TIMEOUT: "the upstream did not answer in time",
    UPSTREAM_PROTOCOL_ERROR: "the upstream's response is not valid HTTP/1",
    DOWNSTREAM_PROTOCOL_ERROR: "the client's request is not valid HTTP/1",
    DOWNSTREAM_CLOSED: "the client left before the response was complete",
    DOWNSTREAM_TIMEOUT: "the client did not send its request in time",
    BODY_TOO_LARGE: "the request body is larger than allowed",
    FAULT_INJECTED: "a configured fault",
    ONLY_IF_CACHED: "the client asked for a stored response and there is none",
    LOOP: "the request has passed through this agent before",
    CONNECTIONS_MAX: "the listener has its largest number of connections",
    PLUGIN: "a plugin answered, or a required plugin failed",
    DRAINING: "the agent is leaving",
    DEADLINE: "the client's deadline has passed",
}
