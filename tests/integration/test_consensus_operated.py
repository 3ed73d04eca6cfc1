"""A group as its operators see and order it: every answer as documented."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.admin.catalogue import CATALOGUE, sample_names
from agent.admin.openapi import DOCUMENT
from tests.harness.agent import ROOT, AgentProcess
from tests.harness.consensus import BOUND_S, Client, Group
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group("a", "b", "c", "d", founders=("a", "b", "c"), own={"d": {"role": "client", "data": None}}) as group:
        group.leader("a", "b", "c")
        yield group


def call(agent: AgentProcess, method: str, path: str, body: Any, expected: int) -> Any:
    status, got = agent.call(path, body, method.upper())
    assert status == expected, got
    schema = DOCUMENT["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    value = json.loads(got)
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)
    return value


def test_every_agent_tells_how_the_group_stands(group: Group) -> None:
    leader = group.leader("a", "b", "c")
    for name in "abc":
        found = call(group.agents[name], "get", "/consensus", None, 200)
        assert found["state"] == "member" and found["leader_name"] == leader and found["ready"] and found["groups_seen"] == 1
        rows = call(group.agents[name], "get", "/consensus/members", None, 200)
        assert {row["name"]: row["role"] for row in rows if row["name"] != "d"} == {
            each: "leader" if each == leader else "voter" for each in "abc"
        }
    wait_until(lambda: group.status("d")["leader_name"] == leader, "the client to know", BOUND_S)
    found = call(group.agents["d"], "get", "/consensus", None, 200)
    assert found["state"] == "client" and found["role"] == "client"


def test_an_operator_hands_the_leadership_over_from_any_agent(group: Group) -> None:
    leader = group.leader("a", "b", "c")
    to = next(name for name in "abc" if name != leader)
    other = next(name for name in "abc" if name not in (leader, to))
    call(group.agents[other], "post", "/consensus/transfer", {"agent": to}, 200)
    wait_until(lambda: group.status(to)["role"] == "leader", f"{to} to lead", BOUND_S)
    group.leader("a", "b", "c")
    call(group.agents["d"], "post", "/consensus/transfer", {}, 200)
    wait_until(lambda: group.status(to)["role"] != "leader", f"{to} not to lead", BOUND_S)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("add", {"agent": "nobody"}, 409, "no agent that is there"),
        ("add", {"agent": "d"}, 409, "may vote"),
        ("add", {"agent": "a"}, 409, "a voter already"),
        ("remove", {"agent": "nobody"}, 409, "no member"),
        ("transfer", {"agent": "nobody"}, 409, "no member"),
        ("remove", {}, 400, "agent: expected"),
        ("add", {"agnet": "a"}, 400, "expected"),
        ("add", [], 400, "expected"),
    ],
)
def test_orders_that_cannot_be_carried_out_say_why(group: Group, path: str, body: Any, status: int, said: str) -> None:
    group.leader("a", "b", "c")
    assert said in call(group.agents["b"], "post", f"/consensus/{path}", body, status)["error"]


def test_a_snapshot_is_taken_on_demand_and_a_client_has_none(group: Group) -> None:
    index = call(group.agents["a"], "post", "/consensus/snapshot", {}, 200)["index"]
    assert group.status("a")["snapshot_index"] == index > 1
    assert "no state" in call(group.agents["d"], "post", "/consensus/snapshot", {}, 409)["error"]


def test_bounds_of_the_state_are_set_for_all(group: Group) -> None:
    before = call(group.agents["a"], "get", "/consensus/limits", None, 200)
    assert before["keys"] == 1_000_000
    assert call(group.agents["b"], "post", "/consensus/limits", {"keys": 2_000_000}, 200) == {**before, "keys": 2_000_000}
    for name in "abc":
        assert call(group.agents[name], "get", "/consensus/limits", None, 200)["keys"] == 2_000_000
    for wrong in ({"kyes": 1}, {"keys": -1}, {"keys": "many"}, []):
        assert "limit" in call(group.agents["a"], "post", "/consensus/limits", wrong, 400)["error"]
    assert "no state" in call(group.agents["d"], "get", "/consensus/limits", None, 409)["error"]


def test_a_voter_that_is_removed_and_still_wants_to_vote_is_taken_in_again(group: Group) -> None:
    leader = group.leader("a", "b", "c")
    out = next(name for name in "abc" if name != leader)
    changes = group.status(leader)["last_change"]
    call(group.agents[leader], "post", "/consensus/remove", {"agent": out}, 200)
    wait_until(lambda: group.status(leader)["last_change"] not in ("", changes), "the leader to do something", BOUND_S)
    group.wait_for_voters("a", "b", "c", by=group.leader("a", "b", "c"))


def test_an_agent_without_consensus_says_how_to_have_it() -> None:
    with AgentProcess({}) as agent:
        for method, path in (("get", "/consensus"), ("get", "/consensus/members"), ("post", "/consensus/snapshot")):
            assert "consensus" in call(agent, method, path, {} if method == "post" else None, 404)["error"]


def command(*words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "agent", "consensus", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_command_shows_and_orders(group: Group) -> None:
    leader = group.leader("a", "b", "c")
    admin = ("--admin", "{}:{}".format(*group.agents["b"].admin))
    code, said = command("status", *admin)
    assert code == 0 and f"leader              {leader}" in said and "memory" not in said
    code, said = command("members", *admin)
    assert code == 0 and all(name in said for name in "abcd")
    code, said = command("members", *admin, "--json")
    assert {row["name"] for row in json.loads(said)} == set("abcd")
    to = next(name for name in "abc" if name != leader)
    assert command("transfer", to, *admin)[0] == 0
    wait_until(lambda: group.status(to)["role"] == "leader", f"{to} to lead", BOUND_S)
    code, said = command("remove", "nobody", *admin)
    assert code == 1 and "no member" in said
    code, said = command("snapshot", *admin)
    assert code == 0 and "is on disk" in said


def test_every_metric_of_consensus_is_there(group: Group) -> None:
    group.leader("a", "b", "c")
    text = group.agents["a"].call("/metrics")[1].decode()
    samples = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    sometimes = {"proposals_failed", "refused", "reads_failed", "peers_refused", "reads"}
    for name in CATALOGUE:
        if name.startswith("pilotfish_consensus_") and name.removeprefix("pilotfish_consensus_") not in sometimes:
            assert set(sample_names(name)) <= samples, name
    assert group.agents["a"].metric("pilotfish_consensus_role", role="client") == 0
    assert group.agents["d"].metric("pilotfish_consensus_role", role="client") == 1


def test_from_a_survivor_of_a_lost_majority_a_new_group_begins_with_all_that_was_acknowledged() -> None:
    with Group("a", "b", "c") as group:
        group.leader()
        for number in range(20):
            assert Client(group, "a").put(f"k{number}", str(number)) == 200
        group.wait_for_applied(max(group.status(name)["commit"] for name in "abc"))
        old = group.status("a")["group_id"]
        for name in "abc":
            group.agents[name].kill()
        for name in "bc":
            group.wipe(name)
        folder = str(group.folders / "a" / "main")
        code, said = command("recover", folder, "--name", "a")
        assert code == 1 and "--yes does it" in said
        code, said = command("recover", folder, "--name", "a", "--yes")
        assert code == 0 and "done" in said, said
        group.start("a")
        assert group.leader("a") == "a"
        assert group.status("a")["group_id"] != old
        assert [Client(group, "a").get(f"k{number}") for number in range(20)] == [str(number) for number in range(20)]
        for name in "bc":
            group.start(name)
        group.wait_for_voters("a", "b", "c", by="a")
        assert Client(group, "c").get("k7") == "7"
        assert command("recover", str(group.folders), "--name", "a")[0] == 1
