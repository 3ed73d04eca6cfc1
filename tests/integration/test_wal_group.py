"""A group of real agents, one of which has a disk that is full for a while."""

import asyncio
import os
import subprocess

import pytest

from agent.client import AsyncSidecar
from tests.harness.consensus import BOUND_S, Group
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


def test_a_leader_whose_disk_is_full_hands_over_and_takes_part_again_when_there_is_space() -> None:
    group = Group(
        "a", "b", "c", consensus={"timing": {"heartbeat": "50ms", "election": "500ms", "settle": "300ms", "replace_after": "10m"}}
    )
    places = {name: group.folders / name for name in "abc"}
    mounted = []
    try:
        for place in places.values():
            place.mkdir()
            made = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
            mounted.append(place)
        with group:
            asyncio.run(fill_and_free(group))
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


async def fill_and_free(group: Group) -> None:
    leader = await asyncio.to_thread(group.leader)
    ballast = group.folders / leader / "ballast"
    other = next(name for name in "abc" if name != leader)
    async with AsyncSidecar(group.agents[other].addresses["state"][0], timeout_s=BOUND_S) as sidecar:
        await sidecar.counter("n").add()
        free = os.statvfs(ballast.parent)
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize))
        added = 1
        while group.status(leader)["writable"]:
            await sidecar.kv.put(f"k{added % 10}", bytes([added % 256]) * 20_000)
            added = await sidecar.counter("n").add()
        rest = [name for name in "abc" if name != leader]
        second = await asyncio.to_thread(group.leader, *rest)
        assert second != leader
        assert await sidecar.counter("n").add() == added + 1
        ballast.unlink()
        await asyncio.to_thread(wait_until, lambda: group.status(leader)["writable"], "space to be noticed", BOUND_S)
        commit = group.status(second)["commit"]
        await asyncio.to_thread(group.wait_for_applied, commit, leader)
        assert await sidecar.counter("n").add() == added + 2
    assert any(event["event"] == "wal_full" for event in group.agents[leader].events)
