"""A cluster of real agents, operated: the commands, the documented answers, the stream, and the page, from one of its members."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent.app.admin_client import Admin
from tests.harness.agent import AgentProcess
from tests.harness.browser import Browser, chromium
from tests.harness.mesh import KEY, OTHER_KEY, Mesh
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
ALIVE = {"a": "alive", "b": "alive", "c": "alive"}


def cluster(agent: AgentProcess, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", "cluster", *words, "--admin", f"{agent.admin[0]}:{agent.admin[1]}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=given, timeout=60, check=False)


def test_a_cluster_is_looked_at_probed_rekeyed_and_left() -> None:
    with Mesh("a", "b", "c") as mesh:
        mesh.wait_for(["a", "b", "c"], **ALIVE)
        a, b = mesh.agents["a"], mesh.agents["b"]
        wait_until(lambda: all(row["health"] for row in a.get("/cluster/members")), "everybody's health to be gossiped")
        document = a.get("/openapi.json")
        for path in ("/cluster", "/cluster/members", "/cluster/health", "/cluster/keys", "/cluster/mesh"):
            schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            Draft202012Validator({**schema, "components": document["components"]}).validate(a.get(path))
        assert "3 alive" in cluster(a, "members").stdout
        assert cluster(a, "ping", "b").stdout.startswith("b: ")
        old, new = a.get("/cluster/keys")["keys"][0]["fingerprint"], ""
        for op, key in (("install", OTHER_KEY), ("use", OTHER_KEY), ("remove", KEY)):
            done = cluster(a, "keys", op, "-", "--json", given=key)
            assert done.returncode == 0, done.stdout + done.stderr
            found = json.loads(done.stdout)
            assert (found["scope"], found["acknowledged"], found["of"], found["errors"]) == ("cluster", 3, 3, {})
        new = b.get("/cluster/keys")["keys"][0]["fingerprint"]
        assert new != old
        assert all([row["fingerprint"] for row in mesh.agents[name].get("/cluster/keys")["keys"]] == [new] for name in "abc")
        wait_until(lambda: cluster(a, "health").returncode == 0, "all to be well with the new key")
        assert cluster(a, "keys", "use", "-", given=KEY).returncode == 1
        assert cluster(b, "leave").stdout == "left; the agent goes on alone\n"
        mesh.wait_for(["a", "c"], b="left")
        assert b.get("/readyz")["ready"]
        assert cluster(b, "leave").returncode == 0  # there is nothing more to leave
        awaited = {"join", "key", "leave"}
        for _, event in Admin(f"{a.admin[0]}:{a.admin[1]}").events("/cluster/events?recent=500"):
            awaited.discard(event["kind"])
            if not awaited:
                break


@pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
def test_the_page_shows_real_members_an_announced_endpoint_and_a_death() -> None:
    with Upstream(response("hello")) as upstream, Browser() as browser:
        announce = [{"service": "web", "address": upstream.address}]
        with Mesh("a", "b", "c", services={"web": {"hosts": ["web"], "discovered": True}}) as mesh:
            mesh.wait_for(["a", "b", "c"], **ALIVE)
            extra = Mesh("d", announce=announce)
            extra.seeds = mesh.seeds
            with extra:
                a = mesh.agents["a"]
                browser.open(f"http://{a.admin[0]}:{a.admin[1]}/")
                browser.shows("#members", "a (this)", "b", "c", "d", "zone a")
                browser.shows("#services", "web", upstream.address, "usable")
                wait_until(lambda: "d" in browser.text("#services tbody td:nth-last-child(2)"), "who announces it is shown")
                wait_until(lambda: browser.evaluate("document.querySelectorAll('#latency td[class^=heat]').length") >= 6, "latencies")
                extra.agents["d"].kill()
                browser.shows("#members", "dead")
                browser.shows("#events", "fail", "d")
                browser.shows("#services", "No endpoints")
        assert browser.problems == []
