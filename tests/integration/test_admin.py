"""The admin API: every route documented, every answer as its schema says, metrics that parse, add up and stay bounded."""

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from agent.admin.catalogue import CATALOGUE, PROCESS, sample_names
from agent.admin.cluster_schema import PATHS as CLUSTER_PATHS
from agent.admin.consensus_schema import PATHS as CONSENSUS_PATHS
from agent.admin.openapi import DOCUMENT
from agent.admin.server import AdminServer
from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("admin")


def answer(request: Received) -> bytes:
    if request.target.startswith("/fail"):
        return response("no", 500)
    return response("hello", headers=[("Cache-Control", "max-age=60"), ("Cache-Tag", "a")] if request.target.startswith("/kept") else [])


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """With every feature that adds to the API, and some traffic."""
    with Upstream(answer) as upstream:
        service = {"hosts": ["web"], "endpoints": [upstream.address], "cache": {"enabled": True}, "retries": {"attempts": 0}}
        config = {
            "services": {"web": {**service, "outlier": {"enabled": False}, "breaker": {"enabled": False}}},
            "log": {"access": {"path": str(tmp_path_factory.mktemp("logs") / "access.log")}},
            "plugins": [{"name": "header_rules", "config": {"rules": []}}],
        }
        with AgentProcess(config) as agent:
            with RawClient(agent.egress) as client:
                client.get("/kept", "web", "X-Request-Id: known")
                client.get("/kept", "web")
                client.get("/other", "nobody")
            yield agent


def check(document: dict[str, Any], path: str, method: str, status: int, body: bytes) -> Any:
    """The answer's body, valid by the document."""
    schema = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    value = json.loads(body)
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)
    return value


def test_the_document_is_openapi_and_served() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    identifiers = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_every_route_is_documented_and_every_documented_one_exists() -> None:
    server = AdminServer(SimpleNamespace(fabric=None), None, None)  # type: ignore[arg-type] # none is asked
    routes = [(route.method.lower(), route.resource.canonical) for route in server._application().router.routes() if route.resource]
    assert {one for one in routes if one[0] != "head"} == {
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }


def test_the_page_names_every_endpoint() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert f"| `{method.upper()}` | `{path}` | {operation['summary']} |" in page


CALLS: list[tuple[str, str, str, Any, int]] = [
    ("get", "/healthz", "", None, 200),
    ("get", "/readyz", "", None, 200),
    ("get", "/readyz/outbound", "", None, 200),
    ("get", "/config", "", None, 200),
    ("get", "/clusters", "", None, 200),
    ("get", "/cache", "", None, 200),
    ("get", "/cache", "?list=1&service=web&host=web&prefix=/&limit=5", None, 200),
    ("get", "/cache", "?limit=many", None, 400),
    ("get", "/routes", "", None, 200),
    ("get", "/why", "?id=known", None, 200),
    ("get", "/why", "?target=/kept", None, 200),
    ("get", "/why", "?id=unknown", None, 404),
    ("get", "/status", "", None, 200),
    ("get", "/plugins", "", None, 200),
    ("post", "/reload", "", {}, 200),
    ("get", "/debug/loop", "", None, 200),
    ("get", "/openapi.json", "", None, 200),
    ("post", "/cache/purge", "", {"url": "http://web/nothing"}, 200),
    ("post", "/cache/purge", "", {"prefix": "http://web/nothing", "soft": True}, 200),
    ("post", "/cache/purge", "", {"host": "nothing"}, 200),
    ("post", "/cache/purge", "", {"tag": "nothing"}, 200),
    ("post", "/cache/purge", "", {"service": "nothing"}, 200),
    ("post", "/cache/purge", "", [], 400),
    ("post", "/cache/purge", "", {}, 400),
    ("post", "/cache/purge", "", {"url": "http://[", "soft": False}, 400),
    ("post", "/cache/purge", "", {"url": "/no-host"}, 400),
    ("post", "/cache/purge", "", {"tag": "\ud800"}, 400),
    ("post", "/cache/purge", "", {"tag": 7}, 400),
    ("post", "/cache/purge", "", {"all": 1}, 400),
    ("post", "/cache/purge", "", {"host": "a", "tag": "b"}, 400),
    ("post", "/cache/purge", "", {"host": "a", "hots": "b"}, 400),
    ("post", "/cache/purge", "", {"host": "a", "soft": "yes"}, 400),
    ("post", "/cache/purge", "", {"host": "a", "wait": "2s", "cluster": True}, 200),
    ("post", "/cache/purge", "", {"host": "a", "wait": "2 parsecs"}, 400),
    ("post", "/cache/purge", "", {"host": "a", "wait": "2s", "cluster": False}, 400),
    ("post", "/cache/purge", "", {"host": "a", "cluster": 1}, 400),
    ("post", "/cache/purge", "", {"host": "a", "after": 1}, 400),
    ("post", "/load", "", {"ai": 0.5}, 409),
]


