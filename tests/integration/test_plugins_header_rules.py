"""Header rules in a running agent."""

from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response


def rules(*found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "header_rules", "config": {"rules": list(found)}}]


def services(upstream: Upstream) -> dict[str, Any]:
    return {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}


def test_requests_and_responses_are_edited_on_a_miss_and_on_a_hit() -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60"), ("X-Powered-By", "magic")])) as upstream:
        plugins = rules(
            {
                "request": {"set": {"X-Who": "{client} via {listener}", "X-Old": "{header:X-New}"}, "remove": ["X-Debug"]},
                "response": {"set": {"X-Served": "{service}{path}"}, "remove": ["X-Powered-By"]},
            },
            {"match": {"paths": ["/other*"]}, "response": {"set": {"X-Served": "never"}}},
        )
        with AgentProcess({"services": services(upstream), "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            for outcome in ("fwd=", "hit"):
                reply = client.get("/a?b=1", "test", "X-Debug: 1", "X-Old: from the client")
                assert outcome in (reply.header("cache-status") or "")
                assert (reply.body, reply.header("x-served"), reply.header("x-powered-by")) == (b"hello", "web/a", None)
            (seen,) = upstream.requests
            assert (seen.header("x-who"), seen.header("x-debug")) == ("127.0.0.1 via egress", None)
            assert seen.header("x-old") == "from the client"  # X-New is absent: not set
            assert agent.get("/plugins")[0]["faults"] == 0


def test_conditions_choose_the_rules_and_the_later_one_wins() -> None:
    with Upstream(response("x", 404)) as upstream:
        plugins = rules(
            {"request": {"set": {"X-Tier": "free"}}},
            {"when": {"X-Plan": "gold", "X-Trial": "!"}, "request": {"set": {"X-Tier": "gold"}}},
            {"match": {"methods": ["DELETE"]}, "request": {"set": {"X-Careful": "{cookie:who}"}}},
            {"statuses": [404], "response": {"set": {"X-Missing": "yes"}}},
        )
        with AgentProcess({"services": services(upstream), "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            client.get("/", "test", "X-Plan: gold")
            client.get("/", "test", "X-Plan: gold", "X-Trial: 1")
            reply = client.get("/", "test", "Cookie: a=b; who=me", method="DELETE")
            assert reply.header("x-missing") == "yes"
            assert [seen.header("x-tier") for seen in upstream.requests] == ["gold", "free", "free"]
            assert [seen.header("x-careful") for seen in upstream.requests] == [None, None, "me"]
