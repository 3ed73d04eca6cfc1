"""Maelstrom's messages, as doc/protocol.md and doc/workloads.md have them, by three nodes in one process and in simulated time."""

from typing import Any

import pytest

from agent.app.maelstrom.node import ANSWER_S, Node

NAMES = ["n1", "n2", "n3"]
MISSING = object()


class Cluster:
    def __init__(self) -> None:
        self.now = 100.0
        self.answers: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.cut: set[str] = set()
        self.nodes = {name: Node(self.queue.append, lambda: self.now) for name in NAMES}
        self.number = 0
        for name in NAMES:
            assert self.ask(name, {"type": "init", "node_id": name, "node_ids": NAMES}) == {"type": "init_ok"}

    def run(self, seconds: float, until: Any = lambda: False) -> bool:
        end = self.now + seconds
        while True:
            while self.queue:
                message = self.queue.pop(0)
                if message["dest"] in self.nodes:
                    if message["src"] not in self.nodes or not self.cut & {message["src"], message["dest"]}:
                        self.nodes[message["dest"]].take(message)
                else:
                    self.answers.append(message)
            if until() or self.now >= end:
                return bool(until())
            self.now = min(end, max(self.now, min(node.next_wake() for node in self.nodes.values())))
            for node in self.nodes.values():
                node.wake()

    def ask(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer's body without its numbers."""
        self.number += 1
        self.queue.append({"src": "c1", "dest": name, "body": {**body, "msg_id": self.number}})
        taken = len(self.answers)
        assert self.run(60, lambda: len(self.answers) > taken)
        answer = self.answers[-1]
        assert (answer["src"], answer["dest"], answer["body"]["in_reply_to"]) == (name, "c1", self.number)
        return {key: value for key, value in answer["body"].items() if key not in ("in_reply_to", "msg_id", "text")}

    def settle(self) -> None:
        assert self.run(20, lambda: all(node._core.leader for node in self.nodes.values()))

    @property
    def leader(self) -> str:
        return str(self.nodes["n1"]._core.leader)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    made = Cluster()
    made.settle()
    return made


def test_lin_kv_by_every_node(cluster: Cluster) -> None:
    for number, name in enumerate(NAMES):
        key = [name, number]
        assert cluster.ask(name, {"type": "read", "key": key}) == {"type": "error", "code": 20}
        assert cluster.ask(name, {"type": "cas", "key": key, "from": 1, "to": 2}) == {"type": "error", "code": 20}
        assert cluster.ask(name, {"type": "write", "key": key, "value": {"b": 1, "a": None}}) == {"type": "write_ok"}
        for other in NAMES:
            assert cluster.ask(other, {"type": "read", "key": key}) == {"type": "read_ok", "value": {"a": None, "b": 1}}
        assert cluster.ask(name, {"type": "cas", "key": key, "from": 1, "to": 2}) == {"type": "error", "code": 22}
        assert cluster.ask(name, {"type": "cas", "key": key, "from": {"a": None, "b": 1}, "to": 2}) == {"type": "cas_ok"}
        assert cluster.ask(name, {"type": "read", "key": key}) == {"type": "read_ok", "value": 2}


def test_keys_of_other_types_are_other_keys(cluster: Cluster) -> None:
    cluster.ask("n1", {"type": "write", "key": 7, "value": "number"})
    cluster.ask("n1", {"type": "write", "key": "7", "value": "text"})
    assert cluster.ask("n2", {"type": "read", "key": 7})["value"] == "number"
    assert cluster.ask("n2", {"type": "read", "key": "7"})["value"] == "text"


def test_transactions_of_lists(cluster: Cluster) -> None:
    asked = [["r", "x", None], ["append", "x", 1], ["r", "x", None], ["append", "x", 2], ["append", "y", 3]]
    told = cluster.ask("n2", {"type": "txn", "txn": asked})
    assert told == {
        "type": "txn_ok",
        "txn": [["r", "x", None], ["append", "x", 1], ["r", "x", [1]], ["append", "x", 2], ["append", "y", 3]],
    }
    told = cluster.ask("n3", {"type": "txn", "txn": [["r", "y", None], ["r", "x", None]]})
    assert told["txn"] == [["r", "y", [3]], ["r", "x", [1, 2]]]


def test_transactions_of_registers(cluster: Cluster) -> None:
    told = cluster.ask("n1", {"type": "txn", "txn": [["r", 1, None], ["w", 1, 6], ["w", 2, 9], ["r", 1, None]]})
    assert told == {"type": "txn_ok", "txn": [["r", 1, None], ["w", 1, 6], ["w", 2, 9], ["r", 1, 6]]}
    assert cluster.ask("n3", {"type": "txn", "txn": [["append", 1, 1], ["w", 2, 0]]}) == {"type": "error", "code": 14}
    assert cluster.ask("n3", {"type": "txn", "txn": [["r", 2, None]]})["txn"] == [["r", 2, 9]], "nothing of a failed one is done"


def test_broadcast_reaches_all_and_a_topology_is_taken(cluster: Cluster) -> None:
    assert cluster.ask("n1", {"type": "topology", "topology": {"n1": ["n2"], "n2": ["n1", "n3"], "n3": ["n2"]}}) == {"type": "topology_ok"}
    for number, name in enumerate([*NAMES, "n1"]):
        assert cluster.ask(name, {"type": "broadcast", "message": number}) == {"type": "broadcast_ok"}
    cluster.run(3)
    for name in NAMES:
        answer = cluster.ask(name, {"type": "read"})
        assert answer["type"] == "read_ok" and sorted(answer["messages"]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "dance"}, 10),
        ({"type": "write", "key": 1}, 12),
        ({"type": "cas", "key": 1, "from": 2}, 12),
        ({"type": "broadcast"}, 12),
        ({"type": "txn"}, 12),
        ({"type": "txn", "txn": 5}, 12),
        ({"type": "txn", "txn": [["x", 1, 2]]}, 12),
        ({"type": "txn", "txn": [["r", 1]]}, 12),
    ],
)
def test_what_cannot_be_understood_is_told_so(cluster: Cluster, body: dict[str, Any], code: int) -> None:
    assert cluster.ask("n1", body) == {"type": "error", "code": code}