@pytest.mark.parametrize(("method", "path", "query", "body", "expected"), CALLS)
def test_answers_are_as_documented(agent: AgentProcess, method: str, path: str, query: str, body: Any, expected: int) -> None:
    status, got = agent.call(path + query, body, method.upper())
    assert status == expected, got
    check(agent.get("/openapi.json"), path, method, status, got)


def test_every_documented_endpoint_and_status_is_called_somewhere_above() -> None:
    """`/metrics` and `/drain`, what says that it is not ready, the cluster, consensus and the page have tests of their own; so has
    `/load` with a cluster (tests/integration/test_mesh_purges.py)."""
    called = {(path, method, status) for method, path, _, _, status in CALLS}
    documented = {
        (path, method, int(status))
        for path, methods in DOCUMENT["paths"].items()
        for method, one in methods.items()
        for status in one["responses"]
        if path not in CLUSTER_PATHS and path not in CONSENSUS_PATHS
    }
    elsewhere = {("/metrics", "get", 200), ("/drain", "post", 202), ("/reload", "post", 409)}
    elsewhere |= {("/load", "post", 200), ("/load", "post", 400)}
    elsewhere |= {("/readyz", "get", 503), ("/readyz/outbound", "get", 503)}
    assert documented - called == elsewhere


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 60_000, "application/json"),
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b"{}", "application/json; charset=no"),
    ],
)
def test_bodies_that_are_no_json_are_told(agent: AgentProcess, body: bytes, kind: str) -> None:
    request = urllib.request.Request(f"http://{agent.admin[0]}:{agent.admin[1]}/cache/purge", body, {"Content-Type": kind})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    assert "is not JSON" in json.load(caught.value)["error"]


@pytest.mark.parametrize(("path", "method", "expected"), [("/nothing", "GET", 404), ("/reload", "GET", 405), ("/healthz", "DELETE", 405)])
def test_what_is_not_there_is_told_in_json(agent: AgentProcess, path: str, method: str, expected: int) -> None:
    status, body = agent.call(path, None, method)
    assert status == expected
    assert json.loads(body)["error"]


def test_a_body_that_is_too_large_is_refused(agent: AgentProcess) -> None:
    status, body = agent.call("/cache/purge", {"tag": "x" * 70_000}, "POST")
    assert status == 413
    assert json.loads(body)["error"]


def scrape(agent: AgentProcess, accept: str) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{agent.admin[0]}:{agent.admin[1]}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


def test_metrics_parse_in_both_formats_and_say_the_same(agent: AgentProcess) -> None:
    kind, text = scrape(agent, "text/plain")
    assert kind.startswith("text/plain; version=")
    open_kind, open_text = scrape(agent, "application/openmetrics-text; version=1.0.0")
    assert open_kind.startswith("application/openmetrics-text; version=1.0.0")
    assert open_text.endswith("# EOF\n")
    plain = {(sample.name, tuple(sorted(sample.labels.items()))) for family in parse_prometheus(text) for sample in family.samples}
    opened = {(sample.name, tuple(sorted(sample.labels.items()))) for family in parse_openmetrics(open_text) for sample in family.samples}
    assert plain == opened


