"""A purge or an unsafe request on one agent reaches the stores of all; one may wait for all to have it."""

import signal
from typing import Any

import pytest

from agent.admin.catalogue import CATALOGUE, sample_names
from tests.harness.apps import Fleet
from tests.harness.wait import wait_until

CACHED: dict[str, Any] = {"cache": {"enabled": True}}
ALL = ("a", "b", "c")


@pytest.fixture(scope="module")
def fleet() -> Any:
    with Fleet(*ALL, alone=("b", "c"), service=CACHED) as fleet:
        fleet.wait_for_endpoints("a")
        fleet.wait_for(list(ALL), a="alive", b="alive", c="alive")
        yield fleet


def fill(fleet: Fleet, target: str) -> None:
    for name in ALL:
        fleet.ask(name, target)
        assert "hit" in fleet.ask(name, target)[2], name


def holds(fleet: Fleet, name: str, target: str) -> bool:
    return any(row["target"] == target for row in fleet.agents[name].get("/cache?list=1&prefix=" + target)["listing"])


def gone_everywhere(fleet: Fleet, target: str) -> None:
    wait_until(lambda: not any(holds(fleet, name, target) for name in ALL), f"{target} to be gone everywhere")


@pytest.mark.parametrize(
    "wish",
    [{"url": "http://web/k/x"}, {"prefix": "http://web/k"}, {"host": "WEB"}, {"tag": "all-of-it"}, {"service": "web"}, {"all": True}],
)
def test_a_purge_on_one_agent_empties_all_and_says_who_has_it(fleet: Fleet, wish: dict[str, Any]) -> None:
    fill(fleet, "/k/x")
    answer = fleet.agents["b"].post("/cache/purge", {**wish, "wait": "10s"})
    assert (answer["purged"], answer["acked"], answer["of"], answer["missing"]) == (1, 3, 3, [])
    assert not any(holds(fleet, name, "/k/x") for name in ALL)  # acknowledged is applied: nothing to wait for
    later = fleet.agents["c"].post("/cache/purge", {**wish, "wait": "10s", "after": answer["context"]})
    assert (later["acked"], later["early"]) == (3, [])


def test_a_soft_purge_is_validated_before_the_next_use_everywhere(fleet: Fleet) -> None:
    fill(fleet, "/soft")
    fleet.agents["a"].post("/cache/purge", {"url": "http://web/soft", "soft": True, "wait": "10s"})
    for name in ALL:
        assert "fwd=stale" in fleet.ask(name, "/soft")[2]


def test_a_purge_may_stay_at_home(fleet: Fleet) -> None:
    fill(fleet, "/home")
    answer = fleet.agents["a"].post("/cache/purge", {"url": "http://web/home", "cluster": False})
    assert answer == {"purged": 1, "soft": False}
    fleet.agents["a"].post("/cache/purge", {"url": "http://web/other", "wait": "10s"})  # one after it has been everywhere
    assert [holds(fleet, name, "/home") for name in ALL] == [False, True, True]


def test_an_unsafe_request_through_one_agent_invalidates_on_all(fleet: Fleet) -> None:
    fill(fleet, "/thing")
    assert fleet.ask("b", "/thing", "PUT", "Content-Length: 0")[0] == 200
    gone_everywhere(fleet, "/thing")
    assert fleet.agents["b"].metric("pilotfish_mesh_invalidations_sent_total", kind="url") >= 1
    assert fleet.agents["c"].metric("pilotfish_mesh_invalidations_received_total", kind="url") >= 1


def test_what_is_no_context_or_too_long_is_refused(fleet: Fleet) -> None:
    status, body = fleet.agents["a"].call("/cache/purge", {"all": True, "wait": "1s", "after": "?"}, "POST")
    assert (status, b"not a context" in body) == (400, True)
    status, body = fleet.agents["a"].call("/cache/purge", {"tag": "x" * 2000}, "POST")
    assert (status, b"cannot be told" in body) == (400, True)


def test_who_does_not_answer_is_missing_and_repaired_when_it_does(fleet: Fleet) -> None:
    fill(fleet, "/missed")
    fleet.agents["c"].signal(signal.SIGSTOP)
    try:
        answer = fleet.agents["a"].post("/cache/purge", {"url": "http://web/missed", "wait": "300ms"})
    finally:
        fleet.agents["c"].signal(signal.SIGCONT)
    assert (answer["acked"], answer["of"], answer["missing"]) == (2, 3, ["c"])
    gone_everywhere(fleet, "/missed")
    fleet.wait_for(list(ALL), a="alive", b="alive", c="alive")


def test_an_application_reports_its_load_and_members_see_it(fleet: Fleet) -> None:
    assert fleet.agents["a"].post("/load", {"ai": 0.9, "queue": 7, "ttl": "1m"}) == {"taken": True, "ttl_s": 60.0}
    wait_until(lambda: (fleet.row("b", "a")["load"] or {}).get("ai", 0.0) > 0.7, "b to see the load of a")
    for bad in ({"ai": 2}, {"queue": -1}, {}, {"ai": 0.5, "gpu": 1}, {"ai": 0.5, "ttl": "never"}):
        assert fleet.agents["a"].call("/load", bad, "POST")[0] == 400, bad


def test_every_metric_of_the_mesh_that_is_described_is_there(fleet: Fleet) -> None:
    told = fleet.agents["a"].call("/metrics")[1].decode()
    for name in CATALOGUE:
        if name.startswith("pilotfish_mesh_"):
            assert all(f"\n{sample}" in told for sample in sample_names(name)), name


def test_an_origin_that_is_gone_leaves_the_vectors_and_contexts_that_name_it_still_count() -> None:
    with Fleet("a", "b", "c", service={"cache": {"enabled": True}}) as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        wish = {"tag": "all-of-it", "wait": "10s"}
        contexts = [fleet.agents[name].post("/cache/purge", wish)["context"] for name in ("a", "b", "c")]
        assert all(fleet.agents[name].metric("pilotfish_cluster_origins") == 3 for name in ("a", "b"))
        fleet.kill_pod("c")

        def pruned() -> bool:
            return all(fleet.agents[name].metric("pilotfish_cluster_origins") == 2 for name in ("a", "b"))

        wait_until(pruned, "c to leave the vectors", 60.0)
        answer = fleet.agents["b"].post("/cache/purge", {**wish, "after": contexts[2]})
        assert (answer["acked"], answer["of"], answer["early"]) == (2, 2, [])
        assert pruned()
        assert all(fleet.agents[name].metric("pilotfish_mesh_stale_marks_total") <= 1 for name in ("a", "b"))  # of joining
