"""What protects the services and the application: health, ejection, breakers, limits, deadlines, faults."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient, Reply
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

PLAIN = {"outlier": {"enabled": False}, "breaker": {"enabled": False}, "retries": {"attempts": 0}}


def service(*upstreams: Upstream, **settings: Any) -> dict[str, Any]:
    return {"services": {"web": {"hosts": ["*"], "endpoints": [upstream.address for upstream in upstreams], **settings}}}


def events(agent: AgentProcess, name: str) -> list[dict[str, Any]]:
    return [event for event in agent.events if event.get("event") == name]


def row(agent: AgentProcess, upstream: Upstream) -> dict[str, Any]:
    """An endpoint as `/clusters` shows it."""
    return next(found for found in agent.get("/clusters")[0]["endpoints"] if found["address"] == upstream.address)


class Held:
    """An upstream that answers when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.upstream = Upstream(lambda _: [lambda: self.go.wait(20), response("held")])

    @contextmanager
    def requests(self, agent: AgentProcess, count: int, *lines: str) -> Iterator[list[Reply]]:
        """So many requests under way at the upstream; their replies when the block is over."""
        replies: list[Reply] = []

        def one() -> None:
            with RawClient(agent.egress) as client:
                replies.append(client.get("/held", "x", *lines))

        before = len(self.upstream.requests)
        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(self.upstream.requests) >= before + count, "the requests to be under way")
        try:
            yield replies
        finally:
            self.go.set()
            for thread in threads:
                thread.join(20)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()
    held.upstream.close()


# -- health checks


def test_a_path_check_needs_its_streaks() -> None:
    checks = 0
    answers: list[int] = []

    def answer(request: Received) -> bytes:
        nonlocal checks
        if request.target != "/ready?deep=1":
            return response("sick one")
        checks += 1
        assert request.header("host") == "health.local"
        return response("", answers.pop(0) if answers else 200)

    with Upstream(answer) as sick, Upstream(response("well one")) as well:
        health = {"path": "/ready?deep=1", "host": "health.local", "interval": "20ms", "unhealthy": 3, "healthy": 2}
        with (
            AgentProcess(service(sick, well, health=health, balance={"policy": "round_robin"})) as agent,
            RawClient(agent.egress) as client,
        ):
            answers += [500, 500, 200, 404, 503, 200]  # never three in a row
            wait_until(lambda: not answers, "the checks")
            done = checks + 1
            wait_until(lambda: checks > done, "the next checks")
            assert not events(agent, "unhealthy")
            answers += [500] * 3 + [200] + [500] * 1000  # one success does not bring it back
            wait_until(lambda: events(agent, "unhealthy") and len(answers) < 980, "the third failure")
            assert [event["endpoint"] for event in events(agent, "unhealthy")] == [sick.address]
            assert not events(agent, "healthy")
            assert {client.get("/").body for _ in range(10)} == {b"well one"}
            answers.clear()
            wait_until(lambda: events(agent, "healthy"), "the second success")
            assert {client.get("/").body for _ in range(10)} == {b"well one", b"sick one"}


def test_a_tcp_check_is_a_connection() -> None:
    with Upstream(response("stays")) as stays:
        leaves = Upstream(response("leaves"))
        health = {"tcp": True, "interval": "20ms", "unhealthy": 2, "healthy": 2}
        with AgentProcess(service(leaves, stays, health=health)) as agent:
            wait_until(lambda: leaves.connections > 3, "the checks")
            assert not leaves.requests
            leaves.close()
            wait_until(lambda: events(agent, "unhealthy"), "the checks to notice")
            back = Upstream(response("leaves"), leaves.port)
            wait_until(lambda: events(agent, "healthy"), "the checks to notice")
            back.close()


# -- outlier ejection


