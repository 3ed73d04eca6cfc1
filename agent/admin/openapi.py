"""The OpenAPI document of the admin API. Tests hold it against the routes, and every answer against its schema."""

from typing import Any, Final

from agent.admin.cluster_schema import PATHS as CLUSTER_PATHS
from agent.admin.cluster_schema import components as cluster_components
from agent.admin.consensus_schema import COMPONENTS as CONSENSUS_COMPONENTS
from agent.admin.consensus_schema import PATHS as CONSENSUS_PATHS
from agent.admin.schema import ANYTHING, COUNT, FLAG, NUMBER, TEXT, Schema, array, fields, mapping, one_of, operation, or_null

_BREAKER: Final = one_of("closed", "open", "half-open")
_DURATION: Final[Schema] = {"anyOf": [NUMBER, TEXT]}
_ENDPOINT: Final = fields(
    address=TEXT,
    zone=TEXT,
    region=TEXT,
    origin=TEXT,
    weight=COUNT,
    usable=FLAG,
    healthy=FLAG,
    ejected_for_s=NUMBER,
    ejections=COUNT,
    breaker=_BREAKER,
    ewma_ms=NUMBER,
    in_flight=COUNT,
    cost=NUMBER,
    requests=COUNT,
    failures=COUNT,
)
_RELOAD: Final = fields(
    result=one_of("ok", "unchanged", "refused", "invalid", "failed"),
    generation=COUNT,
    at=NUMBER,
    problems=array(TEXT),
    cause_=TEXT,
    counts=mapping(COUNT),
)
_SERVICE_TOTALS: Final = fields(
    requests=COUNT,
    in_flight=COUNT,
    outcomes=mapping(COUNT),
    classes=mapping(COUNT),
    flags=mapping(COUNT),
    retries=COUNT,
    p50_ms_at_most_=or_null(NUMBER),
    p99_ms_at_most_=or_null(NUMBER),
)

