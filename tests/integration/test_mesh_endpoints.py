"""Applications that agents announce become endpoints of every agent, and stop being ones before requests fail."""

import os
import signal
import threading
import time

import pytest

from tests.harness.apps import Fleet, Traffic
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until


def test_what_one_agent_announces_every_agent_routes_to() -> None:
    with Fleet("a", "b", "c", alone=("c",)) as fleet:
        fleet.wait_for_endpoints("a", "b")
        for name in ("a", "b", "c"):
            seen = {fleet.ask(name, f"/{number}")[1].split()[0] for number in range(20)}
            assert seen == {"a", "b"}, name
        row = next(row for cluster in fleet.agents["c"].get("/clusters") for row in cluster["endpoints"])
        assert (row["region"], row["zone"]) == ("eu", "a")
        assert fleet.agents["c"].metric("pilotfish_mesh_endpoints", service="web") == 2
        assert fleet.agents["a"].metric("pilotfish_mesh_announced", service="web") == 1


def test_an_application_that_fails_its_check_is_withdrawn_and_comes_back_as_it_does() -> None:
    with Fleet("a", "b") as fleet:
        fleet.wait_for_endpoints("a", "b")
        os.kill(fleet.apps["a"].process.pid, signal.SIGSTOP)
        try:
            fleet.wait_for_endpoints("b")
        finally:
            os.kill(fleet.apps["a"].process.pid, signal.SIGCONT)
        fleet.wait_for_endpoints("a", "b")


def test_a_pod_that_is_killed_costs_no_request() -> None:
    with Fleet("a", "b", "c", "d") as fleet:
        fleet.wait_for_endpoints("a", "b", "c", "d")
        with Traffic(fleet, "a", "b", "c") as traffic:
            fleet.kill_pod("d")
            fleet.wait_for_endpoints("a", "b", "c")
            traffic.more(20)
        assert not traffic.failures


def test_an_agent_that_leaves_takes_its_endpoint_out_before_it_goes() -> None:
    with Fleet("a", "b", "c") as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        with Traffic(fleet, "a", "b") as traffic:
            fleet.agents["c"].process.terminate()  # type: ignore[union-attr]
            fleet.wait_for_endpoints("a", "b", by=("a", "b"))
            fleet.apps["c"].kill()
            assert fleet.agents["c"].stop() == 0
            traffic.more(20)
        assert not traffic.failures
        assert fleet.agents["a"].metric("pilotfish_retries_total", service="web") == 0
        assert fleet.sees("a")["c"] == "left"


@pytest.mark.slow
def test_an_agent_that_stands_still_for_five_seconds_costs_nothing_and_is_back() -> None:
    with Fleet("a", "b", "c") as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        with Traffic(fleet, "a", "b") as traffic:
            fleet.agents["c"].signal(signal.SIGSTOP)
            try:
                fleet.wait_for(["a", "b"], c="dead")
                fleet.wait_for_endpoints("a", "b", by=("a", "b"))
            finally:
                fleet.agents["c"].signal(signal.SIGCONT)
            fleet.wait_for_endpoints("a", "b", "c")
            traffic.more(20)
        assert not traffic.failures


def test_the_same_name_comes_back_after_it_was_killed() -> None:
    with Fleet("a", "b", "c") as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        fleet.agents["c"].kill()
        fleet.start("c")
        fleet.wait_for_endpoints("a", "b", "c")


def test_a_reload_keeps_what_was_discovered_and_takes_what_is_announced_anew() -> None:
    with Fleet("a", "b") as fleet:
        fleet.wait_for_endpoints("a", "b")
        agent = fleet.agents["b"]
        config = dict(agent.config)
        config["services"]["web"]["timeouts"] = {"request": "7s"}
        config["announce"] = []
        agent.write(config)
        assert agent.post("/reload")["result"] == "ok"
        assert fleet.apps["a"].address in fleet.endpoints("b")
        fleet.wait_for_endpoints("a")


def test_with_all_peers_gone_their_endpoints_stay_as_long_as_configured() -> None:
    with Fleet("a", "b", "c", cluster={"keep_endpoints": "3s"}) as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        with Traffic(fleet, "a") as traffic:
            for name in ("b", "c"):
                fleet.agents[name].kill()  # and not their applications: it looks to `a` as if it were cut off
            fleet.wait_for(["a"], b="dead", c="dead")
            wait_until(lambda: fleet.agents["a"].metric("pilotfish_mesh_isolated") == 1, "a to know that it is alone")
            wait_until(lambda: len(fleet.endpoints("a")) == 3, "all endpoints to be back in use")
            traffic.more(20)
            fleet.wait_for_endpoints("a", by=("a",))
        assert not traffic.failures


def test_a_request_under_way_at_an_endpoint_that_goes_is_not_cut() -> None:
    release = threading.Event()
    whole = response("late", headers=[("Cache-Control", "no-store")])
    with Upstream(lambda request: [whole[:-2], lambda: release.wait(20.0), whole[-2:]]) as slow, Fleet("a", "b", alone=("a", "b")) as fleet:
        agent = fleet.agents["b"]
        agent.write({**agent.config, "announce": [{"service": "web", "address": slow.address}]})
        assert agent.post("/reload")["result"] == "ok"
        wait_until(lambda: fleet.endpoints("a") == {slow.address: "member b"}, "a to know the endpoint")
        with RawClient(fleet.agents["a"].egress) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            client.until(b"la")
            assert agent.stop() == 0
            wait_until(lambda: not fleet.endpoints("a"), "the endpoint to be gone")
            release.set()
            assert client.until(b"te") == b"te"


def test_a_member_that_gets_requests_and_says_nothing_new_is_asked_how_busy_it_is() -> None:
    with Fleet("a", "b", alone=("a",)) as fleet:
        fleet.wait_for_endpoints("b", by=("a",))
        last = 0.0

        def asked() -> bool:
            # Now and then: under more than that b is busier, says so, and need not be asked.
            nonlocal last
            if time.monotonic() - last > 1.0:
                last = time.monotonic()
                fleet.ask("a")
            return fleet.agents["a"].metric("pilotfish_mesh_load_probes_total", result="answered") >= 2

        wait_until(asked, "b to be asked while it is silent", 30.0)
        assert fleet.agents["b"].metric("pilotfish_mesh_load_probes_total", result="sent") == 0
