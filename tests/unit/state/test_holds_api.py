"""Leases, locks, elections, counters and barriers over HTTP."""

import json
from collections.abc import Callable
from typing import Any

from tests.harness.client import RawClient
from tests.harness.state_rig import StateRig, request, state_rig
from tests.harness.wait import wait_until
from tests.unit.state.test_watch_api import Watcher


def lease(rig: StateRig, ttl: str = "60s") -> int:
    granted = rig.json("POST", "/v1/leases", {"ttl": ttl}, status=201)["lease"]
    assert isinstance(granted, int)
    return granted


def waiting(rig: StateRig, count: int) -> None:
    wait_until(lambda: rig.run(lambda: len(rig.api.waits)) == count, f"{count} that wait")


def begun(rig: StateRig, method: str, target: str, body: dict[str, Any]) -> RawClient:
    """A request whose answer is not waited for."""
    return rig.client().send(request(method, target, body))


def answer(client: RawClient, status: int = 200) -> Any:
    reply = client.reply()
    assert reply.status == status, reply.body
    client.close()
    return json.loads(reply.body)


def test_leases(rig: StateRig) -> None:
    one = lease(rig, "30s")
    rig.ask("PUT", f"/v1/kv/b?lease={one}", b"")
    rig.ask("PUT", f"/v1/kv/a?lease={one}", b"")
    told = rig.json("GET", f"/v1/leases/{one}")
    assert told["ttl_s"] == 30 and 29 < told["left_s"] <= 30 and told["keys"] == [{"key": "a"}, {"key": "b"}]
    rig.run(lambda: rig.service.pass_time(20))
    assert rig.json("POST", f"/v1/leases/{one}/keepalive") == {"ttl_s": 30}
    rig.run(lambda: rig.service.pass_time(20))
    assert rig.json("GET", f"/v1/leases/{one}")["left_s"] <= 30
    two = lease(rig)
    listed = rig.json("GET", f"/v1/leases?after={one - 1}")
    assert [row["lease"] for row in listed["leases"]][-2:] == [one, two] and listed["more"] is False
    assert rig.json("DELETE", f"/v1/leases/{one}") == {"revoked": True, "deleted": 2, "revision": 3}
    for method, target in (("GET", f"/v1/leases/{one}"), ("DELETE", f"/v1/leases/{one}"), ("POST", f"/v1/leases/{one}/keepalive")):
        assert rig.json(method, target, status=404)["error"] == "lease_not_found"
    for wrong in ({"ttl": "1us"}, {"ttl": "90d"}, {"ttl": True}, {"ttl": []}, {"id": 5}):
        assert rig.json("POST", "/v1/leases", wrong, status=400)["error"] == "bad_request"
    assert rig.ask("GET", "/v1/leases/x").status == 400


