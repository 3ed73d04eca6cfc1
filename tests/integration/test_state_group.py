"""The state API on groups of real agents: any agent takes any request, and the promises hold over the leader's end."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.consensus import BOUND_S, Group
from tests.harness.state_group import state_ask, state_client, state_json
from tests.harness.state_rig import request
from tests.harness.wait import wait_until
from tests.unit.state.test_watch_api import EventReader

pytestmark = pytest.mark.xdist_group("consensus")


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group("a", "b", "c") as group:
        group.leader()
        yield group


def test_what_one_agent_was_told_every_agent_tells(group: Group) -> None:
    for number, name in enumerate("abc"):
        assert state_ask(group, name, "PUT", f"/v1/kv/told/{name}", b"by " + name.encode()).status == 200
        for other in "abc":
            for query in ("", "?consistency=lease"):
                assert state_ask(group, other, "GET", f"/v1/kv/told/{name}{query}").body == b"by " + name.encode(), (name, other, number)
    for name in "abc":
        page = state_json(group, name, "GET", "/v1/kv?prefix=told/")
        assert [item["value"] for item in page["items"]] == ["by a", "by b", "by c"]
        wait_until(lambda name=name: state_ask(group, name, "GET", "/v1/kv/told/c?max_staleness=10s").status == 200, "a stale read")
        status = state_json(group, name, "GET", "/v1/status")
        assert status["agent"] == name and status["ready"] is True and status["leader_name"] == group.leader()


def test_a_watch_at_one_agent_hears_of_writes_at_another_and_goes_on_at_a_third(group: Group) -> None:
    first = EventReader(state_client(group, "a"), "/v1/watch?prefix=watched/")
    first.next()
    for number in range(3):
        state_ask(group, "b", "PUT", f"/v1/kv/watched/{number}", b"")
    told = [first.next() for _ in range(3)]
    assert [data["key"] for _, _, data in told] == ["watched/0", "watched/1", "watched/2"]
    first.close()
    then = EventReader(state_client(group, "c"), "/v1/watch?prefix=watched/", f"Last-Event-ID: {told[0][0]}")
    then.next()
    assert [then.next() for _ in range(2)] == told[1:]
    then.close()


def test_a_lock_passes_between_clients_of_different_agents(group: Group) -> None:
    held = state_json(group, "a", "POST", "/v1/locks/between", {"ttl": "30s"})
    waiting = state_client(group, "b").send(request("POST", "/v1/locks/between", {"ttl": "30s", "wait": "20s"}))
    wait_until(lambda: state_json(group, "c", "GET", "/v1/locks/between")["waiting"] == 1, "the waiter")
    state_json(group, "c", "DELETE", "/v1/locks/between", {"lease": held["lease"]})
    got = json.loads(waiting.reply().body)
    assert got["token"] > held["token"] and got["lease"] != held["lease"]
    waiting.close()
    short = state_json(group, "a", "POST", "/v1/locks/short", {"ttl": "300ms"})
    next_holder = state_json(group, "b", "POST", "/v1/locks/short", {"ttl": "30s", "wait": "20s"})
    assert next_holder["token"] > short["token"], "a lease ended, though nobody wrote meanwhile"


def test_a_session_counts_once_over_the_kill_of_the_leader() -> None:
    """Each request is sent again, to any agent, until it has an outcome; each counts once."""
    with Group("a", "b", "c") as group:
        leader = group.leader()
        session = state_json(group, leader, "POST", "/v1/sessions", {"ttl": "60s"}, status=201)["session"]
        rest = [name for name in "abc" if name != leader]
        failures: list[Any] = []
        counted = 0
        tries = 0
        for number in range(1, 61):
            if number == 20:
                threading.Thread(target=group.agents[leader].kill).start()
            while True:
                name = rest[tries % 2]
                tries += 1
                lines = [f"Pilotfish-Session: {session}", f"Pilotfish-Request: {number}", f"Pilotfish-Acked: {number - 1}"]
                reply = state_ask(group, name, "POST", "/v1/counters/once?timeout=2s", {"add": 1}, *lines)
                if reply.status == 200:
                    counted += 1
                    assert json.loads(reply.body) == {"value": counted}, (number, failures)
                    break
                failures.append((number, reply.status, reply.body))
                assert reply.status in (503, 504), reply.body
                assert len(failures) < 200
        assert state_json(group, rest[0], "GET", "/v1/counters/once")["value"] == 60


def test_a_watch_misses_nothing_over_the_kill_of_the_leader() -> None:
    with Group("a", "b", "c") as group:
        leader = group.leader()
        rest = [name for name in "abc" if name != leader]
        watcher = EventReader(state_client(group, rest[0]), "/v1/watch?prefix=k")
        watcher.next()
        for number in range(30):
            if number == 10:
                group.agents[leader].kill()
            wait_until(
                lambda number=number: state_ask(group, rest[1], "PUT", f"/v1/kv/k{number}?if_absent=true", b"").status in (200, 412),
                "the write",
                BOUND_S,
            )
        assert [watcher.next()[2]["key"] for _ in range(30)] == [f"k{number}" for number in range(30)]
        watcher.close()
        group.start(leader)
        group.wait_for_applied(group.status(rest[0])["commit"])
        again = EventReader(state_client(group, leader), "/v1/watch?prefix=k&after=0")
        again.next()
        assert [again.next()[2]["key"] for _ in range(30)] == [f"k{number}" for number in range(30)]
        again.close()


def test_an_agent_without_a_copy_of_the_state_gives_the_same_answers() -> None:
    with Group("a", "b", founders=("a",), own={"b": {"role": "client", "data": None}}, consensus={"voters": 1}) as group:
        group.leader("a")
        wait_until(lambda: state_ask(group, "b", "PUT", "/v1/kv/k", b"v").status == 200, "its way to the leader", BOUND_S)
        assert state_ask(group, "b", "GET", "/v1/kv/k").body == b"v"
        assert state_json(group, "b", "GET", "/v1/kv?prefix=k") == state_json(group, "a", "GET", "/v1/kv?prefix=k")
        watcher = EventReader(state_client(group, "b"), "/v1/watch?after=0")
        watcher.next()
        assert watcher.next()[2]["key"] == "k"
        watcher.close()
        held = state_json(group, "a", "POST", "/v1/locks/l", {"ttl": "30s"})
        waiting = state_client(group, "b").send(request("POST", "/v1/locks/l", {"ttl": "30s", "wait": "20s"}))
        wait_until(lambda: state_json(group, "a", "GET", "/v1/locks/l")["waiting"] == 1, "the waiter")
        state_json(group, "a", "DELETE", "/v1/locks/l", {"lease": held["lease"]})
        assert json.loads(waiting.reply().body)["token"] > held["token"]
        waiting.close()
