"""Why a request was answered as it was: by header in place of the response, and by id afterwards."""

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.harness.agent import AgentProcess, build_directory
from tests.harness.client import RawClient
from tests.harness.upstream import Close, Received, Upstream, response

WHY = "X-Pilotfish-Why: 1"


def steps(story: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [step for step in story["steps"] if step["step"] == name]


def dead_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_a_miss_and_then_a_hit_are_explained_in_place_of_the_response() -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream:
        routes = [{"name": "never", "match": {"prefix": "/never"}}, {"name": "api", "match": {"prefix": "/a"}}]
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "routes": routes, "cache": {"enabled": True}}}
        with AgentProcess({"services": services, "why": {"header": True}}) as agent, RawClient(agent.egress) as client:
            reply = client.get("/a", "shop.local", WHY)
            assert (reply.status, reply.header("content-type"), reply.header("cache-control")) == (200, "application/json", "no-store")
            story = json.loads(reply.body)
            assert (story["agent"], story["service"], story["status"], story["outcome"]) == ("test-1", "web", 200, "miss")
            assert [(step["route"], step["matched"]) for step in steps(story, "route")] == [("never", False), ("api", True)]
            assert "does not begin with /never" in steps(story, "route")[0]["why_not"]
            assert steps(story, "lookup") == [{**steps(story, "lookup")[0], "verdict": "nothing stored", "section": "RFC 9111 4"}]
            admission = steps(story, "admission")[0]
            assert (admission["breaker"], admission["in_flight"], admission["requests_max"]) == ("closed", 1, 4096)
            tried = steps(story, "try")[0]
            assert tried["endpoint"] == upstream.address
            assert tried["compared"][0]["address"] == upstream.address
            storage = steps(story, "storage")[0]
            assert storage["store"] is True
            assert storage["lifetime"] == {"seconds": 60.0, "rule": "max-age", "section": "RFC 9111 5.2.2.1"}
            assert story["endpoint"] == upstream.address
            times = [step["at_ms"] for step in story["steps"] if "at_ms" in step]
            assert times == sorted(times)
            assert story["ms"] >= times[-1] > 0

            story = json.loads(client.get("/a", "shop.local", WHY).body)
            assert story["outcome"] == "hit"
            found = steps(story, "lookup")[0]
            assert (found["verdict"], found["section"]) == ("fresh", "RFC 9111 4.2")
            assert 0 < found["fresh_for_s"] <= 60
            assert not steps(story, "try")
            assert len(upstream.requests) == 1, "the first request was stored although its response was dropped"
            assert upstream.requests[0].header("x-pilotfish-why") is None, "the question is for this agent alone"
            assert client.get("/a", "shop.local").body == b"hello", "the connection goes on"


def test_the_header_says_nothing_unless_configuration_allows_it() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            assert client.get("/", "x", WHY).body == b"hello"


def test_every_kind_of_answer_can_be_asked_about() -> None:
    services = {
        "web": {
            "hosts": ["web"],
            "endpoints": [dead_address()],
            "rate_limits": [{"requests": 3, "per": "1h"}],  # one of them goes to /fault: the routes share the bucket
            "retries": {"backoff_base": "1ms"},
            "routes": [
                {"name": "direct", "match": {"path": "/direct"}, "respond": {"body": "x"}},
                {"name": "fault", "match": {"path": "/fault"}, "fault": {"abort_status": 418, "abort_share": 1}},
            ],
        }
    }
    with AgentProcess({"services": services, "why": {"header": True}}) as agent, RawClient(agent.egress) as client:
        story = json.loads(client.get("/", "nobody", WHY).body)
        assert (story["status"], story["flag"]) == (404, "NR")
        assert story["steps"][0] == {"step": "host", "host": "nobody", "matched": False, "claims": ["web"]}

        story = json.loads(client.get("/direct", "web", WHY).body)
        assert (story["status"], story["outcome"]) == (200, "local")

        story = json.loads(client.get("/fault", "web", WHY).body)
        assert (story["status"], story["flag"]) == (418, "FI")
        assert steps(story, "fault")[0]["abort_status"] == 418

        story = json.loads(client.get("/", "web", WHY).body)
        assert (story["status"], story["flag"]) == (503, "UF")
        assert [step["outcome"] for step in steps(story, "try failed")] == ["connect-failure"] * 3
        assert len(steps(story, "retry")) == 2
        assert steps(story, "rate limit")[0] == {**steps(story, "rate limit")[0], "allowed": True, "tokens_left": 1.0}

        json.loads(client.get("/", "web", WHY).body)
        story = json.loads(client.get("/", "web", WHY).body)
        assert (story["status"], story["flag"]) == (429, "RL")
        assert steps(story, "rate limit")[0]["allowed"] is False