@pytest.mark.parametrize(("status", "outlier"), [(500, {"consecutive_5xx": 3}), (503, {"consecutive_gateway": 3, "consecutive_5xx": 0})])
def test_consecutive_failures_eject(status: int, outlier: dict[str, int]) -> None:
    with Upstream(lambda _: response("broken", status)) as bad, Upstream(response("good")) as good:
        config = service(bad, good, balance={"policy": "round_robin"}, outlier=outlier, retries={"attempts": 0})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            statuses = [client.get("/").status for _ in range(40)]
            assert statuses.count(status) == 3
            assert statuses[-20:] == [200] * 20
            assert agent.metric("pilotfish_endpoint_ejections_total", endpoint=bad.address) == 1
            ejected = wait_until(lambda: events(agent, "ejected"), "the event")[0]
            assert (ejected["endpoint"], ejected["seconds"]) == (bad.address, 30.0)
            assert 20 < row(agent, bad)["ejected_for_s"] <= 30


def test_an_endpoint_comes_back_and_goes_for_longer() -> None:
    with Upstream(lambda _: response("broken", 500)) as bad, Upstream(response("good")) as good:
        outlier = {"consecutive_5xx": 2, "ejection_base": "100ms", "ejection_max": "250ms"}
        config = service(bad, good, balance={"policy": "round_robin"}, outlier=outlier, breaker={"enabled": False})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            wait_until(lambda: client.get("/") and len(events(agent, "ejected")) >= 4, "four ejections")
            assert [event["seconds"] for event in events(agent, "ejected")][:4] == [0.1, 0.2, 0.25, 0.25]
            assert len(events(agent, "returned")) >= 3


def test_no_more_than_the_cap_is_ejected() -> None:
    fleet = [Upstream(lambda _: response("broken", 500)) for _ in range(3)] + [Upstream(response("good")) for _ in range(2)]
    config = service(*fleet, balance={"policy": "round_robin"}, outlier={"consecutive_5xx": 2}, breaker={"enabled": False})
    with AgentProcess(config) as agent, RawClient(agent.egress) as client:
        for _ in range(60):
            client.get("/")
        assert sum(found["ejected_for_s"] > 0 for found in agent.get("/clusters")[0]["endpoints"]) == 1
        assert wait_until(lambda: events(agent, "ejection capped"), "the event")
    for upstream in fleet:
        upstream.close()


def test_success_rate_and_latency_eject() -> None:
    turns: Counter[int] = Counter()

    def failing(_: Received) -> bytes:
        turns[0] += 1
        return response("x", 500 if turns[0] % 3 else 200)

    slow = Upstream(lambda _: [lambda: time.sleep(0.15), response("slow")])
    bad = Upstream(failing)
    fleet = [Upstream(response("good")) for _ in range(6)]
    outlier = {
        "interval": "1s",
        "success_rate_hosts_min": 5,
        "success_rate_requests_min": 3,
        "latency_factor": 4,
        "ejected_share_max": "50%",
    }
    config = service(slow, bad, *fleet, balance={"policy": "round_robin"}, outlier=outlier, breaker={"enabled": False})
    with AgentProcess(config) as agent, RawClient(agent.egress) as client:
        wait_until(lambda: client.get("/") and len({event["endpoint"] for event in events(agent, "ejected")}) == 2, "both ejections")
        rules = {event["endpoint"]: event["rule"] for event in events(agent, "ejected")}
        assert rules[bad.address].startswith("success rate ")
        assert "x the median" in rules[slow.address]
    for upstream in (slow, bad, *fleet):
        upstream.close()


def test_our_own_limits_never_eject(held: Held) -> None:
    limits = {"connections_max": 1, "pending_max": 0}
    config = service(held.upstream, limits=limits, retries={"attempts": 0}, outlier={"consecutive_5xx": 1, "consecutive_gateway": 1})
    with AgentProcess(config) as agent, RawClient(agent.egress) as client, held.requests(agent, 1) as replies:
        for _ in range(10):
            reply = client.get("/")
            assert (reply.status, reply.header("x-pilotfish-reason")) == (503, "UO")
            assert "are busy" in json.loads(reply.body)["detail"]
        found = row(agent, held.upstream)
        assert (found["ejections"], found["failures"], found["breaker"], found["usable"]) == (0, 0, "closed", True)
    assert [reply.status for reply in replies] == [200]


# -- breakers