def test_every_metric_is_described_and_every_described_one_is_there(agent: AgentProcess) -> None:
    wait_until(lambda: agent.metric("pilotfish_access_log_lines_total", result="written"), "the access log to be written")
    told = {sample.name for family in parse_prometheus(scrape(agent, "")[1]) for sample in family.samples}
    described = {sample for name in (*CATALOGUE, *PROCESS) for sample in sample_names(name)}
    # An eviction and a plugin's own event need a store that is full and a plugin that counts.
    rare = {"pilotfish_plugin_events_total"}
    # Those of the cluster need one (tests/integration/test_mesh_purges.py).
    rare |= {name for name in described if name.startswith("pilotfish_mesh_")}
    # Those of the replicated state need consensus (tests/unit/state/test_state_metrics.py).
    rare |= {name for name in described if name.startswith("pilotfish_state_")}
    # So do the group's (tests/integration/test_consensus_operated.py).
    rare |= {name for name in described if name.startswith("pilotfish_consensus_")}
    assert told - described == set()
    assert {
        name for name in described - told if not name.startswith("pilotfish_cluster_")
    } <= rare  # tests of the cluster see to the others
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"`((?:pilotfish|process)_\w+)`", page)) == described


def test_histograms_and_counters_add_up_against_known_traffic() -> None:
    with Upstream(answer) as upstream:
        service = {"hosts": ["web"], "endpoints": [upstream.address], "cache": {"enabled": True}, "retries": {"attempts": 0}}
        services = {"web": {**service, "outlier": {"enabled": False}, "breaker": {"enabled": False}}}
        with AgentProcess({"services": services}) as agent:
            with RawClient(agent.egress) as client:
                for target, host, times in (("/kept", "web", 10), ("/plain", "web", 5), ("/fail", "web", 3), ("/x", "nobody", 2)):
                    for _ in range(times):
                        client.get(target, host)
                for _ in range(4):
                    client.send(b"POST /form HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi").reply()
            with RawClient(agent.egress) as client:
                client.send(b"nonsense\r\n\r\n").rest()
            wait_until(lambda: agent.metric("pilotfish_connections", listener="egress") == 0, "the connections are closed")
            counts: Counter[tuple[str, str, str]] = Counter()
            for family in parse_prometheus(scrape(agent, "")[1]):
                if family.name != "pilotfish_request_duration_seconds":
                    continue
                buckets: dict[tuple[str, str, str], list[float]] = {}
                for sample in family.samples:
                    key = (sample.labels["service"], sample.labels["code"], sample.labels["outcome"])
                    if sample.name.endswith("_bucket"):
                        buckets.setdefault(key, []).append(sample.value)
                    elif sample.name.endswith("_count"):
                        counts[key] += int(sample.value)
                    else:
                        assert sample.value >= 0
                for key, values in buckets.items():
                    assert values == sorted(values)
                    assert values[-1] == counts[key]
            assert {key: count for key, count in counts.items() if count} == {
                ("web", "2xx", "miss"): 6,
                ("web", "2xx", "hit"): 9,
                ("web", "5xx", "miss"): 3,
                ("web", "2xx", "bypass"): 4,
                ("none", "4xx", "local"): 3,
            }
            for name, labels, value in (
                ("pilotfish_endpoint_requests_total", {"endpoint": upstream.address}, 13),
                ("pilotfish_endpoint_failures_total", {}, 3),
                ("pilotfish_local_responses_total", {"flag": "NR"}, 2),
                ("pilotfish_local_responses_total", {"flag": "DPE"}, 1),
                ("pilotfish_cache_entries", {}, 1),
                ("pilotfish_cache_stored_total", {}, 1),
                ("pilotfish_connections_accepted_total", {"listener": "egress"}, 2),
                ("pilotfish_protocol_errors_total", {"listener": "egress"}, 1),
                ("pilotfish_requests_in_flight", {}, 0),
                ("pilotfish_endpoint_in_flight", {}, 0),
            ):
                assert agent.metric(name, **labels) == value, name
            assert len(upstream.requests) == 13
            totals = agent.get("/status")["services"]["web"]
            assert (totals["requests"], totals["classes"], totals["outcomes"]["hit"]) == (22, {"2xx": 19, "5xx": 3}, 9)