def test_a_body_that_breaks_off_and_a_post_are_explained() -> None:
    def handler(request: Received) -> Any:
        if request.method == "POST":
            return response(request.body)
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Close]

    with Upstream(handler) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services, "why": {"header": True}}) as agent:
            with RawClient(agent.egress) as client:
                story = json.loads(client.get("/", "x", WHY).body)
                assert (story["status"], story["flag"]) == (200, "UC")
                assert steps(story, "try failed")[0]["outcome"] == "reset"
            with RawClient(agent.egress) as client:
                client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-Pilotfish-Why: 1\r\n\r\nabc")
                story = json.loads(client.reply("POST").body)
                assert (story["request"]["method"], story["status"]) == ("POST", 200)
                assert upstream.requests[-1].body == b"abc"


def test_recent_requests_are_explained_by_id() -> None:
    answers = iter([response("no", 502), response("hello", headers=[("Cache-Control", "max-age=60")])])
    with Upstream(lambda _: next(answers, response("more"))) as upstream, Upstream(response("other")) as other:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}, "retries": {"backoff_base": 0}}}
        services["two"] = {"hosts": ["two"], "endpoints": [upstream.address, other.address]}
        with AgentProcess({"services": services, "why": {"recent": 3}}) as agent, RawClient(agent.egress) as client:
            assert client.get("/a", "x", "X-Request-Id: first").body == b"hello"
            story = agent.get("/why?id=first")
            assert story["id"] == "first"
            assert [step["status"] for step in steps(story, "response discarded")] == [502]
            assert [step["number"] for step in steps(story, "try")] == [1, 2]
            assert [step["status"] for step in steps(story, "response")] == [200]

            assert client.get("/a", "x", "X-Request-Id: second").body == b"hello"
            story = agent.get("/why?id=second")
            assert (story["outcome"], story["service"]) == ("hit", "web")
            assert steps(story, "lookup")[0]["section"] == "RFC 9111 4.2"

            client.get("/b", "two")
            made = agent.get("/why?target=/b")
            compared = steps(made, "try")[0]["compared"]
            assert {row["address"] for row in compared} == {upstream.address, other.address}
            assert all(row["cost"] == 0 for row in compared)  # nobody has been tried yet
            assert agent.get(f"/why?id={made['id']}") == made
            client.get("/b", "nobody", "X-Request-Id: last")
            assert agent.call("/why?id=first")[0] == 404, "only the latest three are kept"
            assert agent.call("/why?id=never")[0] == 404


def test_nothing_is_kept_where_configuration_says_so() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services, "why": {"recent": 0, "header": True}}) as agent, RawClient(agent.egress) as client:
            client.get("/", "x", "X-Request-Id: one")
            assert agent.call("/why?id=one")[0] == 404
            assert json.loads(client.get("/", "x", WHY).body)["status"] == 200


@pytest.mark.parametrize("header", [True, False])
def test_the_command_prints_it_for_a_person(header: bool) -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services, "why": {"header": header}}) as agent:
            for outcome in ("miss", "hit"):
                places = ["--proxy", agent.url, "--admin", f"http://{agent.admin[0]}:{agent.admin[1]}"]
                run = subprocess.run(
                    [sys.executable, "-m", "agent", "why", "http://shop.local/a", *places],
                    cwd=build_directory(),
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert run.returncode == 0, run.stderr
                assert run.stdout.startswith(f"GET http://shop.local/a -> 200 ({outcome})"), run.stdout
                assert "RFC 9111 4" in run.stdout
