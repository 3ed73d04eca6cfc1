"""Histories of a group of real agents, asked by concurrent clients at all of them, while processes are killed and stopped, links are cut,
disks fill up and clocks jump: linearizable by key, counted once, and nothing acknowledged is lost (docs/consensus-testing.md)."""

import contextlib
import http.client
import json
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent.sim.history.operation import load as load_history
from tests.harness.chamber import MISSING, Chamber, Storied, small_disks
from tests.harness.consensus import TIMING
from tests.harness.load import Load
from tests.harness.store import Refused, StoreClient, Unknown
from tests.harness.wait import wait_until

COMPILER = shutil.which("cc") or shutil.which("gcc") or ""
T = TypeVar("T")
needs_root = pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def judged(load: Load, tmp_path: Path) -> None:
    wrong = load.judge()
    load.keep(tmp_path / "history")
    assert not wrong, f"{wrong}\nhistory: {tmp_path / 'history'}"
    # What was judged is worth something: most was answered, and by each kind of client.
    operations = load_history((tmp_path / "history").read_text())
    for name in ("read", "write", "cas", "mark", "add"):
        assert sum(one.known for one in operations if one.name == name) > 10, (name, load.why.most_common(5))


@pytest.mark.parametrize("fast", [False, True], ids=["ordered", "fast path"])
def test_agents_killed_one_by_one_and_all_at_once(fast: bool, tmp_path: Path) -> None:
    # Snapshots are taken all the time, so that agents also die while they take one, and begin from one.
    with Storied("a", "b", "c", consensus={"snapshots": {"entries": 100}, "fast_path": fast}) as group:
        group.leader()
        with Load(group.places, 1) as load:
            load.more(100)
            leader = group.leader()
            group.kill(leader)
            load.more(100)
            group.start(leader)
            follower = next(name for name in group.hosts if name != group.leader("a", "b", "c"))
            group.kill(follower)
            load.more(100)
            group.start(follower)
            load.more(100)
            group.kill("a", "b", "c")
            for name in group.hosts:
                group.start(name)
            load.more(100)
        judged(load, tmp_path)


def test_a_leader_that_is_stopped_and_goes_on(tmp_path: Path) -> None:
    with Storied("a", "b", "c") as group:
        group.leader()
        with Load(group.places, 2) as load:
            load.more(100)
            for _ in range(2):
                old = group.leader("a", "b", "c")
                others = [name for name in group.hosts if name != old]
                group.pause(old)
                assert group.leader(*others) != old
                load.more(60)
                group.resume(old)
                group.leader("a", "b", "c")
                load.more(60)
        judged(load, tmp_path)


def wrong_with_what_waits_in_a_stopped_leader(group: Storied) -> list[str]:
    """Reads and an addition are sent to a leader that is stopped; the world goes on without it, and asks for the addition again."""
    old = group.leader()
    api = StoreClient(group.places[old])
    carried_out(lambda: api.put("k", "before"))
    session = carried_out(api.session)
    assert carried_out(lambda: api.add("c", 1, session, 1)) == 1
    assert [api.get("k", consistency) for consistency in ("lease", "linearizable")] == ["before", "before"]
    reads = [waiting(group, old, "GET", f"/v1/kv/k?consistency={consistency}") for consistency in ("lease", "linearizable")]
    headers = {"Pilotfish-Session": str(session), "Pilotfish-Request": "2"}
    addition = waiting(group, old, "POST", "/v1/counters/c?add=1", headers)
    group.pause(old)
    for send, _ in (*reads, addition):
        send()
    other = StoreClient(group.places[group.leader(*(name for name in group.hosts if name != old))])
    carried_out(lambda: other.put("k", "after"))
    again = carried_out(lambda: other.add("c", 1, session, 2))
    group.resume(old)
    found = [receive() for _, receive in reads]
    wrong = [f"stale: {answer}" for answer in found if answer != (200, b"after") and answer[0] not in (503, 504)]
    status, body = addition[1]()
    if status == 200 and json.loads(body)["value"] != again:
        wrong.append(f"counted twice: {body!r}, and before {again}")
    total = carried_out(lambda: other.total("c"))
    if total != 2:
        wrong.append(f"counted twice: {total} in all")
    return wrong


