"""Leaving: what is under way is finished, who asks is told, and a successor takes over without a failed request."""

import signal
import threading
from pathlib import Path

import pytest

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


class Connects(Load):
    """Clients that make a connection for every request: what is lost in a hand-over of a port is lost here first."""

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                with RawClient(self.place or self.agent.egress) as client:
                    reply = client.get("/")
                if reply.status == 200 and reply.body == b"hello":
                    self.good += 1
                else:
                    self.bad.append(f"{reply.status} {reply.body[:200]!r}")
            except (OSError, EOFError) as error:
                self.bad.append(repr(error))

    place = ""


@pytest.mark.parametrize("load_of", [Load, Connects])
def test_several_rolling_restarts_under_load_fail_no_request(load_of: type[Load]) -> None:
    instance = Instance()
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [instance.address], "cache": {"enabled": True}}}
        drain = {"delay": "100ms", "timeout": "10s", "idle": "200ms"}
        old = AgentProcess({"services": services, "drain": drain}).start()
        place = f"{old.egress[0]}:{old.egress[1]}"
        with load_of(old) as load:
            load.more(50)
            for _ in range(4):
                new = AgentProcess({"services": services, "drain": drain, "listen": {"egress": place}}).start()
                load.more(50)
                assert old.stop() == 0
                served = new.metric("pilotfish_request_duration_seconds_count", service="web")
                load.more(50)
                assert new.metric("pilotfish_request_duration_seconds_count", service="web") >= served + 40
                old = new
            assert load.bad == []
        assert old.stop() == 0
    finally:
        instance.kill()


def test_a_younger_agent_that_leaves_hands_its_connections_to_the_older_one() -> None:
    """A rollout that is taken back."""
    instance = Instance()
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [instance.address]}}
        with AgentProcess({"services": services}) as old, Connects(old) as load:
            place = f"{old.egress[0]}:{old.egress[1]}"
            for _ in range(3):
                with AgentProcess({"services": services, "listen": {"egress": place}}) as new:
                    wait_until(lambda new=new: new.metric("pilotfish_connections_accepted_total") > 20, "the younger one has its share")
                load.more(20)
            assert load.bad == []
    finally:
        instance.kill()


def test_a_unix_socket_is_taken_over_under_load(tmp_path: Path) -> None:
    instance = Instance()
    try:
        path = str(tmp_path / "egress")
        config = {"services": {"web": {"hosts": ["*"], "endpoints": [instance.address]}}, "listen": {"egress": f"unix:{path}"}}
        old = AgentProcess(config).start()
        load = Connects(old)
        load.place = path
        with load:
            load.more(50)
            for _ in range(3):
                new = AgentProcess(config).start()
                load.more(20)
                assert old.stop() == 0
                load.more(50)
                old = new
            assert load.bad == []
        assert old.stop() == 0
    finally:
        instance.kill()


def test_an_idle_connection_may_bring_one_more_request() -> None:
    with Upstream(response("done")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        config = {"services": services, "drain": {"delay": "0s", "timeout": "20s", "idle": "20s"}}
        with AgentProcess(config) as agent, RawClient(agent.egress) as idle, RawClient(agent.egress) as other:
            assert idle.get("/").status == other.get("/").status == 200
            agent.signal(signal.SIGTERM)
            wait_until(lambda: refuses(agent.egress), "no more connections are accepted")
            for client in (idle, other):
                reply = client.get("/")
                assert (reply.status, reply.header("connection")) == (200, "close")
                assert client.rest() == b""
            assert agent.process is not None
            assert agent.process.wait(20) == 0


def refuses(place: tuple[str, int]) -> bool:
    try:
        RawClient(place).close()
    except ConnectionRefusedError:
        return True
    return False