def test_the_service_breaker_opens_and_probes_and_closes() -> None:
    status = 500
    with Upstream(lambda _: response("x", status)) as upstream:
        breaker = {"requests_min": 10, "open_for": "2s", "probes": 2}
        config = service(upstream, breaker=breaker, outlier={"enabled": False})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            statuses = [client.get("/").status for _ in range(30)]
            assert statuses == [500] * 10 + [503] * 20
            assert len(upstream.requests) == 10
            refused = client.get("/")
            assert (refused.header("x-pilotfish-reason"), refused.header("retry-after")) == ("CB", "1")
            assert agent.get("/clusters")[0]["breaker"] == "open"
            status = 200
            wait_until(lambda: client.get("/").status == 200, "a probe to be let through")
            assert [client.get("/").status for _ in range(10)] == [200] * 10
            assert agent.get("/clusters")[0]["breaker"] == "closed"
            changes = wait_until(lambda: [e for e in agent.events if e.get("event") == "service breaker closed"], "the event")
            assert changes[0]["service"] == "web"


def test_an_endpoints_breaker_leaves_the_others_alone() -> None:
    with Upstream(lambda _: response("x", 500)) as bad, Upstream(response("good")) as good:
        config = service(
            bad, good, balance={"policy": "round_robin"}, breaker={"requests_min": 5, "error_rate": 0.8}, outlier={"enabled": False}
        )
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            statuses = [client.get("/").status for _ in range(40)]
            assert statuses.count(500) == 5
            assert (row(agent, bad)["breaker"], row(agent, good)["breaker"]) == ("open", "closed")
            assert agent.get("/clusters")[0]["breaker"] == "closed"


def test_slow_calls_open_a_breaker_too() -> None:
    with Upstream(lambda _: [lambda: time.sleep(0.03), response("slow")]) as upstream:
        config = service(upstream, breaker={"requests_min": 5, "slow_call": "10ms", "open_for": "1h"})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert [client.get("/").status for _ in range(8)] == [200] * 5 + [503] * 3


def test_bounds_on_requests_and_on_waiting(held: Held) -> None:
    config = service(held.upstream, limits={"requests_max": 3}, **PLAIN)
    with AgentProcess(config) as agent, RawClient(agent.egress) as client, held.requests(agent, 3) as replies:
        refused = client.get("/")
        assert (refused.status, refused.header("x-pilotfish-reason")) == (503, "UO")
        assert agent.get("/clusters")[0]["refused"]["requests_max"] == 1
    assert [reply.status for reply in replies] == [200] * 3


# -- the adaptive limit


def test_low_priorities_are_shed_first(held: Held) -> None:
    config = service(held.upstream, concurrency={"limit_min": 10, "limit_max": 10}, **PLAIN)
    with AgentProcess(config) as agent, RawClient(agent.egress) as client, held.requests(agent, 7):
        for priority in ("9", "8"):
            shed = client.get("/", "x", f"X-Priority: {priority}")
            assert (shed.status, shed.header("x-pilotfish-reason")) == (503, "LS")
        before = len(held.upstream.requests)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Priority: 0\r\n\r\n")
        wait_until(lambda: len(held.upstream.requests) == before + 1, "the urgent request to be let through")
        assert agent.get("/clusters")[0]["refused"]["concurrency"] == 2


# -- rate limits


def test_a_rate_limit_by_key_says_when_to_come_again() -> None:
    with Upstream(response("ok")) as upstream:
        limit = {"requests": 1, "per": "1h", "burst": 2, "key": "header:X-User"}
        with AgentProcess(service(upstream, rate_limits=[limit])) as agent, RawClient(agent.egress) as client:
            assert [client.get("/", "x", "X-User: a").status for _ in range(2)] == [200, 200]
            refused = client.get("/", "x", "X-User: a")
            assert (refused.status, refused.header("x-pilotfish-reason")) == (429, "RL")
            assert int(refused.header("retry-after") or 0) >= 1000
            assert client.get("/", "x", "X-User: b").status == 200


def test_a_rate_limit_for_all_and_one_of_a_route() -> None:
    with Upstream(response("ok")) as upstream:
        routes = [{"match": {"prefix": "/dear"}, "rate_limits": [{"requests": 1, "per": "1h"}]}]
        config = service(upstream, rate_limits=[{"requests": 5, "per": "1h"}], routes=routes)
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert [client.get("/dear").status for _ in range(2)] == [200, 429]
            assert [client.get("/").status for _ in range(4)] == [200, 200, 200, 429]
            assert client.get("/dear").status == 429  # the service's bucket is one, whatever the route

            agent.config["services"]["other"] = {"hosts": ["other"], "endpoints": [upstream.address]}
            agent.write(agent.config)
            agent.post("/reload")
            assert client.get("/", "other").status == 200
            assert client.get("/").status == 429  # a reload fills no bucket of a service that it leaves as it is


