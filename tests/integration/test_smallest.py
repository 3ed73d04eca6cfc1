"""The smallest configuration, used as a new user uses it."""

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response


def test_a_miss_then_a_hit_then_a_post() -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            first = client.get("/a")
            assert (first.status, first.body) == (200, b"hello")
            second = client.get("/a")
            assert (second.status, second.body) == (200, b"hello")
            assert "hit" in (second.header("cache-status") or "")
            assert second.header("age") is not None
            assert len(upstream.requests) == 1
            client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
            assert client.reply("POST").status == 200
            assert upstream.requests[1].body == b"abc"
            assert agent.metric("pilotfish_request_duration_seconds_count", service="web") == 3
