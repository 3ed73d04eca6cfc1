"""What the state API needs of a group, held against the stand-in of the tests and against real agents: one that has the state, and one
that asks."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harness.client import RawClient, Reply
from tests.harness.consensus import BOUND_S, Group
from tests.harness.state_group import state_client
from tests.harness.state_rig import StateRig, ask, request, state_rig
from tests.harness.wait import wait_until
from tests.unit.state.test_watch_api import EventReader

pytestmark = pytest.mark.xdist_group("consensus")

Connect = Callable[[], RawClient]


@pytest.fixture(scope="module")
def rig() -> Iterator[StateRig]:
    with state_rig() as made:
        yield made


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group("a", "b", founders=("a",), own={"b": {"role": "client", "data": None}}, consensus={"voters": 1}) as made:
        made.leader("a")
        for name in "ab":
            wait_until(
                lambda name=name: reply(state_client(made, name), "PUT", "/v1/kv/ready").status == 200, "its way to the leader", BOUND_S
            )
        yield made


@pytest.fixture(params=["stand-in", "stand-in that asks", "agent", "agent that asks"])
def connect(request: pytest.FixtureRequest) -> Connect:
    if request.param.startswith("stand-in"):
        rig: StateRig = request.getfixturevalue("rig")
        return rig.client if request.param == "stand-in" else rig.through_asking().client
    group: Group = request.getfixturevalue("group")
    return lambda: state_client(group, "a" if request.param == "agent" else "b")


def reply(client: RawClient, method: str, target: str, body: Any = None, *lines: str) -> Reply:
    with client:
        return ask(client, method, target, body, *lines)


def test_a_read_sees_what_was_answered_before_it(connect: Connect) -> None:
    with connect() as client:
        for number in range(50):
            assert ask(client, "PUT", "/v1/kv/seen", b"%d" % number).status == 200
            assert ask(client, "GET", "/v1/kv/seen").body == b"%d" % number
            assert ask(client, "GET", "/v1/kv/seen?consistency=lease").body == b"%d" % number


def test_commands_of_one_connection_are_carried_out_in_their_order(connect: Connect) -> None:
    with connect() as client:
        ask(client, "DELETE", "/v1/kv/order")
        client.send(b"".join(request("PUT", "/v1/kv/order", b"%d" % number) for number in range(60)))
        assert [json.loads(client.reply().body)["version"] for _ in range(60)] == list(range(1, 61))
        assert ask(client, "GET", "/v1/kv/order").body == b"59"


def test_a_request_of_a_session_is_carried_out_once(connect: Connect) -> None:
    with connect() as client:
        ask(client, "DELETE", "/v1/counters/once")
        session = json.loads(ask(client, "POST", "/v1/sessions", {}).body)["session"]
        for number in (1, 1, 2, 2, 1):
            lines = [f"Pilotfish-Session: {session}", f"Pilotfish-Request: {number}"]
            assert json.loads(ask(client, "POST", "/v1/counters/once", {}, *lines).body) == {"value": number}
        assert ask(client, "POST", "/v1/counters/once", {}, "Pilotfish-Session: 999999", "Pilotfish-Request: 1").status == 404


def test_time_goes_on_though_nobody_writes(connect: Connect) -> None:
    with connect() as client:
        assert ask(client, "PUT", "/v1/kv/short?ttl=200ms", b"").status == 200
        wait_until(lambda: ask(client, "GET", "/v1/kv/short").status == 404, "the end of the key")


def test_watchers_hear_what_is_applied(connect: Connect) -> None:
    watcher = EventReader(connect(), "/v1/watch?key=heard")
    watcher.next()
    with connect() as client:
        for number in range(20):
            ask(client, "PUT", "/v1/kv/heard", b"%d" % number)
    assert [watcher.next()[2]["value"] for _ in range(20)] == [str(number) for number in range(20)]
    watcher.close()


def test_the_status_has_what_is_promised(connect: Connect) -> None:
    status = json.loads(reply(connect(), "GET", "/v1/status").body)
    assert set(status) >= {"agent", "group", "member", "role", "term", "leader", "leader_name", "commit", "applied", "ready", "reason"}
    assert status["ready"] is True and status["reason"] == ""