# -- deadlines


def test_a_deadline_of_the_client_ends_the_wait(held: Held) -> None:
    with AgentProcess(service(held.upstream)) as agent, RawClient(agent.egress) as client:
        for line in ("X-Request-Timeout-Ms: 100", "grpc-timeout: 100m"):
            late = client.get("/", "x", line)
            assert (late.status, late.header("x-pilotfish-reason")) == (504, "DE")
        gone = client.get("/", "x", "X-Request-Timeout-Ms: 0")
        assert (gone.status, gone.header("x-pilotfish-reason")) == (504, "DE")
        assert len(held.upstream.requests) == 2


def test_what_is_left_of_a_deadline_goes_to_the_upstream_and_shrinks_with_each_try() -> None:
    def answer(request: Received) -> bytes:
        time.sleep(0.02)
        return response("x", 503)

    with Upstream(answer) as upstream:
        config = service(upstream, retries={"attempts": 1, "backoff_base": "1ms"}, outlier={"enabled": False})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.get("/", "x", "X-Request-Timeout-Ms: 5000")
            first, second = (int(request.header("x-request-timeout-ms") or 0) for request in upstream.requests)
            assert 0 < second <= first - 20 < 5000
            client.get("/", "x", "grpc-timeout: 5S")
            grpc = [request.header("grpc-timeout") or "" for request in upstream.requests[2:]]
            assert all(value.endswith("m") and 0 < int(value[:-1]) <= 5000 for value in grpc)
            client.get("/")
            assert upstream.requests[-1].header("x-request-timeout-ms") is None


# -- faults on purpose


def test_faults_are_injected_where_they_are_asked_for() -> None:
    with Upstream(response("ok")) as upstream:
        routes = [
            {"name": "abort", "match": {"path": "/abort"}, "fault": {"abort_status": 418, "abort_share": 1, "header": "X-Fault"}},
            {"name": "delay", "match": {"path": "/delay"}, "fault": {"delay": "80ms", "delay_share": 1}},
            {"name": "share", "match": {"path": "/share"}, "fault": {"abort_status": 503, "abort_share": "30%"}},
        ]
        with AgentProcess(service(upstream, routes=routes)) as agent, RawClient(agent.egress) as client:
            assert client.get("/abort").status == 200
            aborted = client.get("/abort", "x", "X-Fault: 1")
            assert (aborted.status, aborted.header("x-pilotfish-reason")) == (418, "FI")
            begun = time.monotonic()
            assert client.get("/delay").status == 200
            assert time.monotonic() - begun >= 0.075
            shared = Counter(client.get("/share").status for _ in range(300))
            assert 40 <= shared[503] <= 150  # 90 expected


def test_many_at_once_with_everything_on() -> None:
    """All of the above together under some load: no request is lost or answered wrongly."""
    fleet = [Upstream(response("ok")) for _ in range(3)]
    config = service(
        *fleet,
        balance={"slow_start": "1s"},
        health={"path": "/", "interval": "50ms"},
        rate_limits=[{"requests": 100_000, "key": "client"}],
        hedge={"enabled": True},
        breaker={"slow_call": "5s"},
    )
    with AgentProcess(config) as agent:

        def one(_: int) -> list[int]:
            with RawClient(agent.egress) as client:
                return [client.get("/", "x", "X-Request-Timeout-Ms: 20000").status for _ in range(40)]

        with ThreadPoolExecutor(8) as pool:
            assert {status for found in pool.map(one, range(8)) for status in found} == {200}
        assert agent.get("/clusters")[0]["in_flight"] == 0
        assert agent.get("/clusters")[0]["retries_under_way"] == 0
        assert all(found["in_flight"] == 0 for found in agent.get("/clusters")[0]["endpoints"])
    for upstream in fleet:
        upstream.close()