COMPONENTS: Final[dict[str, Schema]] = {
    "Error": fields(error=TEXT),
    "Alive": fields(status=one_of("ok"), id=TEXT),
    "Readiness": fields(ready=FLAG, reason=TEXT),
    "Config": ANYTHING,
    "Clusters": array(
        fields(
            name=TEXT,
            policy=TEXT,
            in_flight=COUNT,
            panic=FLAG,
            breaker=_BREAKER,
            concurrency_limit=NUMBER,
            retries_under_way=COUNT,
            refused=mapping(COUNT),
            endpoints=array(_ENDPOINT),
        )
    ),
    "Cache": fields(
        policy=TEXT,
        size_bytes=COUNT,
        used_bytes=COUNT,
        filling_bytes=COUNT,
        entries=COUNT,
        services=mapping(fields(entries=COUNT, bytes=COUNT, inserts=COUNT, evictions=COUNT, purged=COUNT, rejected=COUNT)),
        listing_=array(fields(service=TEXT, host=TEXT, target=TEXT, status=COUNT, bytes=COUNT, hits=COUNT, ttl_s=NUMBER, tags=array(TEXT))),
    ),
    "Purge": {
        **fields(
            url_=TEXT,
            prefix_=TEXT,
            host_=TEXT,
            tag_=TEXT,
            service_=TEXT,
            all_={"const": True},
            soft_=FLAG,
            cluster_=FLAG,
            wait_=_DURATION,
            after_=TEXT,
        ),
        "oneOf": [{"required": [kind]} for kind in ("url", "prefix", "host", "tag", "service", "all")],
    },
    "Purged": fields(
        purged=COUNT,
        soft=FLAG,
        acked_=COUNT,
        of_=COUNT,
        missing_=array(TEXT),
        early_=array(TEXT),
        context_=TEXT,
        regions_=mapping(fields(acked=COUNT, of=COUNT)),
        unreachable_=array(TEXT),
    ),
    "Load": fields(ai_={"type": "number", "minimum": 0, "maximum": 1}, in_flight_=COUNT, queue_=COUNT, ttl_=_DURATION),
    "LoadTaken": fields(taken=FLAG, ttl_s=NUMBER),
    "Routes": array(fields(service=TEXT, hosts=array(TEXT), routes=array(TEXT))),
    "Why": fields(
        agent=TEXT,
        id=TEXT,
        request=fields(method=TEXT, authority=TEXT, target=TEXT),
        service=TEXT,
        status=COUNT,
        outcome=TEXT,
        cache_status=TEXT,
        flag=TEXT,
        flag_meaning=TEXT,
        detail=TEXT,
        endpoint=TEXT,
        ms=NUMBER,
        steps=array({"type": "object", "required": ["step"]}),
    ),
    "Status": fields(
        id=TEXT,
        uptime_s=NUMBER,
        draining=FLAG,
        clustered=FLAG,
        in_flight=COUNT,
        reload=_RELOAD,
        plugins=mapping(fields(enabled=FLAG, faults=COUNT, last_fault=TEXT)),
        services=mapping(_SERVICE_TOTALS),
    ),
    "Plugins": array(
        fields(
            name=TEXT,
            enabled=FLAG,
            required=FLAG,
            calls=COUNT,
            faults=COUNT,
            slow=COUNT,
            last_fault=TEXT,
            mean_us=NUMBER,
            hooks=array(TEXT),
            events=mapping(COUNT),
            background=fields(waiting=COUNT, done=COUNT, dropped=COUNT),
        )
    ),
    "Reload": _RELOAD,
    "Draining": fields(status=one_of("draining")),
    "Loop": fields(
        lag_s=NUMBER,
        lag_max_s=NUMBER,
        tasks=COUNT,
        connections=COUNT,
        timers=COUNT,
        gc=fields(
            collections=array(COUNT), collected=array(COUNT), pause_s=NUMBER, pause_max_s=NUMBER, frozen=COUNT, enabled={"type": "boolean"}
        ),
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
}


_LISTING: Final = {
    "list": "any value: list stored responses",
    "service": "only of this service",
    "host": "only of this host",
    "prefix": "only targets that begin with this",
    "limit": "at most so many, 100 unless given",
}
_WHY: Final = {"id": "X-Request-Id of the request", "target": "its target; the latest one"}

_PATHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/healthz": {"get": operation("The process is alive", {200: "Alive"})},
    "/readyz": {"get": operation("The agent and its application take requests", {200: "Readiness", 503: "Readiness"})},
    "/readyz/outbound": {"get": operation("The agent alone takes requests", {200: "Readiness", 503: "Readiness"})},
    "/metrics": {"get": operation("Metrics for Prometheus or OpenMetrics", {200: "text/plain,application/openmetrics-text"})},
    "/config": {"get": operation("The running configuration, secrets hidden", {200: "Config"})},
    "/clusters": {"get": operation("Services, endpoints, health, latency, breakers", {200: "Clusters"})},
    "/cache": {"get": operation("Statistics and listing", {200: "Cache", 400: "Error"}, _LISTING)},
    "/cache/purge": {
        "post": operation(
            "Purge by url, prefix, host, tag, service or all, on every agent",
            {200: "Purged", 400: "Error"},
            body="Purge",
        )
    },
    "/load": {"post": operation("The application reports its own load", {200: "LoadTaken", 400: "Error", 409: "Error"}, body="Load")},
    "/routes": {"get": operation("Services and their routes", {200: "Routes"})},
    "/why": {"get": operation("Why a recent request was answered as it was", {200: "Why", 404: "Error"}, _WHY)},
    "/status": {"get": operation("Totals by service, and how the last reload went", {200: "Status"})},
    "/plugins": {"get": operation("Plugins and their record", {200: "Plugins"})},
    "/reload": {"post": operation("Read the configuration again", {200: "Reload", 409: "Reload"})},
    "/drain": {"post": operation("Finish what is under way and exit", {202: "Draining"})},
    "/debug/loop": {"get": operation("Event loop lag, tasks, connections, timers, pauses of the garbage collector", {200: "Loop"})},
    **CLUSTER_PATHS,
    **CONSENSUS_PATHS,
    "/openapi.json": {"get": operation("This document", {200: "OpenApi"})},
}
_IN_NAMES: Final = str.maketrans({"/": "_", ".": "_", "{": None, "}": None})
COMPONENTS.update(cluster_components(COMPONENTS["Clusters"]))
COMPONENTS.update(CONSENSUS_COMPONENTS)
for _path, _methods in _PATHS.items():
    for _method, _one in _methods.items():
        _one["operationId"] = _method + _path.translate(_IN_NAMES)

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "Pilotfish agent admin API", "version": "1"},
    "paths": _PATHS,
    "components": {"schemas": COMPONENTS},
}
