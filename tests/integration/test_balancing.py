"""Which endpoint of a service gets a request: what the running agent does, counted at the upstreams."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

QUIET = {"outlier": {"enabled": False}, "breaker": {"enabled": False}, "retries": {"attempts": 0}}


class Fleet:
    """Upstreams that say who they are; a context manager."""

    def __init__(self, *names: str) -> None:
        self.behaviour: dict[str, Any] = {}
        self.upstreams = {name: Upstream(self._answer_of(name)) for name in names}

    def _answer_of(self, name: str) -> Any:
        def answer(request: Received) -> Any:
            special = self.behaviour.get(name)
            return special(request) if special is not None else response(name)

        return answer

    def address(self, name: str) -> str:
        return self.upstreams[name].address

    @property
    def addresses(self) -> list[str]:
        return [upstream.address for upstream in self.upstreams.values()]

    def counts(self) -> dict[str, int]:
        return {name: sum(1 for one in upstream.requests if one.target != "/health") for name, upstream in self.upstreams.items()}

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for upstream in self.upstreams.values():
            upstream.close()


def web(fleet: Fleet, **service: Any) -> dict[str, Any]:
    return {"services": {"web": {"hosts": ["*"], "endpoints": fleet.addresses, **service}}}


def ask(agent: AgentProcess, times: int, *lines: str) -> Counter[str]:
    with RawClient(agent.egress) as client:
        return Counter(client.get("/", "x", *lines).body.decode() for _ in range(times))


def ask_at_once(agent: AgentProcess, clients: int, each: int) -> None:
    def one(_: int) -> None:
        with RawClient(agent.egress) as client:
            for _ in range(each):
                client.get("/")

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))


@pytest.mark.parametrize("policy", ["p2c_ewma", "round_robin", "least_request", "random", "ring_hash", "maglev"])
def test_every_policy_uses_every_endpoint(policy: str) -> None:
    with Fleet("a", "b", "c") as fleet:
        hashing = policy in ("ring_hash", "maglev")
        balance = {"policy": policy, "hash_on": "header:X-User"} if hashing else {"policy": policy}
        with AgentProcess(web(fleet, balance=balance)) as agent, RawClient(agent.egress) as client:
            seen: dict[str, set[str]] = {}
            for number in range(120):
                user = f"u{number % 40}"
                seen.setdefault(user, set()).add(client.get("/", "x", f"X-User: {user}").body.decode())
            assert set().union(*seen.values()) == {"a", "b", "c"}
            if hashing:
                assert all(len(homes) == 1 for homes in seen.values())


@pytest.mark.parametrize(
    ("hash_on", "line"), [("cookie:user", "Cookie: a=1; user={}; b=2"), ("path", ""), ("client", ""), ("header:X-User", "X-User: {}")]
)
def test_what_a_hash_may_be_taken_of(hash_on: str, line: str) -> None:
    with Fleet("a", "b", "c") as fleet:
        balance = {"policy": "maglev", "hash_on": hash_on}
        with AgentProcess(web(fleet, balance=balance)) as agent, RawClient(agent.egress) as client:
            homes: dict[int, set[str]] = {}
            for number in range(90):
                which = number % 30
                lines = [line.format(which)] if line else []
                homes.setdefault(which, set()).add(client.get(f"/{which}?{number}", "x", *lines).body.decode())
            assert all(len(home) == 1 for home in homes.values())
            assert len(set().union(*homes.values())) == (1 if hash_on == "client" else 3)


@pytest.mark.parametrize("policy", ["p2c_ewma", "round_robin", "least_request", "random", "ring_hash", "maglev"])
def test_every_policy_honours_weights(policy: str) -> None:
    with Fleet("light", "heavy") as fleet:
        endpoints = [{"address": fleet.address("light"), "weight": 1}, {"address": fleet.address("heavy"), "weight": 9}]
        balance = {"policy": policy, "hash_on": "path"}
        config = {"services": {"web": {"hosts": ["*"], "endpoints": endpoints, "balance": balance}}}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            seen = Counter(client.get(f"/{number}", "x").body.decode() for number in range(300))
        assert 1 <= seen["light"] <= 75  # 30 expected; where latency has a say, from 3 to 57


@pytest.mark.parametrize("policy", ["p2c_ewma", "least_request"])
@pytest.mark.parametrize("status", [500, 429])
def test_failing_fast_does_not_attract(policy: str, status: int) -> None:
    """One of three answers its failures at once, the others their successes after 20 ms; eight clients, nobody is put aside."""
    with Fleet("bad", "good", "fine") as fleet:
        fleet.behaviour["bad"] = lambda _: response("no", status)
        fleet.behaviour["good"] = fleet.behaviour["fine"] = lambda _: [lambda: time.sleep(0.02), response("ok")]
        with AgentProcess(web(fleet, balance={"policy": policy}, **QUIET)) as agent:
            ask_at_once(agent, 8, 25)
        counts = fleet.counts()
        assert sum(counts.values()) == 200
        assert counts["bad"] <= 15, counts  # a third would be fair, and a policy that took it for fast would send nearly all
        assert counts["bad"] >= 1


def test_retry_after_is_honoured() -> None:
    with Fleet("busy", "free") as fleet:
        fleet.behaviour["busy"] = lambda _: response("later", 429, headers=[("Retry-After", "120")])
        with AgentProcess(web(fleet, balance={"policy": "round_robin"}, **QUIET)) as agent:
            assert ask(agent, 40)["later"] == 1
            assert fleet.counts() == {"busy": 1, "free": 39}
            fleet.behaviour["free"] = fleet.behaviour["busy"]
            # Everyone asks to wait: the client is told so, and the endpoints go on being asked.
            assert ask(agent, 10) == {"later": 10}


def test_retry_after_as_a_date_counts_too() -> None:
    with Fleet("busy", "free") as fleet:
        late = [("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("Retry-After", "Tue, 15 Nov 1994 08:14:31 GMT")]
        fleet.behaviour["busy"] = lambda _: response("later", 503, headers=late)
        with AgentProcess(web(fleet, balance={"policy": "round_robin"}, **QUIET)) as agent:
            assert ask(agent, 40)["later"] == 1


def zoned(fleet: Fleet, **service: Any) -> dict[str, Any]:
    endpoints = [{"address": fleet.address(name), "zone": name[0]} for name in fleet.upstreams]
    return {"agent": {"zone": "a"}, "services": {"web": {"hosts": ["*"], "endpoints": endpoints, **service}}}


def test_traffic_keeps_to_its_zone_and_spills_over() -> None:
    with Fleet("a1", "a2", "b1") as fleet:
        health = {"path": "/health", "interval": "50ms", "unhealthy": 1, "healthy": 1}
        balance = {"policy": "random", "panic_threshold": 0.2, "ewma_initial": "30s"}  # so that latency has no say
        with AgentProcess(zoned(fleet, balance=balance, health=health)) as agent:
            assert set(ask(agent, 100)) == {"a1", "a2"}
            fleet.upstreams["a1"].close()
            wait_until(lambda: agent.event("unhealthy"), "the check to notice")
            spilt = ask(agent, 300)
            # Half of the zone is left: 0.7 of the traffic stays, what spills over goes to both that are left.
            assert set(spilt) == {"a2", "b1"}
            assert 20 <= spilt["b1"] <= 80
            fleet.upstreams["a2"].close()
            wait_until(lambda: sum(event["event"] == "unhealthy" for event in agent.events) == 2, "the check to notice")
            assert set(ask(agent, 20)) == {"b1"}


def test_a_slow_zone_is_left() -> None:
    with Fleet("a1", "b1") as fleet:
        fleet.behaviour["a1"] = lambda _: [lambda: time.sleep(0.25), response("a1")]
        with AgentProcess(zoned(fleet)) as agent:
            assert ask(agent, 12)["b1"] >= 8


def test_slow_start_gives_a_new_endpoint_little_at_first() -> None:
    with Fleet("old", "new") as fleet:
        first = web(fleet, balance={"policy": "round_robin", "slow_start": "1h"})
        first["services"]["web"]["endpoints"] = [fleet.address("old")]
        with AgentProcess(first) as agent:
            ask(agent, 5)
            agent.config["services"]["web"]["endpoints"] = fleet.addresses
            agent.write(agent.config)
            agent.post("/reload")
            seen = ask(agent, 300)
        assert 1 <= seen["new"] <= 60  # a tenth of a half would be 15; without slow start it is 150


def test_panic_when_fewer_than_half_are_healthy() -> None:
    with Fleet("a", "b", "c") as fleet:
        sick: set[str] = {"a"}

        def answer_of(name: str) -> Any:
            return lambda request: response(name, 500 if request.target == "/health" and name in sick else 200)

        for name in fleet.upstreams:
            fleet.behaviour[name] = answer_of(name)
        health = {"path": "/health", "interval": "20ms", "unhealthy": 1, "healthy": 1}
        with AgentProcess(web(fleet, balance={"policy": "round_robin"}, health=health)) as agent:
            wait_until(lambda: agent.event("unhealthy"), "the check to notice")
            assert set(ask(agent, 30)) == {"b", "c"}
            sick.add("b")
            wait_until(lambda: sum(event["event"] == "unhealthy" for event in agent.events) == 2, "the check to notice")
            assert set(ask(agent, 30)) == {"a", "b", "c"}
            assert agent.get("/clusters")[0]["panic"] is True
            sick.clear()
            wait_until(lambda: sum(event["event"] == "healthy" for event in agent.events) == 2, "the check to notice")
            ask(agent, 1)
            assert agent.get("/clusters")[0]["panic"] is False


def test_a_thousand_endpoints() -> None:
    """Of which one is there: what a wrong configuration or a fleet that has just gone looks like."""
    with Fleet("there") as fleet:
        endpoints = [*fleet.addresses, *(f"127.9.{number >> 8}.{number & 255}:9" for number in range(999))]
        health = {"tcp": True, "interval": "1s", "timeout": "1s", "unhealthy": 1}
        config = {"services": {"web": {"hosts": ["*"], "endpoints": endpoints, "health": health, "balance": {"panic_threshold": 0}}}}
        with AgentProcess(config) as agent:
            wait_until(lambda: sum(row["healthy"] for row in agent.get("/clusters")[0]["endpoints"]) == 1, "the checks to notice")
            assert ask(agent, 20) == {"there": 20}


def test_the_upstreams_of_a_reload_keep_what_is_known_of_them() -> None:
    with Fleet("busy", "free") as fleet:
        fleet.behaviour["busy"] = lambda _: response("later", 503, headers=[("Retry-After", "120")])
        with AgentProcess(web(fleet, balance={"policy": "round_robin"}, **QUIET)) as agent:
            assert ask(agent, 10)["later"] == 1
            agent.config["services"]["web"]["timeouts"] = {"connect": "3s"}
            agent.write(agent.config)
            agent.post("/reload")
            assert ask(agent, 10) == {"free": 10}
