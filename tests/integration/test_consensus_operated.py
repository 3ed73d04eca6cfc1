"""A group as its operators see and order it: every answer as documented."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.admin.openapi import DOCUMENT
from tests.harness.agent import AgentProcess
from tests.harness.consensus import BOUND_S, Group
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
