"""Groups of real agents: they begin, lose and find leaders, come back from their logs, grow, and replace who is gone."""

import pytest

from tests.harness.consensus import BOUND_S, Group
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


def test_three_agents_found_a_group_and_survive_the_kill_of_its_leader() -> None:
    with Group("a", "b", "c") as group:
        first = group.leader()
        assert {group.status(name)["group_id"] for name in "abc"} == {group.status("a")["group_id"]}
        term = group.status(first)["term"]
        group.agents[first].kill()
        rest = [name for name in "abc" if name != first]
        second = group.leader(*rest)
        assert group.status(second)["term"] > term
        group.start(first)
        assert group.leader() == second
        assert group.status(first)["role"] == "voter"
        group.wait_for_applied(group.status(second)["commit"])


def test_all_of_them_come_back_from_their_logs() -> None:
    with Group("a", "b", "c") as group:
        group.leader()
        ids = {name: group.status(name)["member"] for name in "abc"}
        group_id = group.status("a")["group_id"]
        commit = max(group.status(name)["commit"] for name in "abc")
        for name in "abc":
            group.agents[name].kill()
        for name in "abc":
            group.start(name)
        leader = group.leader()
        assert {name: group.status(name)["member"] for name in "abc"} == ids
        assert group.status(leader)["group_id"] == group_id
        assert group.status(leader)["commit"] >= commit


def test_an_agent_whose_disk_is_empty_comes_back_as_another_member_and_votes_again() -> None:
    with Group("a", "b", "c") as group:
        leader = group.leader()
        lost = next(name for name in "abc" if name != leader)
        before = group.status(lost)["member"]
        group.agents[lost].kill()
        group.wipe(lost)
        group.start(lost)
        wait_until(lambda: group.status(lost)["member"] not in (0, before) and group.status(lost)["role"] == "voter", f"{lost}", BOUND_S)
        group.wait_for_voters("a", "b", "c")
        ids = {row["id"] for row in group.status(group.leader())["members"]}
        assert before not in ids and len(ids) == 3


def test_one_becomes_three_and_three_five() -> None:
    with Group("a", founders=("a",), consensus={"voters": 5}) as group:
        assert group.leader() == "a"
        for name in "bcde":
            group.hosts[name] = group.hosts["a"].rpartition(".")[0] + f".{100 + ord(name)}"
            group.start(name)
        group.wait_for_voters("a", "b", "c", "d", "e")
        assert {group.status(name)["group_id"] for name in "abcde"} == {group.status("a")["group_id"]}


def test_a_voter_that_does_not_come_back_is_replaced_by_a_spare() -> None:
    with Group("a", "b", "c", "d", founders=("a", "b", "c"), consensus={"learners": 1}) as group:
        leader = group.leader()
        wait_until(lambda: group.status("d")["role"] == "learner", "the spare to hold the state", BOUND_S)
        gone = next(name for name in "abc" if name != leader)
        group.agents[gone].kill()
        group.wait_for_voters(*({"a", "b", "c", "d"} - {gone}))


def test_agents_in_memory_come_back_as_new_members() -> None:
    with Group("a", "b", "c", consensus={"data": None, "memory": True}) as group:
        leader = group.leader()
        lost = next(name for name in "abc" if name != leader)
        before = group.status(lost)["member"]
        group.agents[lost].kill()
        group.start(lost)
        wait_until(lambda: group.status(lost)["member"] not in (0, before) and group.status(lost)["role"] == "voter", f"{lost}", BOUND_S)
        group.wait_for_voters("a", "b", "c")
        # One that stops says goodbye before its log is gone.
        stopped = group.leader()
        assert group.agents[stopped].stop() == 0
        rest = [name for name in "abc" if name != stopped]
        group.leader(*rest)
        wait_until(lambda: stopped not in group.voters(group.leader()), "its place to be given up", BOUND_S)


def test_bootstrap_expect_founds_one_group_of_the_first_names() -> None:
    with Group("a", "b", "c", "d", founders=("none",), consensus={"bootstrap_expect": 3}) as group:
        leader = group.leader("a", "b", "c")
        wait_until(lambda: group.status("d")["group_id"] == group.status(leader)["group_id"], "d to find the group", BOUND_S)
        assert group.voters(leader) == {"a", "b", "c"}


def test_a_damaged_log_switches_consensus_off_and_nothing_else() -> None:
    with Group("a", "b", "c") as group:
        leader = group.leader()
        lost = next(name for name in "abc" if name != leader)
        group.agents[lost].kill()
        segment = sorted((group.folders / lost / "main" / "wal").glob("*.wal"))[0]
        content = bytearray(segment.read_bytes())
        content[40] ^= 0xFF
        segment.write_bytes(content)
        agent = group.start(lost)
        status = group.status(lost)
        wait_until(lambda: group.status(lost)["state"] == "off", "it to say so", BOUND_S)
        status = group.status(lost)
        assert "offset" in status["reason"] and "expected" in status["reason"]
        assert agent.get("/healthz")["status"] == "ok"
        assert group.leader(*(name for name in "abc" if name != lost))
