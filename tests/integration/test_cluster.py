"""Agents that form a cluster: real processes on loopback addresses, seen through their admin ports."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.admin.catalogue import CATALOGUE, sample_names
from tests.harness.agent import AgentProcess
from tests.harness.authority import Authority
from tests.harness.client import RawClient
from tests.harness.mesh import KEY, OTHER_KEY, Mesh
from tests.harness.serf import PORT, SERF, SerfAgent, loopback_address
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until


class Storm:
    """Datagrams of noise to one place, as fast as a thread can."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.sent = 0
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._blow, daemon=True)

    def _blow(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((loopback_address(), 0))
            noise = os.urandom(600)
            while not self._stop.is_set():
                sock.sendto(b"\xf4\x04blue" + noise[self.sent % 500 :], self._place)
                self.sent += 1

    def __enter__(self) -> "Storm":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


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


def test_keys_are_rotated_across_the_cluster_while_it_runs(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in "abc"}
    for path in files.values():
        path.write_text(json.dumps([KEY]))
    with Mesh("a", "b", "c", each=lambda name: {"keys": None, "keyring_file": str(files[name])}) as mesh:
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        a = mesh.agents["a"]
        for operation, key in (("install", OTHER_KEY), ("use", OTHER_KEY), ("remove", KEY)):
            done = a.post("/cluster/keys", {"op": operation, "key": key})
            assert (done["scope"], done["acknowledged"], done["of"], done["errors"]) == ("cluster", 3, 3, {}), operation
        listed = a.post("/cluster/keys", {"op": "list"})["keys"]
        assert [(row["primary"], row["members"]) for row in listed] == [(True, 3)]
        assert all(json.loads(path.read_text()) == [OTHER_KEY] for path in files.values())
        status, answer = a.call("/cluster/keys", {"op": "remove", "key": OTHER_KEY}, "POST")
        assert status == 400 and OTHER_KEY.encode() not in answer
        mesh.agents["c"].kill()
        mesh.wait_for(["a", "b"], c="dead")
        mesh.start("c")
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        files["c"].write_text(json.dumps([OTHER_KEY, KEY]))
        wait_until(lambda: len(mesh.agents["c"].get("/cluster/keys")["keys"]) == 2, "c to read its file again")


def test_members_answer_pings_and_one_that_left_by_order_serves_on() -> None:
    with Mesh("a", "b") as mesh:
        mesh.wait_for(["a", "b"], a="alive", b="alive")
        a, b = mesh.agents["a"], mesh.agents["b"]
        assert 0.0 < a.post("/cluster/ping", {"member": "b"})["rtt_ms"] < 10_000
        assert a.call("/cluster/ping", {"member": "nobody"}, "POST")[0] == 404
        assert b.metric("pilotfish_cluster_members", state="alive") == 2
        assert b.metric("pilotfish_cluster_packets_total", direction="in") > 0
        own = [each for each in CATALOGUE if each.startswith("pilotfish_cluster_") and "_wan_" not in each]  # those are gateways' alone
        described = {name for each in own for name in sample_names(each)}
        wait_until(lambda: b.metric("pilotfish_cluster_probe_rtt_seconds", quantile="1"), "a probe")
        told = set(re.findall(r"^(pilotfish_cluster_\w+)", b.call("/metrics")[1].decode(), re.MULTILINE))
        assert told == described
        b.post("/cluster/leave")
        mesh.wait_for(["a"], b="left")
        assert b.get("/readyz")["ready"]
        assert mesh.sees("b")["b"] == "left"


def test_a_storm_of_packets_neither_stops_the_data_path_nor_the_members() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with Mesh("a", "b", services=services) as mesh:
            mesh.wait_for(["a", "b"], a="alive", b="alive")
            with Storm((mesh.hosts["a"], PORT)) as storm, RawClient(mesh.agents["a"].egress) as client:
                for _ in range(200):
                    assert client.get("/").status == 200
                wait_until(lambda: mesh.agents["a"].get("/cluster")["gossip"]["dropped"] > 5_000, "the storm to be felt")
                assert storm.sent > 5_000
                assert mesh.sees("a") == mesh.sees("b") == {"a": "alive", "b": "alive"}
            wait_until(lambda: mesh.agents["a"].metric("pilotfish_cluster_dropped_total", reason="not_decrypted") > 0, "the reason")
            assert len([event for event in mesh.agents["a"].events if event["event"] == "peer_dropped"]) < 20


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


def test_an_agent_that_was_stopped_blames_nobody_and_is_back() -> None:
    with Mesh("a", "b", "c") as mesh:
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        mesh.agents["c"].signal(signal.SIGSTOP)
        try:
            mesh.wait_for(["a", "b"], c="dead")
        finally:
            mesh.agents["c"].signal(signal.SIGCONT)
        mesh.wait_for(["a", "b", "c"], a="alive", b="alive", c="alive")
        assert not [event for event in mesh.agents["c"].events if event["event"] in ("member_suspect", "member_fail")]
        assert mesh.agents["c"].get("/cluster")["gossip"]["refutations"] >= 1


def test_members_are_found_by_a_file_and_know_each_other_by_certificate(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    places = tmp_path / "members"

    def section(by: Authority) -> Callable[[str], dict[str, Any]]:
        def each(name: str) -> dict[str, Any]:
            files = by.write(tmp_path / name, f"spiffe://fish.test/{name}")
            tls = {"certificate": files.certificate, "key": files.key, "authorities": files.authorities, "trust_domain": "fish.test"}
            return {"seeds": None, "discovery": {"file": str(places)}, "tls": tls}

        return each

    with Mesh("a", "b", each=section(authority)) as mesh, Mesh("x", each=section(stranger)) as other:
        assert mesh.sees("a") == {"a": "alive"}
        places.write_text(f"{mesh.hosts['a']}:{PORT}  # one is enough\n")
        mesh.wait_for(["a", "b"], a="alive", b="alive")
        wait_until(lambda: other.agents["x"].metric("pilotfish_cluster_stream_failures_total"), "the stranger to try")
        assert mesh.sees("a") == {"a": "alive", "b": "alive"} and other.sees("x") == {"x": "alive"}


def test_when_all_peers_are_gone_local_traffic_goes_on() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with Mesh("a", "b", "c", services=services) as mesh:
            mesh.wait_for(["a"], b="alive", c="alive")
            mesh.agents["b"].kill()
            mesh.agents["c"].kill()
            with RawClient(mesh.agents["a"].egress) as client:
                while mesh.sees("a") != {"a": "alive", "b": "dead", "c": "dead"}:
                    assert client.get("/").status == 200
                assert client.get("/").status == 200
            assert mesh.agents["a"].get("/readyz")["ready"]


def test_what_a_cluster_cannot_start_with_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((loopback_address(), 0))
        taken.listen()
        place = f"{taken.getsockname()[0]}:{taken.getsockname()[1]}"
        bad = tmp_path / "keyring.json"
        bad.write_text('["c2hvcnQ="]')
        for section, words in (
            ({"bind": place, "plaintext": True}, "Address already in use"),
            ({"bind": "127.0.0.1:0", "keyring_file": str(tmp_path / "none")}, "No such file"),
            ({"bind": "127.0.0.1:0", "keyring_file": str(bad)}, "octets"),
        ):
            agent = AgentProcess({"cluster": section})
            with pytest.raises(AssertionError):
                agent.start()
            assert agent.process is not None and agent.process.wait(10) == 2
            wait_until(lambda agent=agent: agent.event("cannot start"), "the reason")  # type: ignore[misc]
            event = agent.event("cannot start")
            assert event is not None and words in event["error"] and "c2hvcnQ" not in str(event)


def test_an_agent_alone_serves_and_an_agent_without_a_cluster_loads_nothing_of_it() -> None:
    host = loopback_address()
    section = {"bind": f"{host}:{PORT}", "plaintext": True, "seeds": [f"{loopback_address()}:{PORT}"]}
    with AgentProcess({"cluster": section}) as agent:
        assert agent.get("/readyz") == {"ready": True, "reason": "ready"}
        assert [row["name"] for row in agent.get("/cluster/members")] == ["test-1"]
    code = "import sys, agent.app.wiring, agent.app.settings; print([m for m in sys.modules if m.startswith('agent.cluster')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == [
        "agent.cluster",
        "agent.cluster.config",
        "agent.cluster.consensus",
        "agent.cluster.consensus.config",
        "agent.cluster.consensus.validate",
        "agent.cluster.validate",
    ]