def test_before_init_and_before_a_leader_nothing_is_promised() -> None:
    said: list[dict[str, Any]] = []
    node = Node(said.append, lambda: 1.0)
    node.take({"src": "c1", "dest": "n1", "body": {"type": "read", "key": 1, "msg_id": 5}})
    assert (said[0]["body"]["code"], said[0]["body"]["in_reply_to"]) == (11, 5)
    node.take({"src": "c0", "dest": "n1", "body": {"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": NAMES}})
    said.clear()
    node.take({"src": "c1", "dest": "n1", "body": {"type": "write", "key": 1, "value": 1, "msg_id": 6}})
    assert said[0]["body"]["code"] == 11


def test_a_leader_that_is_cut_off_leaves_open_what_became_of_a_write_and_does_not_read() -> None:
    cluster = Cluster()
    cluster.settle()
    old = cluster.leader
    assert cluster.ask(old, {"type": "write", "key": 1, "value": 1}) == {"type": "write_ok"}
    cluster.cut = {old}
    begun = cluster.now
    answer = cluster.ask(old, {"type": "write", "key": 1, "value": 2})
    assert answer == {"type": "error", "code": 0} and cluster.now >= begun + ANSWER_S
    assert cluster.ask(old, {"type": "read", "key": 1})["code"] in (0, 11)
    other = next(name for name in NAMES if name != old)
    assert cluster.ask(other, {"type": "write", "key": 1, "value": 3}) == {"type": "write_ok"}
    cluster.cut = set()
    cluster.run(5)
    assert cluster.ask(old, {"type": "read", "key": 1}) == {"type": "read_ok", "value": 3}


def test_who_missed_more_than_the_log_holds_is_brought_up_by_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.app.maelstrom import replica
    from agent.core.raft.config import RaftConfig

    monkeypatch.setattr(replica, "SNAPSHOT_ENTRIES", 20)
    monkeypatch.setattr(replica, "RaftConfig", lambda: RaftConfig(margin_entries=5))
    cluster = Cluster()
    cluster.settle()
    away = next(name for name in NAMES if name != cluster.leader)
    cluster.cut = {away}
    asked = next(name for name in NAMES if name not in (away, cluster.leader))
    for number in range(100):
        assert cluster.ask(asked, {"type": "txn", "txn": [["append", "x", number]]})["type"] == "txn_ok"
    cluster.cut = set()
    cluster.run(5)
    core = cluster.nodes[away]._core
    assert core.machine.life == 1, "restored"
    assert cluster.ask(away, {"type": "txn", "txn": [["r", "x", None]]})["txn"] == [["r", "x", list(range(100))]]


def test_messages_of_nodes_that_are_none_are_dropped(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    for body in ({"type": "raft", "data": "AAAA"}, {"type": "raft", "data": "?"}, {"type": "raft"}, {"type": "propose", "command": "wA=="}):
        cluster.nodes["n1"].take({"src": "n2", "dest": "n1", "body": body})
    cluster.nodes["n1"].take({"src": "n9", "dest": "n1", "body": {"type": "raft", "data": ""}})
    assert capsys.readouterr().err.count("dropped a message") >= 4
    assert cluster.ask("n1", {"type": "write", "key": "after", "value": 1}) == {"type": "write_ok"}
