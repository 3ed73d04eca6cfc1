"""Which upstream a request goes to, what it looks like there, and what the agent answers by itself."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient, Reply
from tests.harness.upstream import Close, Received, Upstream, response
from tests.harness.wait import wait_until


def named(name: str) -> Upstream:
    def answer(request: Received) -> bytes:
        return response(json.dumps({"by": name, "target": request.target, "headers": request.headers()}), headers=[("X-Upstream", name)])

    return Upstream(answer)


class Town:
    """One agent before several upstreams, with a service for each thing to be shown."""

    def __init__(self, directory: Path) -> None:
        self.upstreams = {name: named(name) for name in ("exact", "suffix", "any", "second", "stable", "canary")}
        self.failing = Upstream(self._fail)
        self.silent = Upstream(lambda _: None)
        self.failures: Counter[str] = Counter()
        self.log = directory / "access.log"
        at = {name: [upstream.address] for name, upstream in self.upstreams.items()}
        services: dict[str, Any] = {
            "exact": {"hosts": ["shop.local"], "endpoints": at["exact"]},
            "suffix": {"hosts": ["*.shop.local"], "endpoints": at["suffix"]},
            "second": {"hosts": ["second.local"], "endpoints": at["second"]},
            "stable": {"endpoints": at["stable"]},
            "canary": {"endpoints": at["canary"]},
            "any": {"hosts": ["*"], "endpoints": at["any"]},
            "own": {"hosts": ["own.local"], "routes": self._own()},
            "edges": {"hosts": ["edges.local"], "endpoints": at["second"], **self._edges()},
            "limits": {
                "hosts": ["limits.local"],
                "endpoints": [self.failing.address],
                "routes": self._limits(),
                "breaker": {"enabled": False},
            },
            "silent": {"hosts": ["silent.local"], "endpoints": [self.silent.address], "routes": self._silent()},
        }
        services["any"]["routes"] = self._matches()
        self.agent = AgentProcess({"services": services, "egress": {"unmatched": "reject"}, "log": {"access": {"path": str(self.log)}}})

    def _fail(self, request: Received) -> bytes:
        self.failures[request.target] += 1
        return response("broken", 503)

    @staticmethod
    def _matches() -> list[dict[str, Any]]:
        def to(service: str) -> list[dict[str, Any]]:
            return [{"service": service, "weight": 1}]

        return [
            {"name": "path", "match": {"path": "/exactly"}, "split": to("second")},
            {"name": "prefix", "match": {"prefix": "/api"}, "split": to("second")},
            {"name": "regex", "match": {"regex": "/items/[0-9]+"}, "split": to("second")},
            {"name": "method", "match": {"prefix": "/m", "methods": ["POST", "PUT"]}, "split": to("second")},
            {"name": "header", "match": {"headers": {"X-Canary": "yes"}}, "split": to("canary")},
            {"name": "present", "match": {"headers": {"X-Any": "*"}}, "split": to("canary")},
            {"name": "pattern", "match": {"headers": {"X-User": "~ann.*"}}, "split": to("canary")},
            {"name": "host", "match": {"hosts": ["*.narrow.local"]}, "split": to("second")},
        ]

    @staticmethod
    def _own() -> list[dict[str, Any]]:
        """A service that needs no endpoints: all that it does is answer or hand on."""
        return [
            {"match": {"path": "/old"}, "redirect": {"path": "/new", "status": 308}},
            {"match": {"path": "/away"}, "redirect": {"host": "else.local:8080", "scheme": "https"}},
            {"match": {"path": "/robots.txt"}, "respond": {"status": 200, "body": "no"}},
            {"match": {"path": "/gone"}, "respond": {"status": 410, "body": "{}", "content_type": "application/json"}},
            {
                "match": {"prefix": "/split"},
                "split": [{"service": "stable", "weight": 80}, {"service": "canary", "weight": 20}],
            },
            {"match": {"path": "/none"}, "split": [{"service": "stable", "weight": 0}, {"service": "canary", "weight": 1}]},
        ]

    @staticmethod
    def _edges() -> dict[str, Any]:
        return {
            "request_headers": {"set": {"X-Team": "fish"}, "remove": ["X-Secret"]},
            "response_headers": {"add": {"X-Served": "by-us"}, "remove": ["X-Upstream"]},
            "routes": [
                {"match": {"prefix": "/v1"}, "rewrite": {"prefix": "/v2"}},
                {"match": {"prefix": "/strip"}, "rewrite": {"prefix": "/"}},
                {
                    "match": {"regex": "/users/.*"},
                    "rewrite": {"regex": "^/users/([0-9]+)", "substitution": r"/people/\1", "host": "inner.local"},
                },
                {"match": {"path": "/route"}, "request_headers": {"set": {"X-Team": "shark"}, "add": {"X-More": "1"}}},
            ],
        }

    @staticmethod
    def _limits() -> list[dict[str, Any]]:
        return [
            {"match": {"path": "/twice"}, "retries": {"attempts": 1, "backoff_base": "1ms"}},
            {"match": {"path": "/once"}, "retries": {"attempts": 0}},
        ]

    @staticmethod
    def _silent() -> list[dict[str, Any]]:
        return [
            {"match": {"path": "/short"}, "timeouts": {"first_byte": "100ms"}, "retries": {"attempts": 0}},
            {"match": {"path": "/whole"}, "timeouts": {"request": "150ms", "first_byte": "10s"}},
        ]

    def get(self, host: str, target: str = "/", *lines: str, method: str = "GET") -> Reply:
        with RawClient(self.agent.egress) as client:
            return client.get(target, host, *lines, method=method)

    def by(self, host: str, target: str = "/", *lines: str, method: str = "GET") -> str:
        return str(json.loads(self.get(host, target, *lines, method=method).body)["by"])

    def seen(self, host: str, target: str, *lines: str) -> dict[str, Any]:
        """What the upstream saw."""
        found: dict[str, Any] = json.loads(self.get(host, target, *lines).body)
        found["headers"] = dict(found["headers"])
        return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    with town.agent:
        yield town
    for upstream in (*town.upstreams.values(), town.failing, town.silent):
        upstream.close()


def test_hosts_choose_the_service(town: Town) -> None:
    assert town.by("shop.local") == "exact"
    assert town.by("SHOP.local:80") == "exact"
    assert town.by("a.shop.local") == "suffix"
    assert town.by("b.a.shop.local:8080") == "suffix"
    assert town.by("notshop.local") == "any"
    assert town.by("elsewhere", "http://shop.local/x") == "exact"  # absolute-form wins over Host


@pytest.mark.parametrize(
    ("target", "lines", "method", "by"),
    [
        ("/exactly", (), "GET", "second"),
        ("/exactly?q=1", (), "GET", "second"),
        ("/exactly/", (), "GET", "any"),
        ("/api", (), "GET", "second"),
        ("/api/x", (), "GET", "second"),
        ("/apis", (), "GET", "any"),
        ("/items/42", (), "GET", "second"),
        ("/items/42/x", (), "GET", "any"),
        ("/items/x", (), "GET", "any"),
        ("/m", (), "GET", "any"),
        ("/m", ("Content-Length: 0",), "POST", "second"),
        ("/m", ("Content-Length: 0",), "PUT", "second"),
        ("/", ("X-Canary: yes",), "GET", "canary"),
        ("/", ("X-Canary: no",), "GET", "any"),
        ("/", ("x-any: thing",), "GET", "canary"),
        ("/", ("X-User: anna",), "GET", "canary"),
        ("/", ("X-User: joanna",), "GET", "any"),
    ],
)
def test_paths_methods_and_headers_choose_the_route(town: Town, target: str, lines: tuple[str, ...], method: str, by: str) -> None:
    assert town.by("elsewhere", target, *lines, method=method) == by


def test_a_route_may_narrow_the_hosts(town: Town) -> None:
    assert town.by("x.narrow.local") == "second"
    assert town.by("narrow.local") == "any"


def test_redirects_and_direct_responses_need_no_upstream(town: Town) -> None:
    reply = town.get("own.local", "/old?a=1")
    assert (reply.status, reply.header("location")) == (308, "http://own.local/new?a=1")
    reply = town.get("own.local", "/away?a=1")
    assert (reply.status, reply.header("location")) == (302, "https://else.local:8080/away?a=1")
    assert town.get("own.local", "/robots.txt").body == b"no"
    reply = town.get("own.local", "/gone")
    assert (reply.status, reply.header("content-type"), reply.body) == (410, "application/json", b"{}")
    reply = town.get("own.local", "/robots.txt", method="HEAD")
    assert (reply.status, reply.header("content-length"), reply.body) == (200, "2", b"")


def test_a_split_goes_by_its_weights(town: Town) -> None:
    with RawClient(town.agent.egress) as client:
        seen = Counter(json.loads(client.get("/split", "own.local").body)["by"] for _ in range(500))
    assert seen.keys() == {"stable", "canary"}
    assert 50 <= seen["canary"] <= 160  # 100 expected, more than five standard deviations either way
    assert {town.by("own.local", "/none") for _ in range(20)} == {"canary"}


def test_rewrites(town: Town) -> None:
    assert town.seen("edges.local", "/v1/x?q=/v1")["target"] == "/v2/x?q=/v1"
    assert town.seen("edges.local", "/v1")["target"] == "/v2"
    assert town.seen("edges.local", "/strip/a/b")["target"] == "/a/b"
    assert town.seen("edges.local", "/strip")["target"] == "/"
    seen = town.seen("edges.local", "/users/7/name?q")
    assert (seen["target"], seen["headers"]["host"]) == ("/people/7/name?q", "inner.local")


def test_header_rules_of_service_and_route(town: Town) -> None:
    seen = town.seen("edges.local", "/", "X-Team: mine", "X-Secret: s")["headers"]
    assert seen["x-team"] == "fish"
    assert "x-secret" not in seen
    seen = town.seen("edges.local", "/route", "X-Team: mine", "X-Secret: s")["headers"]
    assert (seen["x-team"], seen["x-more"], "x-secret" in seen) == ("shark", "1", False)
    reply = town.get("edges.local", "/")
    assert (reply.header("x-served"), reply.header("x-upstream")) == ("by-us", None)


def test_a_route_has_its_own_retries_and_timeouts(town: Town) -> None:
    assert (town.get("limits.local", "/twice").status, town.failures["/twice"]) == (503, 2)
    assert (town.get("limits.local", "/once").status, town.failures["/once"]) == (503, 1)
    short = town.get("silent.local", "/short")
    assert (short.status, short.header("x-pilotfish-reason")) == (504, "UT")
    assert "no response head in time" in json.loads(short.body)["detail"]
    whole = town.get("silent.local", "/whole")
    assert (whole.status, json.loads(whole.body)["reason"]) == (504, "UT")
    assert "time limit ran out" in json.loads(whole.body)["detail"]


def test_a_route_has_its_own_cache_policy() -> None:
    answers = iter(range(1000))
    with Upstream(lambda _: response(str(next(answers)), headers=[("Cache-Control", "max-age=60")])) as upstream:
        routes = [{"match": {"prefix": "/never"}, "cache": {"enabled": False}}]
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}, "routes": routes}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            assert client.get("/x").body == client.get("/x").body
            assert client.get("/never/x").body != client.get("/never/x").body


def test_no_route_and_no_endpoint_are_told_apart(town: Town) -> None:
    """404 where nothing claims the request, 503 where the service is there and its endpoints are not: each with its reason."""
    missing = town.get("own.local", "/nothing")
    problem = json.loads(missing.body)
    assert (missing.status, missing.header("content-type")) == (404, "application/problem+json")
    assert (problem["status"], problem["reason"], problem["agent"], problem["title"]) == (404, "NR", "test-1", "Not Found")
    assert problem["detail"] == "no route of service own claims host own.local with path /nothing"
    assert missing.header("x-pilotfish-reason") == "NR"


def test_what_no_service_claims_and_whom_nobody_answers() -> None:
    with named("web") as web:
        address = web.address
    services = {
        "web": {"hosts": ["web.local"], "endpoints": [address]},
        "named": {"hosts": ["named.local"], "endpoints": ["no-such-name.invalid:80"]},
    }
    with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
        missing = client.get("/", "nobody.local")
        assert (missing.status, json.loads(missing.body)["reason"]) == (404, "NR")
        assert json.loads(missing.body)["detail"] == "no service claims host nobody.local with path /"
        dead = client.get("/", "web.local")
        assert (dead.status, json.loads(dead.body)["reason"]) == (503, "UF")
        nowhere = client.get("/", "named.local")
        assert (nowhere.status, json.loads(nowhere.body)["reason"]) == (503, "UH")
        assert "named has no endpoints" in json.loads(nowhere.body)["detail"]


def test_the_access_log_has_the_reason(town: Town) -> None:
    town.get("own.local", "/nothing-logged")
    town.get("silent.local", "/short?logged")

    def rows() -> dict[str, dict[str, Any]]:
        lines = town.log.read_text().splitlines() if town.log.exists() else []
        return {row["target"]: row for row in map(json.loads, lines)}

    found = wait_until(lambda: rows() if len({"/nothing-logged", "/short?logged"} & rows().keys()) == 2 else None, "the log's lines")
    assert (found["/nothing-logged"]["status"], found["/nothing-logged"]["flag"]) == (404, "NR")
    late = found["/short?logged"]
    assert (late["status"], late["flag"], late["service"]) == (504, "UT", "silent")
    assert "no response head in time" in late["detail"]


def test_contradictions_are_refused_with_their_path() -> None:
    services = {
        "web": {
            "hosts": ["*"],
            "endpoints": ["127.0.0.1:1", "127.0.0.1:1"],
            "routes": [
                {"match": {"path": "/a", "prefix": "/b"}},
                {"match": {"prefix": "b"}},
                {"split": [{"service": "gone", "weight": 1}]},
                {"split": [{"service": "hollow", "weight": 1}]},
                {"redirect": {"path": "/x"}, "respond": {"status": 200}},
                {"match": {"regex": "("}},
                {"rewrite": {"prefix": "/x"}},
                {"request_headers": {"set": {"Content-Length": "5"}}},
            ],
        },
        "hollow": {"hosts": ["hollow"], "routes": [{"respond": {"status": 200}}]},
        "empty": {"hosts": ["empty"]},
        "twice": {"hosts": ["hollow"], "endpoints": ["127.0.0.1:2"]},
    }
    agent = AgentProcess({"services": services})
    with pytest.raises(AssertionError) as failure:
        agent.start()
    text = str(failure.value)
    for path in (
        "services.web.endpoints[1]",
        "services.web.routes[0].match",
        "services.web.routes[1].match.prefix",
        "services.web.routes[2].split[0].service",
        "services.web.routes[3].split[0].service",
        "services.web.routes[4]",
        "services.web.routes[5].match.regex",
        "services.web.routes[6].rewrite.prefix",
        "services.web.routes[7].request_headers.Content-Length",
        "services.empty.endpoints",
        "services.twice.hosts[0]",
    ):
        assert path in text, path
    agent.stop()


def test_a_name_is_resolved_and_a_reset_is_told() -> None:
    with named("web") as web, Upstream(lambda _: Close) as closing:
        services = {
            "web": {"hosts": ["web.local"], "endpoints": [f"localhost:{web.port}"]},
            "closing": {"hosts": ["closing.local"], "endpoints": [closing.address], "retries": {"attempts": 0}},
        }
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:

            def resolved() -> list[str]:
                return [row["address"] for cluster in agent.get("/clusters") if cluster["name"] == "web" for row in cluster["endpoints"]]

            assert f"127.0.0.1:{web.port}" in wait_until(resolved, "the name to be resolved")
            assert json.loads(client.get("/", "web.local").body)["by"] == "web"
            reset = client.get("/", "closing.local")
            assert (reset.status, reset.header("x-pilotfish-reason")) == (502, "UC")
