"""The OpenAPI document of the admin API; a test holds it against the routes."""

from typing import Any


def _operation(summary: str, codes: tuple[int, ...] = (200,), query: tuple[str, ...] = (), body: bool = False) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {str(code): {"description": "JSON" if summary[:7] != "Metrics" else "text"} for code in codes},
    }
    if query:
        operation["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return operation


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pilotfish agent admin API", "version": "1"},
    "paths": {
        "/healthz": {"get": _operation("The process is alive")},
        "/readyz": {"get": _operation("The agent and its application take requests", (200, 503))},
        "/readyz/outbound": {"get": _operation("The agent alone takes requests", (200, 503))},
        "/metrics": {"get": _operation("Metrics for Prometheus or OpenMetrics")},
        "/config": {"get": _operation("The running configuration, secrets hidden")},
        "/clusters": {"get": _operation("Services, endpoints, health, latency, breakers")},
        "/cache": {"get": _operation("Statistics and listing", (200, 400), query=("list", "service", "host", "prefix", "limit"))},
        "/cache/purge": {"post": _operation("Purge by url, prefix, host, tag, service or all; soft", (200, 400), body=True)},
        "/routes": {"get": _operation("Services and their routes")},
        "/why": {"get": _operation("Why a recent request was answered as it was", (200, 404), ("id", "target"))},
        "/status": {"get": _operation("Totals by service, and how the last reload went")},
        "/plugins": {"get": _operation("Plugins and their record")},
        "/reload": {"post": _operation("Read the configuration again", (200, 409))},
        "/drain": {"post": _operation("Finish what is under way and exit", (202,))},
        "/debug/loop": {"get": _operation("Event loop lag, tasks, connections, timers, pauses of the garbage collector")},
        "/openapi.json": {"get": _operation("This document")},
    },
}
