"""The OpenAPI document of the admin API. Tests hold it against the routes, and every answer against its schema."""

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {"type": "object"}


def _object(**properties: Schema) -> Schema:
    """An object with exactly these; a name that ends in _ may be missing."""
    required = [name for name in properties if not name.endswith("_")]
    return {
        "type": "object",
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _map(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_BREAKER: Final = _one_of("closed", "open", "half-open")
_ENDPOINT: Final = _object(
    address=TEXT,
    zone=TEXT,
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
_RELOAD: Final = _object(
    result=_one_of("ok", "unchanged", "refused", "invalid", "failed"),
    generation=COUNT,
    at=NUMBER,
    problems=_list(TEXT),
    cause_=TEXT,
    counts=_map(COUNT),
)
_SERVICE_TOTALS: Final = _object(
    requests=COUNT,
    in_flight=COUNT,
    outcomes=_map(COUNT),
    classes=_map(COUNT),
    flags=_map(COUNT),
    retries=COUNT,
    p50_ms_at_most_=_or_null(NUMBER),
    p99_ms_at_most_=_or_null(NUMBER),
)

COMPONENTS: Final[dict[str, Schema]] = {
    "Error": _object(error=TEXT),
    "Alive": _object(status=_one_of("ok"), id=TEXT),
    "Readiness": _object(ready=FLAG, reason=TEXT),
    "Config": ANYTHING,
    "Clusters": _list(
        _object(
            name=TEXT,
            policy=TEXT,
            in_flight=COUNT,
            panic=FLAG,
            breaker=_BREAKER,
            concurrency_limit=NUMBER,
            retries_under_way=COUNT,
            refused=_map(COUNT),
            endpoints=_list(_ENDPOINT),
        )
    ),
    "Cache": _object(
        policy=TEXT,
        size_bytes=COUNT,
        used_bytes=COUNT,
        filling_bytes=COUNT,
        entries=COUNT,
        services=_map(_object(entries=COUNT, bytes=COUNT, inserts=COUNT, evictions=COUNT, purged=COUNT, rejected=COUNT)),
        listing_=_list(
            _object(service=TEXT, host=TEXT, target=TEXT, status=COUNT, bytes=COUNT, hits=COUNT, ttl_s=NUMBER, tags=_list(TEXT))
        ),
    ),
    "Purge": {
        **_object(url_=TEXT, prefix_=TEXT, host_=TEXT, tag_=TEXT, service_=TEXT, all_={"const": True}, soft_=FLAG),
        "oneOf": [{"required": [kind]} for kind in ("url", "prefix", "host", "tag", "service", "all")],
    },
    "Purged": _object(purged=COUNT, soft=FLAG),
    "Routes": _list(_object(service=TEXT, hosts=_list(TEXT), routes=_list(TEXT))),
    "Why": _object(
        agent=TEXT,
        id=TEXT,
        request=_object(method=TEXT, authority=TEXT, target=TEXT),
        service=TEXT,
        status=COUNT,
        outcome=TEXT,
        cache_status=TEXT,
        flag=TEXT,
        flag_meaning=TEXT,
        detail=TEXT,
        endpoint=TEXT,
        ms=NUMBER,
        steps=_list({"type": "object", "required": ["step"]}),
    ),
    "Status": _object(
        id=TEXT,
        uptime_s=NUMBER,
        draining=FLAG,
        in_flight=COUNT,
        reload=_RELOAD,
        plugins=_map(_object(enabled=FLAG, faults=COUNT, last_fault=TEXT)),
        services=_map(_SERVICE_TOTALS),
    ),
    "Plugins": _list(
        _object(
            name=TEXT,
            enabled=FLAG,
            required=FLAG,
            calls=COUNT,
            faults=COUNT,
            slow=COUNT,
            last_fault=TEXT,
            mean_us=NUMBER,
            hooks=_list(TEXT),
            events=_map(COUNT),
            background=_object(waiting=COUNT, done=COUNT, dropped=COUNT),
        )
    ),
    "Reload": _RELOAD,
    "Draining": _object(status=_one_of("draining")),
    "Loop": _object(
        lag_s=NUMBER,
        lag_max_s=NUMBER,
        tasks=COUNT,
        connections=COUNT,
        timers=COUNT,
        gc=_object(
            collections=_list(COUNT), collected=_list(COUNT), pause_s=NUMBER, pause_max_s=NUMBER, frozen=COUNT, enabled={"type": "boolean"}
        ),
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(summary: str, answers: dict[int, str], query: dict[str, str] | None = None, body: str = "") -> dict[str, Any]:
    """`answers`: status to the name of its schema; empty: text for scrapers."""
    operation: dict[str, Any] = {"summary": summary, "responses": {}}
    for status, schema in answers.items():
        content: Schema = {"application/json": {"schema": _ref(schema)}}
        if not schema:
            content = {kind: {"schema": TEXT} for kind in ("text/plain", "application/openmetrics-text")}
        operation["responses"][str(status)] = {"description": schema or "The samples", "content": content}
    if query:
        operation["parameters"] = [{"name": key, "in": "query", "description": told, "schema": TEXT} for key, told in query.items()]
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation


_LISTING: Final = {
    "list": "any value: list stored responses",
    "service": "only of this service",
    "host": "only of this host",
    "prefix": "only targets that begin with this",
    "limit": "at most so many, 100 unless given",
}
_WHY: Final = {"id": "X-Request-Id of the request", "target": "its target; the latest one"}

_PATHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/healthz": {"get": _operation("The process is alive", {200: "Alive"})},
    "/readyz": {"get": _operation("The agent and its application take requests", {200: "Readiness", 503: "Readiness"})},
    "/readyz/outbound": {"get": _operation("The agent alone takes requests", {200: "Readiness", 503: "Readiness"})},
    "/metrics": {"get": _operation("Metrics for Prometheus or OpenMetrics", {200: ""})},
    "/config": {"get": _operation("The running configuration, secrets hidden", {200: "Config"})},
    "/clusters": {"get": _operation("Services, endpoints, health, latency, breakers", {200: "Clusters"})},
    "/cache": {"get": _operation("Statistics and listing", {200: "Cache", 400: "Error"}, _LISTING)},
    "/cache/purge": {
        "post": _operation("Purge by url, prefix, host, tag, service or all; soft", {200: "Purged", 400: "Error"}, body="Purge")
    },
    "/routes": {"get": _operation("Services and their routes", {200: "Routes"})},
    "/why": {"get": _operation("Why a recent request was answered as it was", {200: "Why", 404: "Error"}, _WHY)},
    "/status": {"get": _operation("Totals by service, and how the last reload went", {200: "Status"})},
    "/plugins": {"get": _operation("Plugins and their record", {200: "Plugins"})},
    "/reload": {"post": _operation("Read the configuration again", {200: "Reload", 409: "Reload"})},
    "/drain": {"post": _operation("Finish what is under way and exit", {202: "Draining"})},
    "/debug/loop": {"get": _operation("Event loop lag, tasks, connections, timers, pauses of the garbage collector", {200: "Loop"})},
    "/openapi.json": {"get": _operation("This document", {200: "OpenApi"})},
}
for _path, _methods in _PATHS.items():
    for _method, _one in _methods.items():
        _one["operationId"] = _method + _path.replace("/", "_").replace(".", "_")

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "Pilotfish agent admin API", "version": "1"},
    "paths": _PATHS,
    "components": {"schemas": COMPONENTS},
}