def test_a_lock_is_held_by_one(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    held = rig.json("POST", "/v1/locks/job%2F1", {"lease": one, "owner": "me", "value": "host-1"})
    assert held == {"name": "job/1", "lease": one, "owner": "me", "token": 1, "value": "host-1"}
    assert rig.json("POST", "/v1/locks/job%2F1", {"lease": one, "owner": "me"})["token"] == 1, "again"
    refused = rig.json("POST", "/v1/locks/job%2F1", {"lease": two}, status=409)
    assert refused["error"] == "locked" and refused["applied"] == "no"
    assert refused["holder"] == {"lease": one, "owner": "me", "token": 1, "value": "host-1"}
    assert rig.json("DELETE", "/v1/locks/job%2F1", {"lease": two}, status=409)["error"] == "not_owner"
    told = rig.json("GET", "/v1/locks/job%2F1")
    assert told["holder"]["token"] == 1 and told["waiters"] == [] and told["waiting"] == 0
    assert rig.json("DELETE", "/v1/locks/job%2F1?token=1") == {"released": True, "held": True}
    assert rig.json("DELETE", "/v1/locks/job%2F1?token=1", status=404)["error"] == "not_found"
    assert rig.json("GET", "/v1/locks/job%2F1")["holder"] is None
    assert rig.json("POST", "/v1/locks/job%2F1", {"lease": two})["token"] == 2
    for body in ({}, {"lease": one, "ttl": "5s"}, {"lease": -1}, {"ttl": "5s", "wait": "9h"}):
        assert rig.json("POST", "/v1/locks/x", body, status=400)["error"] == "bad_request"
    assert rig.json("POST", "/v1/locks/x", {"lease": 999}, status=404)["error"] == "lease_not_found"
    assert rig.ask("DELETE", "/v1/locks/x").status == 400


def test_those_who_wait_get_the_lock_in_turn(rig: StateRig) -> None:
    one, two, three = lease(rig), lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    second = begun(rig, "POST", "/v1/locks/l", {"lease": two, "wait": "30s", "value": "two"})
    waiting(rig, 1)
    third = begun(rig, "POST", "/v1/locks/l", {"lease": three, "wait": "30s"})
    waiting(rig, 2)
    assert rig.json("GET", "/v1/locks/l")["waiters"] == [{"lease": two, "owner": ""}, {"lease": three, "owner": ""}]
    rig.json("DELETE", f"/v1/locks/l?lease={one}")
    told = answer(second)
    assert (told["token"], told["value"]) == (2, "two")
    rig.json("DELETE", f"/v1/leases/{two}")
    assert answer(third)["token"] == 3


def test_a_wait_that_is_over_gives_its_place_up(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    late = rig.json("POST", "/v1/locks/l", {"lease": two, "wait": "50ms"}, status=409)
    assert late["error"] == "locked" and late["holder"]["lease"] == one and late["applied"] == "no"
    assert rig.json("GET", "/v1/locks/l")["waiting"] == 0


def test_one_whose_connection_breaks_no_longer_waits(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    leaving: list[Callable[[RawClient], None]] = [RawClient.close, RawClient.reset]
    for leave in leaving:
        client = begun(rig, "POST", "/v1/locks/l", {"lease": two, "wait": "30s"})
        waiting(rig, 1)
        leave(client)
        wait_until(lambda: rig.json("GET", "/v1/locks/l")["waiting"] == 0, "its place given up")
        waiting(rig, 0)


def test_one_whose_connection_breaks_before_it_waits_does_not_come_to_wait(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    rig.run(rig.service.hold)
    client = begun(rig, "POST", "/v1/locks/l", {"lease": two, "wait": "30s"})
    wait_until(lambda: rig.run(lambda: len(rig.service._commands)) == 1, "the command")
    client.reset()
    wait_until(lambda: rig.run(lambda: len(rig.api.connections)) == 0, "the connection's end")
    rig.run(rig.service.release)
    wait_until(lambda: rig.json("GET", "/v1/locks/l")["waiting"] == 0, "its place given up")
    assert rig.json("GET", "/v1/locks/l")["holder"]["lease"] == one


def test_a_lease_that_ends_ends_the_wait(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    client = begun(rig, "POST", "/v1/locks/l", {"lease": two, "wait": "30s"})
    waiting(rig, 1)
    rig.json("DELETE", f"/v1/leases/{two}")
    assert answer(client, 404)["error"] == "lease_not_found"


def test_a_wait_goes_on_over_a_snapshot(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    rig.json("POST", "/v1/locks/l", {"lease": one})
    client = begun(rig, "POST", "/v1/locks/l", {"lease": two, "wait": "30s"})
    waiting(rig, 1)
    rig.run(lambda: rig.service.restore(list(rig.machine.snapshot())))
    rig.json("DELETE", f"/v1/locks/l?lease={one}")
    assert answer(client)["lease"] == two


def test_a_session_holds_without_saying_so_and_a_lock_can_make_its_lease(rig: StateRig) -> None:
    session = rig.json("POST", "/v1/sessions", {}, status=201)["session"]
    lines = [f"Pilotfish-Session: {session}", "Pilotfish-Request: 1"]
    assert rig.json("POST", "/v1/locks/l", {}, *lines)["lease"] == session
    made = rig.json("POST", "/v1/locks/m", {"ttl": "5s"})
    assert rig.json("GET", f"/v1/leases/{made['lease']}")["ttl_s"] == 5
    rig.run(lambda: rig.service.pass_time(5))
    wait_until(lambda: rig.json("GET", "/v1/locks/m")["holder"] is None, "the end of the lock")


def test_an_election(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    watcher = Watcher(rig, "/v1/elections/e/observe")
    assert watcher.next() == ("", "leader", {"name": "e", "leader": None, "candidates": 0})
    leader = rig.json("POST", "/v1/elections/e", {"lease": one, "value": "10.0.0.1"})
    assert leader == {"name": "e", "lease": one, "owner": "", "token": 1, "value": "10.0.0.1"}
    assert watcher.next()[2]["leader"] == {"lease": one, "owner": "", "token": 1, "value": "10.0.0.1"}
    queued = rig.json("POST", "/v1/elections/e", {"lease": two, "value": "10.0.0.2"}, status=202)
    assert (queued["queued"], queued["position"], queued["leader"]["lease"]) == (True, 1, one)
    assert watcher.next()[2]["candidates"] == 1
    rig.json("PUT", "/v1/elections/e", {"lease": one, "value": "10.0.0.3"})
    assert watcher.next()[2]["leader"]["value"] == "10.0.0.3"
    assert rig.json("PUT", "/v1/elections/e", {"lease": two, "value": "x"}, status=409)["error"] == "not_owner"
    client = begun(rig, "POST", "/v1/elections/e", {"lease": two, "value": "10.0.0.4", "wait": "30s"})
    waiting(rig, 2)
    assert rig.json("DELETE", "/v1/elections/e", {"lease": one}) == {"resigned": True, "led": True}
    assert answer(client)["value"] == "10.0.0.4"
    told = watcher.next()[2]
    while told["leader"]["lease"] != two:
        told = watcher.next()[2]
    assert rig.json("GET", "/v1/elections/e") == {**told, "candidates": 0}
    assert rig.json("DELETE", f"/v1/elections/e?lease={two}") == {"resigned": True, "led": True}
    while told["leader"] is not None:
        told = watcher.next()[2]
    watcher.close()
    waiting(rig, 0)


def test_counters(rig: StateRig) -> None:
    assert rig.json("POST", "/v1/counters/c") == {"value": 1}
    assert rig.json("POST", "/v1/counters/c?add=-5") == {"value": -4}
    assert rig.json("POST", "/v1/counters/c", {"add": 10, "value": False}) == {}
    assert rig.json("POST", "/v1/counters/c?value=false") == {}
    assert rig.json("GET", "/v1/counters/c") == {"name": "c", "value": 7}
    assert rig.json("DELETE", "/v1/counters/c") == {"deleted": True, "value": 7}
    assert rig.json("DELETE", "/v1/counters/c") == {"deleted": False, "value": 0}
    assert rig.json("GET", "/v1/counters/c") == {"name": "c", "value": 0}
    assert rig.json("POST", "/v1/counters/c", {"add": 2**63 - 1}) == {"value": 2**63 - 1}
    assert rig.json("POST", "/v1/counters/c") == {"value": -(2**63)}, "it wraps"
    for target, body in (("/v1/counters/c?add=x", None), ("/v1/counters/c", {"add": 2**63}), ("/v1/counters/c", {"add": "1"})):
        assert rig.json("POST", target, body, status=400)["error"] == "bad_request"


def test_a_barrier(rig: StateRig) -> None:
    one, two = lease(rig), lease(rig)
    first = begun(rig, "POST", "/v1/barriers/b/enter", {"lease": one, "parties": 2, "wait": "30s"})
    waiting(rig, 1)
    told = rig.json("GET", "/v1/barriers/b")
    assert (told["state"], told["parties"], told["inside"]) == ("filling", 2, [{"lease": one, "owner": ""}])
    assert rig.json("POST", "/v1/barriers/b/enter", {"lease": two, "parties": 3}, status=409)["error"] == "conflict"
    assert rig.json("POST", "/v1/barriers/b/enter", {"lease": two, "parties": 2}) == {"entered": True, "generation": 1, "lease": two}
    assert answer(first) == {"entered": True, "generation": 1, "lease": one}
    assert rig.json("GET", "/v1/barriers/b")["state"] == "open"
    leaving = begun(rig, "POST", "/v1/barriers/b/leave", {"lease": one, "wait": "30s"})
    waiting(rig, 1)
    assert rig.json("GET", "/v1/barriers/b")["state"] == "draining"
    assert rig.json("POST", "/v1/barriers/b/leave", {"lease": two}) == {"left": True}
    assert answer(leaving) == {"left": True}
    assert rig.json("GET", "/v1/barriers/b")["state"] == "none"
    assert rig.json("POST", "/v1/barriers/b/leave", {"lease": two}, status=404)["error"] == "not_found"
    assert rig.json("POST", "/v1/barriers/b/enter", {"lease": two}, status=400)["error"] == "bad_request"


def test_a_barrier_that_does_not_fill_lets_go(rig: StateRig) -> None:
    one = lease(rig)
    for wait in ("50ms", 0):
        late = rig.json("POST", "/v1/barriers/b/enter", {"lease": one, "parties": 2, "wait": wait}, status=409)
        assert late["error"] == "waiting"
        assert rig.json("GET", "/v1/barriers/b")["state"] == "none"
    client = begun(rig, "POST", "/v1/barriers/b/enter", {"lease": one, "parties": 2})
    waiting(rig, 1)
    client.close()
    wait_until(lambda: rig.json("GET", "/v1/barriers/b")["state"] == "none", "its place given up")


def test_where_too_many_wait_the_next_is_told(rig: StateRig) -> None:
    import agent.state.waits as waits

    with state_rig() as small:
        one, two = lease(small), lease(small)
        small.json("POST", "/v1/locks/l", {"lease": one})
        small.run(lambda: setattr(small.api.waits, "_count", waits.WAITS_MAX))
        assert small.json("POST", "/v1/locks/l", {"lease": two, "wait": "5s"}, status=429)["error"] == "busy"
        wait_until(lambda: small.json("GET", "/v1/locks/l")["waiting"] == 0, "its place given up")
