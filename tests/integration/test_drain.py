"""Leaving: what is under way is finished, who asks is told, and a successor takes over without a failed request."""

import signal
import threading

from tests.chaos.test_kills import Instance, Load
from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until


def test_a_drain_tells_readiness_finishes_what_is_under_way_and_exits_0() -> None:
    go = threading.Event()
    began = threading.Event()

    def slow(request: Received) -> bytes:
        if request.target == "/slow":
            began.set()
            go.wait(20)
        return response("done")

    with Upstream(slow) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        config = {"services": services, "drain": {"delay": "1s", "timeout": "20s"}}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.send(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
            assert began.wait(20)
            assert agent.call("/readyz")[0] == 200
            agent.signal(signal.SIGTERM)
            wait_until(lambda: agent.call("/readyz")[0] == 503, "readiness is withdrawn")
            with RawClient(agent.egress) as late:
                assert late.get("/").status == 200  # still accepted: balancers have not noticed yet
            assert agent.process is not None
            go.set()
            reply = client.reply()
            assert (reply.status, reply.body) == (200, b"done")
            assert agent.process.wait(20) == 0


def test_a_request_past_the_drain_limit_is_cut() -> None:
    go = threading.Event()
    began = threading.Event()

    def never(_: Received) -> bytes:
        began.set()
        go.wait(30)
        return response("too late")

    with Upstream(never) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        config = {"services": services, "drain": {"delay": "0s", "timeout": "500ms"}}
        try:
            with AgentProcess(config) as agent, RawClient(agent.egress) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                assert began.wait(20)
                agent.signal(signal.SIGTERM)
                assert agent.process is not None
                assert agent.process.wait(20) == 0
        finally:
            go.set()


def test_a_rolling_restart_under_load_fails_no_request() -> None:
    instance = Instance()
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [instance.address]}}
        old = AgentProcess({"services": services, "drain": {"delay": "500ms", "timeout": "10s"}})
        old.start()
        try:
            place = f"{old.egress[0]}:{old.egress[1]}"
            with Load(old) as load:
                load.more(100)
                config = {"services": services, "listen": {"egress": place}}
                with AgentProcess(config) as new:
                    assert new.egress == old.egress
                    assert old.stop() == 0
                    load.more(200)
                    assert new.metric("pilotfish_request_duration_seconds_count", service="web") > 0
                    load.stop.set()
                    for thread in load.threads:
                        thread.join(20)
                    assert load.bad == []
        finally:
            if old.process is not None and old.process.poll() is None:
                old.process.kill()
    finally:
        instance.kill()
