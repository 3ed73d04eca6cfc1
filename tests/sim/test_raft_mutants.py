"""What the simulator is worth: builds that are broken on purpose must be caught, each within so many seeds."""

import re

import pytest

from agent.sim.consensus.run import Core, Plan, simulate
from tests.sim import raft_mutants as mutants

SEEDS_MAX = 60

HOSTS = {
    "stored is reported before it is": (mutants.core(swarm=mutants.StoredEarly), ("power", "kill"), "durable before committed"),
    "nothing is synchronised": (mutants.core(swarm=mutants.SkippedSync), ("power", "leader_crash"), "durability|WalCorrupt"),
    "a snapshot says not who belongs to the group": (
        mutants.core(swarm=mutants.SnapshotWithoutMembers),
        ("power", "snapshots", "partition"),
        "liveness|leader",
    ),
    "a snapshot stands one entry too early": (
        mutants.core(swarm=mutants.AppliedTwice),
        ("power", "snapshots", "partition"),
        "state-machine safety|WalCorrupt",
    ),
    "a request that comes again is executed again": (
        mutants.core(swarm=mutants.NoDeduplication),
        ("leader_crash", "loss", "isolate"),
        "not linearizable",
    ),
}
CORES = {
    "terms are ignored": (mutants.core(mutants.IgnoresTerms), ("pause", "freeze"), "log matching|state-machine safety|no read staler"),
    "a vote that comes twice counts twice": (
        mutants.core(mutants.CountsDuplicates),
        ("disorder", "leader_crash", "partition", "isolate"),
        "",
    ),
    "entries of older terms are committed by count": (
        mutants.core(mutants.CommitsOldTerms, mutants.ONE_AT_A_TIME),
        ("leader_crash", "isolate", "kill", "partition"),
        "entries of its own term",
    ),
    "acknowledged before it is stored": (mutants.core(mutants.AcknowledgesEarly), ("power", "slow_disk"), "durable before committed"),
    "a vote is forgotten": (mutants.core(mutants.ForgetsVotes), ("kill", "power", "leader_crash"), "one vote a term"),
    "a candidate's log is not looked at": (
        mutants.core(mutants.ElectsAnybody),
        ("leader_crash", "isolate", "partition"),
        "leader completeness|state-machine safety|another entry",
    ),
    "one majority decides in joint consensus": (
        mutants.core(mutants.OneMajority),
        ("members", "partition", "isolate", "leader_crash"),
        "durable before committed",
    ),
    "a commit index is believed for what was not compared": (
        mutants.core(mutants.CommitsUnverified),
        ("leader_crash", "isolate", "partition"),
        "durable before committed",
    ),
    "reads are answered unasked": (mutants.core(mutants.ReadsUnconfirmed), ("freeze", "isolate"), "no read staler than promised"),
}


def caught(core: Core, features: tuple[str, ...], **options: int) -> str:
    """What was found first, and the seed."""
    for seed in range(1, SEEDS_MAX + 1):
        try:
            simulate(Plan(seed, features=features, **options), core)
        except Exception as error:
            return f"{type(error).__name__}: {error} (seed {seed})"
    return ""


@pytest.mark.parametrize("name", HOSTS)
def test_a_broken_host_is_caught(name: str) -> None:
    core, features, promise = HOSTS[name]
    found = caught(core, features)
    assert re.search(promise, found) and found, f"{name}: found {found!r}, expected {promise!r}"


@pytest.mark.parametrize("name", CORES)
def test_a_broken_core_is_caught(name: str) -> None:
    core, features, promise = CORES[name]
    found = caught(core, features, voters=5 if "twice" in name else 0)
    assert re.search(promise, found) and found, f"{name}: found {found!r}, expected {promise!r}"
