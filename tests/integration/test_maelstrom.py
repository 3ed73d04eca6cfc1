"""Nodes in processes of their own, over a network that is slow and cut, by our runner; and that it finds a node that is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.app.maelstrom.runner import Plan, run
from agent.sim.history.operation import load

ROOT = Path(__file__).resolve().parents[2]
STALE_READS = """
import sys
from agent.app.maelstrom.replica import MemoryReplica
MemoryReplica.read = lambda self, ready: ready(True)
from agent.app.maelstrom.stdio import serve
sys.exit(serve())
"""
"""A node whose reads ask nobody."""
FORGETFUL = """
import sys
from agent.app.maelstrom.flood import Flood
kept = Flood.broadcast
Flood.broadcast = lambda self, message: None if self._number == 5 else kept(self, message)
from agent.app.maelstrom.stdio import serve
sys.exit(serve())
"""
"""A node that acknowledges its first five broadcasts rightly, and no other."""


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["lin-kv", "broadcast", "txn-list-append", "txn-rw-register"])
def test_workloads_under_partitions(workload: str) -> None:
    result = run(Plan(workload=workload, seconds=5.0, clients=6, partition=True, partition_s=1.5, loss=0.01, client_timeout_s=0.5))
    assert result.good, result.text + result.stderr
    assert result.answered > 100, result.stderr


@pytest.mark.slow
def test_reads_that_ask_nobody_are_found() -> None:
    result = run(Plan(seconds=4.0, latency_s=0.02, clients=9), (sys.executable, "-c", STALE_READS))
    assert not result.good and "not linearizable as a register" in result.text, result.stderr


@pytest.mark.slow
def test_a_broadcast_that_is_acknowledged_and_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.app.maelstrom.runner.SETTLE_S", 3.0)
    result = run(Plan(workload="broadcast", seconds=2.0), (sys.executable, "-c", FORGETFUL))
    assert not result.good and "acknowledged and lost" in result.text, result.stderr


def test_the_command_and_its_history(tmp_path: Path) -> None:
    path = tmp_path / "history"
    words = ["maelstrom", "run", "--seconds", "3", "--nodes", "1", "--clients", "2", "--latency", "1", "--history", str(path)]
    done = subprocess.run([sys.executable, "-m", "agent", *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "linearizable: " in done.stdout
    assert len(load(path.read_text())) > 10


def test_a_node_ends_with_its_input_and_says_nothing_but_messages() -> None:
    asked = [{"src": "c0", "dest": "n1", "body": {"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]}}]
    words = [sys.executable, "-m", "agent", "maelstrom", "node"]
    text = "no JSON\n" + "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(words, cwd=ROOT, input=text, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (answer,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (answer["src"], answer["dest"]) == ("n1", "c0")
    assert (answer["body"]["type"], answer["body"]["in_reply_to"]) == ("init_ok", 1)
    assert "no JSON" in done.stderr
