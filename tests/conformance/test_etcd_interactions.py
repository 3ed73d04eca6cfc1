"""etcd-raft's interaction scripts, played on our core: states, progress and logs are to be as there, and where both say the same, messages.

What differs is listed with its reason; what is listed must differ, so that the list stays true.
"""

from pathlib import Path

import pytest

from tests.conformance.datadriven import FOLDER, Step, received, steps
from tests.conformance.etcd_cluster import Cluster, NotOurs

FILES = sorted((FOLDER / "testdata").glob("*.txt"))

LEAVES_BY_ITSELF = "our joint configuration ends by itself, and a leader that is not of the new one steps down once it is committed"
NOT_OURS = {
    "async_storage_writes_append_aba_race": "ticks a follower into an election; the race itself is in transcripts/raft/log_matching.txt",
    "confchange_disable_validation": "an option of etcd's own: changes are validated always",
    "confchange_v1_remove_leader": "keeps a removed leader in office, which ours is not",
    "forget_leader": "a command of etcd's own",
    "forget_leader_prevote_checkquorum": "a command of etcd's own",
    "forget_leader_read_only_lease_based": "a command of etcd's own",
    "snapshot_succeed_via_app_resp_behind": "makes the leader send a snapshot by hand",
}
"""Files that are played as far as their commands have a counterpart, and why they do not end."""

DIFFERENT = {
    (
        "heartbeat_resp_recovers_from_probing",
        40,
    ): "a member that cannot be reached is not probed until it is heard (our contract's `Unreachable`)",
    ("confchange_v1_remove_leader", 110): LEAVES_BY_ITSELF,
    ("confchange_v1_remove_leader_stepdown", 113): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader", 155): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader", 311): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader", 409): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader_stepdown", 55): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader_stepdown", 163): LEAVES_BY_ITSELF,
    ("confchange_v2_replace_leader_stepdown", 187): LEAVES_BY_ITSELF,
    ("snapshot_succeed_via_app_resp_behind", 43): "the script gives the new node a term",
}

SAME_MESSAGES = {"probe_and_replicate": 36, "heartbeat_resp_recovers_from_probing": 6}
"""Where every message that is shown is ours too, and how many there are. Elsewhere some differ: the log begins behind term 0 here, commit
indices go to members that are probed with the next entries, pre-vote and check-quorum are always on, snapshots come in chunks."""


def compare(path: Path, cluster: Cluster, step: Step) -> str | None:
    """Why it differs; None where it does not."""
    cluster.received = []
    shown = cluster.run(step)
    if shown is not None and shown != step.expected:
        return f"{path.name}:{step.line}\n{shown}\ninstead of\n{step.expected}"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_ends_in_the_same_states(path: Path) -> None:
    cluster = Cluster()
    differ = {}
    stopped = False
    for step in steps(path):
        try:
            why = compare(path, cluster, step)
        except NotOurs:
            stopped = True
            break
        if why is not None:
            differ[path.stem, step.line] = why
    expected = {key for key in DIFFERENT if key[0] == path.stem}
    assert differ.keys() == expected, "\n".join(differ[key] for key in differ.keys() - expected)
    assert stopped == (path.stem in NOT_OURS)
    if not stopped:
        settle(cluster)


def settle(cluster: Cluster) -> None:
    """Whatever a script left on the wires: when it has arrived, members agree on what is committed."""
    cluster.on_stabilize(Step(0, "stabilize", (), (), ""))
    leads = [node for node in cluster.nodes.values() if node.raft.role == "leader"]
    if not leads:
        return
    leader = max(leads, key=lambda node: node.raft.term)
    leader.now = leader.raft.next_wake()
    leader.step_wake()
    cluster.on_stabilize(Step(0, "stabilize", (), (), ""))
    for one in leader.raft.progress:
        if one in cluster.nodes:
            assert cluster.nodes[one].raft.commit == leader.raft.commit, one


@pytest.mark.parametrize("name", sorted(SAME_MESSAGES))
def test_the_same_messages_are_received(name: str) -> None:
    cluster = Cluster()
    count = 0
    for step in steps(FOLDER / "testdata" / f"{name}.txt"):
        cluster.received = []
        cluster.run(step)
        expected = received(step.expected) if step.command == "stabilize" else []
        if expected:
            assert sorted(cluster.received) == sorted(expected), step.line
            count += len(expected)
    assert count == SAME_MESSAGES[name]


def test_every_script_is_there() -> None:
    assert len(FILES) == 28
