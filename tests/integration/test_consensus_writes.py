"""Commands and reads of real agents: from any of them, through the kill of the leader, restarts and partitions."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.harness.consensus import BOUND_S, CONSENSUS_PORT, Client, Group
from tests.harness.network import own_network, run
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


@pytest.fixture
def group() -> Iterator[Group]:
    with Group("a", "b", "c") as group:
        group.leader()
        yield group


def test_what_one_agent_writes_every_other_reads_and_after_a_kill_of_all_of_them_too(group: Group) -> None:
    for name in "abc":
        assert Client(group, name).put(f"from-{name}", name) == 200
    for by in "abc":
        for name in "abc":
            assert Client(group, by).get(f"from-{name}") == name
            assert Client(group, by).get(f"from-{name}", "?consistency=lease") == name
    for name in "abc":
        group.agents[name].kill()
    for name in "abc":
        group.start(name)
    group.leader()
    assert [Client(group, "b").get(f"from-{name}") for name in "abc"] == ["a", "b", "c"]


def test_nothing_that_was_acknowledged_is_lost_when_leaders_are_killed_and_nothing_is_counted_twice(group: Group) -> None:
    """Writers at every agent while the leader of the moment is killed three times; each counts up a counter of its own."""
    acknowledged: dict[str, int] = dict.fromkeys("abc", 0)
    unknown: dict[str, int] = dict.fromkeys("abc", 0)
    stop = threading.Event()

    def write(name: str) -> None:
        while not stop.is_set():
            try:
                status, _, _ = Client(group, name).call("POST", f"/v1/counters/of-{name}", b'{"add": 1}', Content_Type="application/json")
            except OSError:
                status = 0
            if status == 200:
                acknowledged[name] += 1
            elif status in (0, 503, 504):
                unknown[name] += 1
                time.sleep(0.02)
            else:
                raise AssertionError(status)

    writers = [threading.Thread(target=write, args=(name,), daemon=True) for name in "abc"]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3):
            leader = group.leader()
            seen = sum(acknowledged.values())
            wait_until(lambda seen=seen: sum(acknowledged.values()) > seen + 20, "writes to go on", BOUND_S)
            group.agents[leader].kill()
            rest = [name for name in "abc" if name != leader]
            group.leader(*rest)
            seen = sum(acknowledged.values())
            wait_until(lambda seen=seen: sum(acknowledged.values()) > seen + 20, "writes to go on without it", BOUND_S)
            group.start(leader)
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    group.leader()
    for name in "abc":
        status, body, _ = Client(group, "a").call("GET", f"/v1/counters/of-{name}")
        assert status == 200
        value = json.loads(body)["value"]
        assert acknowledged[name] <= value <= acknowledged[name] + unknown[name], (name, acknowledged, unknown, value)


def test_a_rolling_restart_fails_no_write(group: Group) -> None:
    """Clients that do as they are told: one whose agent is restarted goes to another, the same request under the same idempotency key."""
    failed: list[tuple[int, bytes]] = []
    done = [0]
    stop = threading.Event()

    def write(number: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            end_at = time.monotonic() + 20.0
            while True:
                answer: tuple[int, bytes] = (0, b"")
                for name in "abc":
                    try:
                        status, body, _ = Client(group, name).call(
                            "PUT", f"/v1/kv/w{number}-{at}", b"%d" % at, limit_s=10.0, Idempotency_Key=f"{number}-{at}"
                        )
                    except OSError:
                        continue
                    answer = (status, body)
                    if status == 200:
                        break
                if answer[0] == 200:
                    done[0] += 1
                    break
                if time.monotonic() > end_at:
                    failed.append(answer)
                    return

    writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        for name in "abc":
            before = done[0]
            wait_until(lambda before=before: done[0] > before + 20, "writes", BOUND_S)
            assert group.agents[name].stop() == 0
            group.start(name)
            group.leader()
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    assert not failed


def test_a_client_agent_writes_through_the_voters() -> None:
    with Group("a", "b", "c", "d", founders=("a", "b", "c"), own={"d": {"role": "client", "data": None}}) as group:
        group.leader("a", "b", "c")
        wait_until(lambda: group.status("d")["leader_name"], "the client to know who leads", BOUND_S)
        assert Client(group, "d").put("by-a-client", "1") == 200
        assert Client(group, "a").get("by-a-client") == "1"
        assert group.agents["d"].metric("pilotfish_consensus_proposals_total", way="forwarded") >= 1


def test_without_a_majority_nothing_is_acknowledged_requests_end_and_the_proxy_goes_on(group: Group) -> None:
    leader = group.leader()
    assert Client(group, leader).put("before", "1") == 200
    for name in "abc":
        if name != leader:
            group.agents[name].kill()
    status = Client(group, leader).call("PUT", "/v1/kv/alone?timeout=1s", b"x")[0]
    assert status in (503, 504)
    assert Client(group, leader).get("before", "?consistency=stale&max_staleness=1h") == "1"
    assert Client(group, leader).call("GET", "/v1/kv/before?timeout=1s")[0] in (503, 504)
    agent = group.agents[leader]
    assert agent.get("/readyz")["ready"]
    wait_until(lambda: group.status(leader)["leader_name"] == "", "it to know that it leads nobody", BOUND_S)


def test_snapshots_let_the_log_go_and_bring_a_late_member_up() -> None:
    """The log is far behind a snapshot when the third comes back without its disk."""
    with Group("a", "b", "c", consensus={"snapshots": {"entries": 200, "size": "64KiB"}}) as group:
        leader = group.leader()
        lost = next(name for name in "abc" if name != leader)
        group.agents[lost].kill()
        group.wipe(lost)
        client = Client(group, leader)
        for number in range(300):
            assert client.put(f"k{number}", "x" * 500) == 200
        wait_until(lambda: group.status(leader)["snapshot_index"] > 200, "a snapshot", BOUND_S)
        group.start(lost)
        group.wait_for_voters("a", "b", "c")
        group.wait_for_applied(group.status(leader)["commit"], lost)
        assert Client(group, lost).get("k299", "?consistency=stale&max_staleness=1h") == "x" * 500


def test_a_leader_that_is_cut_off_gives_way_and_comes_back_as_a_follower() -> None:
    """Packets between it and the others are dropped; its own clients hear that nothing came of their commands."""
    with own_network(), Group("a", "b", "c") as group:
        leader = group.leader()
        assert Client(group, leader).put("before", "1") == 200
        run("nft", "add", "table", "inet", "cut")
        run("nft", "add", "chain", "inet", "cut", "in", "{ type filter hook input priority 0; }")
        host = group.hosts[leader]
        others = [name for name in "abc" if name != leader]
        for other in others:
            # What they say to each other goes from any address of loopback to the place of a member.
            for one, two in ((host, group.hosts[other]), (group.hosts[other], host)):
                run("nft", "add", "rule", "inet", "cut", "in", "ip", "saddr", one, "ip", "daddr", two, "drop")
        run("nft", "add", "rule", "inet", "cut", "in", "ip", "daddr", host, "tcp", "dport", str(CONSENSUS_PORT), "drop")
        run("nft", "add", "rule", "inet", "cut", "in", "ip", "saddr", host, "tcp", "sport", str(CONSENSUS_PORT), "drop")
        second = group.leader(*others)
        assert Client(group, second).put("meanwhile", "2") == 200
        assert Client(group, leader).call("PUT", "/v1/kv/lost?timeout=1s", b"x")[0] in (503, 504)
        run("nft", "delete", "table", "inet", "cut")
        wait_until(lambda: group.status(leader)["leader_name"] == group.status(second)["leader_name"] != "", "it to follow", BOUND_S)
        assert Client(group, leader).get("meanwhile") == "2"
        assert Client(group, leader).get("before") == "1"