def test_a_thousand_paths_hosts_and_methods_make_no_new_series() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:

            def series() -> set[str]:
                return {line.rpartition(" ")[0] for line in scrape(agent, "")[1].splitlines() if not line.startswith("#")}

            client.get("/", "warm")
            client.get("/", "warm", method="POSTED")
            before = series()
            for number in range(1000):
                client.get(
                    f"/{number}?q={number}", f"host-{number}", f"X-Request-Id: {number}", method="GET" if number % 2 else f"M{number}"
                )
            assert series() == before


def test_a_drain_by_the_api_is_told_and_readiness_says_so_in_the_documented_form() -> None:
    with Upstream(response("hello")) as upstream:
        config = {"services": {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}, "drain": {"delay": "3s", "timeout": "1s"}}
        with AgentProcess(config) as agent:
            document = agent.get("/openapi.json")
            status, body = agent.call("/drain", {}, "POST")
            assert status == 202
            check(document, "/drain", "post", 202, body)
            for path in ("/readyz", "/readyz/outbound"):
                got = wait_until(lambda path=path: (found := agent.call(path))[0] == 503 and found, "readiness is withdrawn")
                assert check(document, path, "get", 503, got[1]) == {"ready": False, "reason": "draining"}
            assert agent.get("/status")["draining"] is True
            assert agent.process is not None
            assert agent.process.wait(20) == 0


def test_the_two_readiness_answers_do_not_wait_for_each_other() -> None:
    healthy = False

    def application(request: Received) -> bytes:
        return response("ok", 200 if healthy else 503)

    with Upstream(application) as upstream:
        config = {
            "listen": {"ingress": "127.0.0.1:0"},
            "application": {
                "endpoints": [upstream.address],
                "health": {"path": "/healthz", "interval": "50ms", "unhealthy": 1, "healthy": 1},
            },
            "services": {},
        }
        with AgentProcess(config) as agent:
            wait_until(lambda: agent.call("/readyz")[0] == 503, "the application is known to be down")
            assert agent.get("/readyz/outbound") == {"ready": True, "reason": "ready"}
            assert agent.call("/healthz")[0] == 200
            healthy = True
            wait_until(lambda: agent.call("/readyz")[0] == 200, "the application is known to be up")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:9901", 200),
        ("agent.localhost", 200),
        ("127.0.0.1", 200),
        ("[::1]:9901", 200),
        ("10.1.2.3:9901", 200),
        ("rebound.example:9901", 421),
        ("localhost.example", 421),
        ("127.0.0.1.example", 421),
        ("[broken", 421),
    ],
)
def test_on_loopback_a_name_of_somebody_elses_is_not_answered(agent: AgentProcess, host: str, expected: int) -> None:
    """DNS rebinding: a browser that was sent to 127.0.0.1 still names the site that sent it."""
    with RawClient(agent.admin) as client:
        assert client.get("/healthz", host).status == expected


@pytest.mark.parametrize("header", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"])
def test_another_sites_page_cannot_make_the_agent_do_anything(agent: AgentProcess, header: str) -> None:
    with RawClient(agent.admin) as client:
        client.send(f"POST /cache/purge HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert client.reply("POST").status == 403
