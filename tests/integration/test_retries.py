"""What is tried again, what never is, and how much of it: counted at the upstreams."""

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Close, Received, Reset, Upstream, response

CALM = {"outlier": {"enabled": False}, "breaker": {"enabled": False}, "balance": {"policy": "round_robin"}}


def service(*addresses: str, **settings: Any) -> dict[str, Any]:
    return {"services": {"web": {"hosts": ["*"], "endpoints": list(addresses), **CALM, **settings}}}


def closed_port() -> str:
    """An address that refuses connections: bound, so that nobody else takes it, and not listening."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    _KEPT.append(sock)
    return f"127.0.0.1:{sock.getsockname()[1]}"


_KEPT: list[socket.socket] = []


def send(client: RawClient, method: str, body: bytes = b"") -> int:
    client.send(f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return client.reply(method).status


@pytest.mark.parametrize(
    ("failure", "status"), [(response("no", 503), 503), (response("no", 502), 502), (Close, 502), (Reset, 502), (b"nonsense\r\n\r\n", 502)]
)
def test_a_post_is_never_sent_twice_and_idempotent_methods_are(failure: Any, status: int) -> None:
    calls: Counter[str] = Counter()

    def failing(request: Received) -> Any:
        calls[request.method] += 1
        return failure

    with Upstream(failing) as one, Upstream(failing) as two:
        config = service(one.address, two.address, retries={"attempts": 1, "backoff_base": "1ms"})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert [send(client, method, b"hi") for method in ("POST", "PATCH")] == [status, status]
            assert [send(client, method, b"hi") for method in ("PUT", "DELETE")] == [status, status]
            assert client.get("/").status == status
            assert calls == {"POST": 1, "PATCH": 1, "PUT": 2, "DELETE": 2, "GET": 2}


def test_a_post_that_could_not_be_sent_goes_to_another_endpoint() -> None:
    with Upstream(lambda request: response(request.body)) as good:
        config = service(closed_port(), good.address)
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            for number in range(6):
                client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % number)
                assert client.reply("POST").body == b"%d" % number
            assert len(good.requests) == 6
            assert agent.metric("pilotfish_retries_total", service="web") >= 2


@pytest.mark.parametrize(("size", "tries"), [(65_536, 2), (65_537, 1)])
def test_a_body_is_kept_for_a_retry_up_to_64_kib(size: int, tries: int) -> None:
    seen: list[int] = []

    def failing(request: Received) -> bytes:
        seen.append(len(request.body))
        return response("no", 503)

    with Upstream(failing) as upstream:
        config = service(upstream.address, retries={"attempts": 1, "backoff_base": "1ms"})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert send(client, "PUT", b"x" * size) == 503
        assert seen == [size] * tries


def test_what_is_retried_is_configured() -> None:
    statuses = iter([429, 200, 409, 200, 500, 200, 500])
    with Upstream(lambda _: response("x", next(statuses))) as upstream:
        routes = [
            {"match": {"path": "/429"}, "retries": {"on": ["429"], "backoff_base": "1ms"}},
            {"match": {"path": "/409"}, "retries": {"on": ["retriable-4xx"], "backoff_base": "1ms"}},
            {"match": {"path": "/500"}, "retries": {"on": ["5xx"], "backoff_base": "1ms"}},
        ]
        with AgentProcess(service(upstream.address, routes=routes)) as agent, RawClient(agent.egress) as client:
            assert [client.get(target).status for target in ("/429", "/409", "/500")] == [200, 200, 200]
            assert client.get("/").status == 500  # not by default


def test_a_try_has_its_own_time_limit() -> None:
    turn = iter(range(100))
    go = threading.Event()

    def first_hangs(_: Received) -> Any:
        return [lambda: go.wait(20), response("late")] if next(turn) == 0 else response("ok")

    with Upstream(first_hangs) as upstream:
        config = service(upstream.address, timeouts={"attempt": "100ms"}, retries={"on": ["timeout"], "attempts": 2, "backoff_base": "1ms"})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert client.get("/").body == b"ok"
            assert len(upstream.requests) == 2
        go.set()


def test_all_tries_together_have_a_deadline() -> None:
    go = threading.Event()
    with Upstream(lambda _: [lambda: go.wait(20), response("late")]) as upstream:
        config = service(
            upstream.address,
            timeouts={"attempt": "100ms", "request": "250ms"},
            retries={"on": ["timeout"], "attempts": 100, "backoff_base": "1ms", "budget_min": 200},
        )
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            late = client.get("/")
            assert (late.status, late.header("x-pilotfish-reason")) == (504, "UT")
            assert 2 <= len(upstream.requests) <= 3
        go.set()


def test_backoff_has_jitter_and_a_ceiling() -> None:
    times: list[float] = []

    def failing(_: Received) -> bytes:
        times.append(time.monotonic())
        return response("no", 503)

    with Upstream(failing) as upstream:
        config = service(upstream.address, retries={"attempts": 12, "backoff_base": "30ms", "backoff_max": "30ms", "budget_min": 50})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.get("/")
        gaps = [late - early for early, late in pairwise(times)]
        assert len(gaps) == 12
        assert max(gaps) - min(gaps) > 0.004  # twelve draws from 0 to 30 ms


def test_a_budget_bounds_the_load_of_retries() -> None:
    """Everything fails under load: with a budget of 20 % (3 at least) the upstream sees a few more requests, not three times."""

    def failing(_: Received) -> Any:
        return [lambda: time.sleep(0.005), response("no", 503)]

    with Upstream(failing) as upstream:
        config = service(upstream.address, retries={"attempts": 2, "backoff_base": "20ms"})
        with AgentProcess(config) as agent:

            def one(_: int) -> None:
                with RawClient(agent.egress) as client:
                    for _ in range(20):
                        assert client.get("/").status == 503

            with ThreadPoolExecutor(20) as pool:
                list(pool.map(one, range(20)))
            assert agent.metric("pilotfish_retries_over_budget_total", service="web") > 100
            retries = agent.metric("pilotfish_retries_total", service="web")
        assert len(upstream.requests) == 400 + retries
        assert 3 <= retries < 0.6 * 400


def test_a_budget_of_nothing_allows_nothing() -> None:
    with Upstream(response("no", 503)) as upstream:
        config = service(upstream.address, retries={"budget": 0, "budget_min": 0})
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert client.get("/").status == 503
            assert len(upstream.requests) == 1


def hedging(*addresses: str, **retries: Any) -> dict[str, Any]:
    return service(*addresses, hedge={"enabled": True, "percentile": 0.9, "delay_min": "20ms"}, retries=retries)


def test_a_slow_read_is_hedged_and_a_write_is_not() -> None:
    hang = threading.Event()
    go = threading.Event()

    def answer(_: Received) -> Any:
        return [lambda: go.wait(20), response("late")] if hang.is_set() else response("one")

    one, two = Upstream(answer), Upstream(response("two"))
    with one, two, AgentProcess(hedging(one.address, two.address)) as agent, RawClient(agent.egress) as client:
        for _ in range(40):  # so that there is a percentile
            client.get("/")
        hang.set()
        before = len(one.requests)
        assert [client.get("/").body for _ in range(6)] == [b"two"] * 6
        assert len(one.requests) >= before + 2  # some began at the one that hangs
        hedges = agent.metric("pilotfish_hedges_total", service="web")
        assert hedges >= 2
        assert agent.get("/clusters")[0]["retries_under_way"] == 0
        threading.Timer(0.3, go.set).start()  # longer than the delay of a hedge
        for _ in range(4):
            assert send(client, "PUT", b"x") == 200
        assert agent.metric("pilotfish_hedges_total", service="web") == hedges


def test_hedges_are_inside_the_retry_budget() -> None:
    def answer(_: Received) -> Any:
        return [lambda: time.sleep(0.08 if len(upstream.requests) > 30 else 0), response("ok")]

    upstream = Upstream(answer)
    config = hedging(upstream.address, budget=0, budget_min=0)
    with upstream, AgentProcess(config) as agent, RawClient(agent.egress) as client:
        for _ in range(40):
            client.get("/")
        assert agent.metric("pilotfish_hedges_total", service="web") == 0
        assert len(upstream.requests) == 40
