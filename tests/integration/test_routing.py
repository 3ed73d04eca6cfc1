"""Which upstream a request goes to, and what the agent answers by itself."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response


def named(name: str) -> Upstream:
    def answer(request: Received) -> bytes:
        return response(json.dumps({"by": name, "target": request.target, "headers": request.headers()}))

    return Upstream(answer)


def test_hosts_paths_methods_and_headers_choose_the_service() -> None:
    with named("exact") as exact, named("suffix") as suffix, named("any") as other, named("second") as second:
        services = {
            "exact": {"hosts": ["shop.local"], "endpoints": [exact.address]},
            "suffix": {"hosts": ["*.shop.local"], "endpoints": [suffix.address]},
            "second": {"hosts": ["second.local"], "endpoints": [second.address]},
            "any": {
                "hosts": ["*"],
                "endpoints": [other.address],
                "routes": [
                    {"name": "moved", "match": {"path": "/old"}, "redirect": {"to": "/new", "status": 308}},
                    {"name": "fixed", "match": {"path": "/robots.txt"}, "respond": {"status": 200, "body": "no"}},
                    {"name": "post", "match": {"prefix": "/api", "methods": ["POST"]}, "split": [{"service": "second"}]},
                ],
            },
        }
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:

            def by(host: str, target: str = "/", *lines: str, method: str = "GET") -> Any:
                return json.loads(client.get(target, host, *lines, method=method).body)["by"]

            assert by("shop.local") == "exact"
            assert by("SHOP.local:80") == "exact"
            assert by("a.shop.local") == "suffix"
            assert by("elsewhere") == "any"
            assert by("elsewhere", "http://shop.local/x") == "exact"
            reply = client.get("/old")
            assert (reply.status, reply.header("location")) == (308, "/new")
            assert client.get("/robots.txt").body == b"no"


def test_a_split_goes_by_its_weights() -> None:
    with named("stable") as stable, named("canary") as canary:
        services = {
            "stable": {"hosts": ["stable.local"], "endpoints": [stable.address]},
            "canary": {"hosts": ["canary.local"], "endpoints": [canary.address]},
            "web": {
                "hosts": ["web.local"],
                "routes": [
                    {
                        "name": "all",
                        "match": {"prefix": "/"},
                        "split": [{"service": "stable", "weight": 80}, {"service": "canary", "weight": 20}],
                    }
                ],
            },
        }
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            seen = Counter(json.loads(client.get("/", "web.local").body)["by"] for _ in range(500))
            assert 50 <= seen["canary"] <= 160  # 100 expected, some 9 standard deviations either way at most
            assert seen["stable"] == 500 - seen["canary"]


def test_no_route_and_no_endpoint_are_told_apart() -> None:
    with named("web") as web:
        address = web.address
    services = {"web": {"hosts": ["web.local"], "endpoints": [address]}}
    with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
        missing = client.get("/", "nobody.local")
        problem = json.loads(missing.body)
        assert (missing.status, problem["reason"], problem["agent"]) == (404, "NR", "test-1")
        assert missing.header("content-type") == "application/problem+json"
        dead = client.get("/", "web.local")
        assert (dead.status, json.loads(dead.body)["reason"]) == (503, "UF")


@pytest.mark.parametrize("policy", ["p2c_ewma", "round_robin", "least_request", "random", "ring_hash", "maglev"])
def test_every_policy_uses_every_endpoint(policy: str) -> None:
    with named("a") as a, named("b") as b, named("c") as c:
        endpoints = [a.address, b.address, c.address]
        balance = {"policy": policy, "hash_on": "header:X-User"} if policy in ("ring_hash", "maglev") else {"policy": policy}
        services = {"web": {"hosts": ["*"], "endpoints": endpoints, "balance": balance}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            seen: dict[str, set[str]] = {}
            for number in range(120):
                user = f"u{number % 40}"
                seen.setdefault(user, set()).add(json.loads(client.get("/", "x", f"X-User: {user}").body)["by"])
            assert set().union(*seen.values()) == {"a", "b", "c"}
            if "hash_on" in balance:
                assert all(len(homes) == 1 for homes in seen.values())


def test_a_post_is_never_sent_twice_and_a_get_is() -> None:
    calls: Counter[str] = Counter()

    def failing(request: Received) -> bytes:
        calls[request.method] += 1
        return response("no", status=503)

    with Upstream(failing) as one, Upstream(failing) as two:
        services = {"web": {"hosts": ["*"], "endpoints": [one.address, two.address], "retries": {"attempts": 1}}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert client.reply("POST").status == 503
            assert calls["POST"] == 1
            assert client.get("/").status == 503
            assert calls["GET"] == 2


def test_a_rate_limit_says_when_to_come_again() -> None:
    with named("web") as web:
        limit = {"requests": 1, "per": "1h", "burst": 2, "key": "header:X-User"}
        services = {"web": {"hosts": ["*"], "endpoints": [web.address], "rate_limits": [limit]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            assert [client.get("/", "x", "X-User: a").status for _ in range(2)] == [200, 200]
            refused = client.get("/", "x", "X-User: a")
            assert (refused.status, refused.header("x-pilotfish-reason")) == (429, "RL")
            assert int(refused.header("retry-after") or 0) >= 1
            assert client.get("/", "x", "X-User: b").status == 200


def test_an_endpoint_that_fails_is_put_aside() -> None:
    def broken(_: Received) -> bytes:
        return response("broken", status=500)

    with Upstream(broken) as bad, named("good") as good:
        services = {
            "web": {
                "hosts": ["*"],
                "endpoints": [bad.address, good.address],
                "balance": {"policy": "round_robin"},
                "outlier": {"consecutive_5xx": 3},
            }
        }
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            statuses = [client.get("/").status for _ in range(40)]
            assert statuses.count(500) <= 4
            assert statuses[-20:] == [200] * 20
            assert agent.metric("pilotfish_endpoint_ejections_total", endpoint=bad.address) == 1


def test_a_deadline_of_the_client_ends_the_wait() -> None:
    import threading

    go = threading.Event()

    def slow(_: Received) -> bytes:
        go.wait(20)
        return response("late")

    with Upstream(slow) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            reply = client.get("/", "x", "X-Request-Timeout-Ms: 200")
            go.set()
            assert (reply.status, reply.header("x-pilotfish-reason")) == (504, "DE")
