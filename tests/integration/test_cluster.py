"""Agents that form a cluster: real processes on loopback addresses, seen through their admin ports."""

import json
import subprocess
import sys

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.mesh import KEY, OTHER_KEY, Mesh
from tests.harness.serf import PORT, SERF, SerfAgent, loopback_address
from tests.harness.wait import wait_until


def test_agents_find_each_other_see_one_killed_and_welcome_it_back() -> None:
    with Mesh("a", "b", "c") as mesh:
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        assert mesh.agents["a"].get("/cluster")["self"]["encrypted"]
        wait_until(lambda: mesh.row("a", "c")["health"] is not None, "c's health to be gossiped to a")
        wait_until(lambda: mesh.row("a", "c")["rtt_ms"], "c to be probed by a")
        row = mesh.row("b", "c")
        assert (row["region"], row["zone"], row["address"]) == ("eu", "a", f"{mesh.hosts['c']}:{PORT}")
        before = row["incarnation"]
        mesh.agents["c"].kill()
        mesh.wait_for(["a", "b"], 10.0, c="dead")
        mesh.start("c")
        mesh.wait_for(["a", "b"], c="alive")
        mesh.wait_for(["c"], a="alive", b="alive")
        assert mesh.row("a", "c")["incarnation"] > before
        wait_until(lambda: mesh.row("a", "c")["health"] is not None, "the new life's facts")


def test_an_agent_that_is_told_to_stop_leaves_without_being_suspected() -> None:
    with Mesh("a", "b", "c") as mesh:
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        assert mesh.agents["c"].stop() == 0
        mesh.wait_for(["a", "b"], c="left")
        for name in "ab":
            assert not [event for event in mesh.agents[name].events if event["event"] in ("member_suspect", "member_fail")]


def test_an_agent_without_the_key_is_not_heard() -> None:
    with Mesh("a", "b") as mesh:
        mesh.wait_for(["a", "b"], a="alive", b="alive")
        stranger = Mesh("x", cluster={"keys": [OTHER_KEY]})
        stranger.seeds = mesh.seeds
        with stranger:
            wait_until(lambda: mesh.agents["a"].get("/cluster")["gossip"]["dropped"] > 0, "the stranger to try")
            assert "x" not in mesh.sees("a")
            assert stranger.sees("x") == {"x": "alive"}


@pytest.mark.skipif(SERF is None, reason="no serf")
def test_a_serf_agent_is_a_member() -> None:
    with Mesh("a", "b", cluster={"name": None}) as mesh:
        mesh.wait_for(["a", "b"], a="alive", b="alive")
        with SerfAgent("serf-1", f"-encrypt={KEY}", join=mesh.hosts["a"]) as serf:
            mesh.wait_for(["a", "b"], **{"serf-1": "alive"})
            serf.wait_for(a="alive", b="alive")
            assert mesh.row("a", "serf-1")["health"] is None
            assert mesh.agents["b"].stop() == 0
            serf.wait_for(a="alive", b="left")
            serf.kill()
            mesh.wait_for(["a"], **{"serf-1": "dead"})


def test_an_agent_alone_serves_and_an_agent_without_a_cluster_loads_nothing_of_it() -> None:
    host = loopback_address()
    section = {"bind": f"{host}:{PORT}", "plaintext": True, "seeds": [f"{loopback_address()}:{PORT}"]}
    with AgentProcess({"cluster": section}) as agent:
        assert agent.get("/readyz") == {"ready": True, "reason": "ready"}
        assert [row["name"] for row in agent.get("/cluster/members")] == ["test-1"]
    code = "import sys, agent.app.wiring, agent.app.settings; print([m for m in sys.modules if m.startswith('agent.cluster')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == ["agent.cluster", "agent.cluster.config", "agent.cluster.validate"]
