"""An agent in a control group that throttles it: it knows by `cpu.stat` that it loses time, and doubts itself before it blames others."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.apps import Fleet
from tests.harness.wait import wait_until

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
QUOTA_US = 8_000
"""8 % of a processor: enough to answer, too little for a burst of requests."""


class Group:
    """One with a quota, of version 2 or 1. Skips where it cannot be made."""

    def __init__(self) -> None:
        self.path = (ROOT if (ROOT / "cgroup.controllers").exists() else ROOT / "cpu") / f"pilotfish-test-{uuid.uuid4().hex[:8]}"
        self.procs = self.path / "cgroup.procs"
        try:
            self.path.mkdir()
        except OSError as error:
            pytest.skip(f"no control group: {error}")

    def limit(self, quota_us: int) -> None:
        try:
            if (self.path / "cpu.max").exists():
                (self.path / "cpu.max").write_text(f"{quota_us if quota_us > 0 else 'max'} {PERIOD_US}")
            else:
                (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.path / "cpu.cfs_quota_us").write_text(str(quota_us))
        except OSError as error:
            pytest.skip(f"no quota of processor time: {error}")


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    try:
        made.limit(-1)
        yield made
    finally:
        wait_until(lambda: not made.procs.read_text().strip(), "the group to be empty")
        made.path.rmdir()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")
def test_an_agent_that_is_throttled_says_so_and_is_slower_to_blame(group: Group) -> None:
    with Fleet("a", "b", "c") as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        fleet.agents["a"].stop()
        fleet.wrappers["a"] = ("sh", "-c", f'echo $$ > {group.procs} && exec "$@"', "sh")
        fleet.start("a")
        fleet.wait_for_endpoints("a", "b", "c")
        agent = fleet.agents["a"]
        assert agent.metric("pilotfish_cluster_throttled_share") == 0.0
        group.limit(QUOTA_US)
        try:

            def throttled() -> bool:
                fleet.ask("a")
                return agent.metric("pilotfish_cluster_throttled_share") > 0.2 and agent.metric("pilotfish_cluster_health_score") >= 1

            wait_until(throttled, "a to know that it is throttled", 40.0)
        finally:
            group.limit(-1)
        wait_until(lambda: agent.metric("pilotfish_cluster_throttled_share") == 0.0, "it to be over", 20.0)
        wait_until(lambda: agent.metric("pilotfish_cluster_health_score") == 0.0, "a to trust itself again", 30.0)
