"""The SDK with real agents that are a group: what it promises while leaders die, stop and come back."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from agent.client import AsyncSidecar, LockLost, Sidecar, SidecarError
from tests.harness.consensus import Group

pytestmark = pytest.mark.xdist_group("consensus")
BOUND_S = 40.0


@pytest.fixture(scope="module")
def agents() -> Iterator[Group]:
    with Group("a", "b", "c") as running:
        yield running


@pytest.fixture
def group(agents: Group) -> Iterator[Group]:
    """One for all tests: who was killed is started again."""
    agents.leader()
    yield agents
    for name in sorted({*"abc"} - {*agents.running}):
        agents.start(name)


def beside(group: Group, name: str, **more: Any) -> AsyncSidecar:
    """The SDK in an application beside this agent."""
    agent = group.agents[name]
    return AsyncSidecar(agent.addresses["state"][0], "{}:{}".format(*agent.admin), **{"timeout_s": BOUND_S, **more})


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 2 * BOUND_S)

    asyncio.run(bounded())


def test_what_one_agent_took_every_other_has(group: Group) -> None:
    group.leader()

    async def test() -> None:
        async with beside(group, "a") as one, beside(group, "b") as two, beside(group, "c") as three:
            written = await one.kv.put("users/7", "Ada", if_absent=True)
            for sidecar in (one, two, three):
                item = await sidecar.kv.get("users/7")
                assert item is not None and (item.text, item.mod_revision) == ("Ada", written.revision)
            assert (await two.kv.cas("users/7", "Grace", expect="Ada")) is not None
            assert await three.kv.cas("users/7", "Ada", expect="Ada") is None
            async with one.lock("job") as held, three.kv.watch("w/") as watch:
                holder = await two.lock("job").holder()
                assert holder is not None and holder.token == held.token
                await two.kv.put("w/1", "x")
                assert (await asyncio.wait_for(anext(watch), BOUND_S)).item.text == "x"
            assert await two.lock("job").holder() is None
            assert (await one.status())["ready"] is True and await two.is_ready()
            assert {member["name"] for member in await one.cluster.members()} == {"a", "b", "c"}
            assert (await one.cache.purge(everything=True, wait_s=5))["of"] == 3
            assert (await one.agent_status())["clustered"] is True

    run(test)


def test_additions_and_changes_are_made_once_through_the_kill_of_leaders(group: Group) -> None:
    """Each round a leader is killed while both others' applications add, and started again."""
    leader = group.leader()

    async def test() -> None:
        nonlocal leader
        total = 0
        for _ in range(3):
            rest = [name for name in "abc" if name != leader]
            stop = asyncio.Event()

            async def add(sidecar: AsyncSidecar, stop: asyncio.Event = stop) -> int:
                count = 0
                while not stop.is_set():
                    await sidecar.counter("hits").add()
                    count += 1
                return count

            async with beside(group, rest[0]) as one, beside(group, rest[1]) as two:
                watch = two.kv.watch("turn")
                await watch.open()
                adding = [asyncio.create_task(add(sidecar)) for sidecar in (one, two) for _ in range(4)]
                await one.kv.put("turn", "before")
                group.agents[leader].kill()
                await one.kv.put("turn", "after")
                await two.kv.put("turn", "last")
                stop.set()
                total += sum(await asyncio.gather(*adding))
                assert await one.counter("hits").get() == total
                turns = [(await asyncio.wait_for(anext(watch), BOUND_S)).item.text for _ in range(3)]
                assert turns == ["before", "after", "last"]
                await watch.close()
            await asyncio.to_thread(group.start, leader)
            leader = await asyncio.to_thread(group.leader)

    run(test)


def test_a_stopped_leader_costs_time_and_nothing_else(group: Group) -> None:
    leader = group.leader()
    rest = [name for name in "abc" if name != leader]
    process = group.agents[leader].process
    assert process is not None

    async def test() -> None:
        async with beside(group, rest[0]) as one, beside(group, leader) as beside_it:
            await beside_it.counter("stops").add()
            process.send_signal(signal.SIGSTOP)
            stuck = asyncio.create_task(beside_it.counter("stops").add())
            try:
                for number in range(2, 30):
                    assert await one.counter("stops").add() >= number
            finally:
                process.send_signal(signal.SIGCONT)
            await stuck
            assert await one.counter("stops").get() == 30

    run(test)


def test_a_lock_is_lost_with_its_agent_and_passes_on(group: Group) -> None:
    leader = group.leader()
    mine, other = (name for name in "abc" if name != leader)

    async def test() -> None:
        async with beside(group, mine, timeout_s=1) as sidecar, beside(group, other) as another:
            held = await sidecar.lock("job", ttl_s=2).acquire()
            waiting = asyncio.create_task(another.lock("job").acquire())
            group.agents[mine].kill()
            await asyncio.wait_for(held.lost.wait(), BOUND_S)
            with pytest.raises(LockLost):
                held.check()
            second = await asyncio.wait_for(waiting, BOUND_S)
            assert second.token > held.token
            await second.release()

    run(test)


def test_without_a_majority_reads_of_old_state_go_on_and_everything_else_says_why(group: Group) -> None:
    leader = group.leader()
    rest = [name for name in "abc" if name != leader]
    agent = group.agents[leader]
    with Sidecar(agent.addresses["state"][0], timeout_s=2) as sidecar:
        sidecar.kv.put("a", "1")
        for name in rest:
            group.agents[name].kill()
        with pytest.raises(SidecarError, match=r"no (leader|answer)|disk"):
            sidecar.kv.put("a", "2")
        with pytest.raises(SidecarError):
            sidecar.kv.get("a")
        item = sidecar.kv.get("a", consistency="stale")
        assert item is not None and item.text in ("1", "2")