def waiting(
    group: Storied, name: str, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[Callable[[], None], Callable[[], tuple[int, bytes]]]:
    """A request on an open connection: how to send it, and how to get its answer."""
    connection = http.client.HTTPConnection(*group.places[name], timeout=30)
    connection.connect()
    mark = "&" if "?" in path else "?"

    def receive() -> tuple[int, bytes]:
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    return lambda: connection.request(method, f"{path}{mark}timeout=5s", headers=headers or {}), receive


def test_what_waits_in_a_stopped_leader_is_answered_rightly_when_it_goes_on() -> None:
    with Storied("a", "b", "c") as group:
        assert not wrong_with_what_waits_in_a_stopped_leader(group)


def broken(change: str) -> tuple[str, ...]:
    """What an agent's command line is handed to, so that it runs with this change: an agent that is wrong on purpose."""
    return (sys.executable, "-c", f"import sys\n{change}\nfrom agent.app.cli import main\nsys.exit(main(sys.argv[4:]))")


def test_a_build_that_forgets_what_sessions_asked_is_caught() -> None:
    group = Storied("a", "b", "c")
    change = "from agent.core.machine.sessions import Session\nSession.keep = lambda self, request, outcome, bytes_max: None"
    group.wrappers = dict.fromkeys(group.hosts, broken(change))
    with group:
        assert any("counted twice" in text for text in wrong_with_what_waits_in_a_stopped_leader(group))


def test_a_build_whose_reads_ask_nobody_is_caught() -> None:
    group = Storied("a", "b", "c")
    change = """
from agent.cluster.consensus.reader import Reader
def read(self, consistency, ready, timeout_s, max_staleness_s=0.0):
    host = self._host()
    self._loop.call_soon(ready, "" if host else "timeout", host.applier.index if host else 0)
Reader.read = read
"""
    group.wrappers = dict.fromkeys(group.hosts, broken(change))
    with group:
        leader = group.leader()
        behind, other = (name for name in group.hosts if name != leader)
        with Load(group.places, 7) as load:
            load.more(60)
            group.kill(behind)
            load.more(60)
            # What the one that was dead has missed, nobody can tell it now: it may not answer, and this one does.
            group.pause(leader)
            group.pause(other)
            group.start(behind)
            load.more(10)
            group.resume(leader)
            group.resume(other)
        assert "not linearizable as a" in load.judge()


@needs_root
def test_five_agents_cut_in_every_way(tmp_path: Path) -> None:
    with Chamber("a", "b", "c", "d", "e", consensus={"voters": 5}) as group:
        group.wait_for_voters(*group.hosts)
        with Load(group.places, 3) as load:
            load.more(100)
            leader = group.leader()
            rest = tuple(name for name in group.hosts if name != leader)
            # The leader alone; the leader with one; a leader that is heard and hears nobody; one that hears and is not heard.
            for cut in (
                [(leader,), rest],
                [(leader, rest[0]), rest[1:]],
            ):
                group.split(*cut)
                assert group.leader(*cut[1]) in cut[1]
                load.more(60)
                group.heal()
                load.more(30)
            for deaf in (True, False):
                leader = group.leader(*group.hosts)
                rest = tuple(name for name in group.hosts if name != leader)
                group.cut(*((name, leader) if deaf else (leader, name) for name in rest))
                load.more(60)
                group.heal()
                load.more(30)
        judged(load, tmp_path)


@needs_root
def test_two_that_do_not_hear_each_other_and_a_third_that_hears_both(tmp_path: Path) -> None:
    with Chamber("a", "b", "c") as group:
        group.leader()
        with Load(group.places, 4) as load:
            load.more(60)
            leader = group.leader("a", "b", "c")
            one, other = (name for name in group.hosts if name != leader)
            group.cut((leader, one), (one, leader))
            load.more(40)
            # The third hears both: the one that is cut off cannot take the lead from who has it, and again and again stand for election.
            terms = group.status(other)["term"]
            load.more(60)
            assert group.status(other)["term"] <= terms + 1, "one leader after the other"
            group.heal()
            load.more(60)
        judged(load, tmp_path)


@needs_root
def test_disks_that_are_full(tmp_path: Path) -> None:
    group = Storied("a", "b", "c")
    with small_disks(group.folders, ["a", "b", "c"], "48m"), group:
        leader = group.leader()
        with Load(group.places, 5) as load:
            load.more(100)
            client = StoreClient(group.places[leader])
            fill(group.folders / leader)
            # The log is written a megabyte ahead: until that is used up, a full disk takes writes.
            wait_until(lambda: refused(client) or group.leader(*group.hosts) != leader, "another to lead", 30.0)
            group.leader(*group.hosts)
            load.more(100)
            for name in group.hosts:
                fill(group.folders / name)
            wait_until(lambda: refused(client), "writes to be refused while every disk is full", 30.0)
            assert client.get("large") is not None, "reads are answered"
            for name in group.hosts:
                (group.folders / name / "ballast").unlink()
            load.more(150, 60.0)
        judged(load, tmp_path)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass


def refused(client: StoreClient) -> bool:
    try:
        client.put("large", "x" * 300_000)
    except (Refused, Unknown):
        return True
    return False


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
def test_wall_clocks_that_jump(tmp_path: Path) -> None:
    library = tmp_path / "wallclock.so"
    source = Path(__file__).with_name("wallclock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    # So long that a busy machine causes no election: if there is one, it is the clocks'.
    group = Storied("a", "b", "c", consensus={"timing": {**TIMING, "election": "4s"}})
    for name in group.hosts:
        jump(tmp_path, name, 0)
        group.wrappers[name] = ("env", f"LD_PRELOAD={library}", f"WALLCLOCK_OFFSET={tmp_path / name}")
    with group:
        leader = group.leader()
        follower = next(name for name in group.hosts if name != leader)
        client = StoreClient(group.places[follower])
        lock = carried_out(lambda: locked(client))
        with Load(group.places, 6) as load:
            load.more(60)
            for name, seconds in ((leader, 3600), (follower, -7200), (leader, -86_400), (leader, 400 * 86_400), (follower, 0)):
                jump(tmp_path, name, seconds)
                assert abs(time_of(group, name) - time.time() - seconds) < 60
                load.more(60)
            assert group.leader(*group.hosts) == leader, "no clock that jumps costs the lead"
            held = carried_out(lambda: client.call("GET", "/v1/locks/held")).json
            assert held["holder"]["token"] == lock["token"], "nor a lease"
        judged(load, tmp_path)


def jump(folder: Path, name: str, seconds: int) -> None:
    # Written in place: the agent has mapped it.
    with (folder / name).open("r+b" if (folder / name).exists() else "wb", buffering=0) as file:
        file.write(struct.pack("q", seconds))


def time_of(group: Storied, name: str) -> float:
    """The time of day, as the agent says it in its answers."""
    connection = http.client.HTTPConnection(*group.agents[name].admin, timeout=10)
    connection.request("GET", "/healthz")
    told = connection.getresponse().getheader("Date")
    connection.close()
    assert told is not None
    return parsedate_to_datetime(told).timestamp()


def locked(client: StoreClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.call("POST", "/v1/locks/held", b'{"ttl": "300s"}', {"Content-Type": "application/json"}).json
    return answer


def carried_out(ask: Callable[[], T]) -> T:
    """Until it is: what may be done twice, or is done once by its session."""
    found: list[T] = []

    def done() -> bool:
        try:
            found.append(ask())
        except (Refused, Unknown):
            return False
        return True

    wait_until(done, "it to be carried out", 30.0)
    return found[0]
