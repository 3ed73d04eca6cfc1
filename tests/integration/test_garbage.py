"""The garbage collector does not walk what start-up made while requests wait."""

from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response


def collector(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] = agent.get("/debug/loop")["gc"]
    return found


def test_what_start_up_made_is_set_aside() -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "no-store")])) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            before = collector(agent)
            assert before["frozen"] > 20_000
            assert before["enabled"]
            assert len(before["collections"]) == len(before["collected"]) == 3
            for _ in range(50):
                client.send(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
                assert client.reply().status == 200
            # Set aside is what start-up made, not what requests make.
            assert collector(agent)["frozen"] <= before["frozen"]


def test_a_reload_sets_aside_what_it_made_and_lets_the_old_go() -> None:
    services: dict[str, Any] = {"web": {"hosts": ["*"], "endpoints": ["127.0.0.1:9"]}}
    with AgentProcess({"services": services}) as agent:
        agent.post("/reload")
        before = collector(agent)["frozen"]
        for number in range(3):
            many = {f"s{number}-{n}": {"hosts": [f"s{n}.test"], "endpoints": ["127.0.0.1:9"]} for n in range(200)}
            agent.write({**agent.config, "services": {**services, **many}})
            assert agent.post("/reload")["result"] in ("ok", "unchanged")  # the watcher may have been first
            # Twice as many services are never set aside: each reload lets go those of the one before.
            if number == 0:
                once = collector(agent)["frozen"] - before
                assert once > 1000
            else:
                assert collector(agent)["frozen"] - before < 1.5 * once
        agent.write({**agent.config, "services": services})
        assert agent.post("/reload")["result"] in ("ok", "unchanged")
        assert collector(agent)["frozen"] - before < 0.5 * once


def test_requests_leave_nothing_for_the_collector() -> None:
    def answer(request: Received) -> bytes:
        control = "no-store" if "pass" in request.target else "max-age=60"
        return response("hello", headers=[("Cache-Control", control)])

    with Upstream(answer) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services, "why": {"recent": 8}}) as agent, RawClient(agent.egress) as client:

            def rounds(number: int) -> None:
                for turn in range(number):
                    assert client.get("/pass").status == 200
                    assert client.get(f"/fill/{number}/{turn}").status == 200
                    client.send(b"POST /pass HTTP/1.1\r\nHost: web.test\r\nContent-Length: 2\r\n\r\nhi")
                    assert client.reply("POST").status == 200

            rounds(50)
            before = collector(agent)["collected"]
            rounds(400)
            # Were each of these 1,200 exchanges a cycle, some ten objects of each would have been collected.
            assert sum(collector(agent)["collected"]) - sum(before) < 1200
