"""Real agents with the fast path: writes at voters that do not lead are answered before they are committed, and none is lost for it."""

import json
import threading
from collections.abc import Iterator

import pytest

from tests.harness.consensus import Client, Group
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


@pytest.fixture
def group() -> Iterator[Group]:
    with Group("a", "b", "c", consensus={"fast_path": True}) as group:
        group.leader()
        yield group


def put(client: Client, key: str, value: str) -> dict[str, object]:
    status, body, _ = client.call("PUT", f"/v1/kv/{key}", value.encode())
    assert status == 200, (status, body)
    found: dict[str, object] = json.loads(body)
    return found


def test_writes_at_a_voter_beside_the_leader_are_answered_before_they_are_committed_and_read_everywhere(group: Group) -> None:
    leader = group.leader()
    home = next(name for name in "abc" if name != leader)
    client = Client(group, home)
    # The first one opens the agent's session, which this member must have seen.
    put(client, "first", "1")
    answers = [put(client, f"k{number}", f"v{number}") for number in range(60)]
    early = [answer for answer in answers if not answer["revision"]]
    assert len(early) > 20, "no revision is known before a command has its place in the log"
    for name in "abc":
        assert [Client(group, name).get(f"k{number}") for number in range(60)] == [f"v{number}" for number in range(60)]
    # Conditions are decided in the log's order, and so is what touches the same key at once.
    status, body, _ = client.call("PUT", "/v1/kv/k1?if_absent=true", b"x")
    assert status == 412, body
    for number in range(20):
        put(client, "same", str(number))
    assert Client(group, leader).get("same") == "19"


def test_nothing_that_was_answered_early_is_lost_when_the_leader_is_killed(group: Group) -> None:
    for round_number in range(2):
        leader = group.leader()
        home = next(name for name in sorted(group.running) if name != leader)
        client = Client(group, home)
        put(client, "begin", str(round_number))
        answered: list[str] = []
        stop = threading.Event()

        def write(client: Client = client, answered: list[str] = answered, stop: threading.Event = stop, at: int = round_number) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                key = f"r{at}-{number}"
                status, _, _ = client.call("PUT", f"/v1/kv/{key}", key.encode())
                if status == 200:
                    answered.append(key)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        wait_until(lambda answered=answered: len(answered) >= 100, "a hundred answers")
        before = len(answered)
        group.agents[leader].kill()
        wait_until(lambda answered=answered, before=before: len(answered) >= before + 20, "answers under another leader")
        stop.set()
        writer.join(30)
        group.start(leader)
        group.leader()
        for name in "abc":
            reader = Client(group, name)
            assert [reader.get(key) for key in answered[before - 60 : before + 5]] == answered[before - 60 : before + 5]
