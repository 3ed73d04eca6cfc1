"""The SDK against the API: what its calls mean, through every way in which an answer can get lost."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.client import (
    AgentUnreachable,
    AsyncSidecar,
    Compacted,
    CompareFailed,
    InvalidRequest,
    LeaseLost,
    Locked,
    LockLost,
    NotOwner,
    OutcomeUnknown,
    Sidecar,
    SidecarError,
    TooLarge,
    Unavailable,
    WaitOver,
    Written,
)
from agent.core.machine.config import Limits
from tests.harness.sidecar import Lossy, StateThread
from tests.harness.wait import wait_until

WAIT_S = 15.0


@pytest.fixture
def state() -> Iterator[StateThread]:
    with StateThread() as running:
        yield running


def client(address: Any, **more: Any) -> AsyncSidecar:
    return AsyncSidecar(address if isinstance(address, str) else address.address, **more)


def run(test: Any) -> Any:
    return asyncio.run(asyncio.wait_for(test(), 40))


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something that no call of the SDK waits for."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.01)


async def is_gone(sidecar: AsyncSidecar, key: str) -> bool:
    return await sidecar.kv.get(key) is None


def waited_for(state: StateThread) -> bool:
    """Does anybody wait for a lock?"""
    machine = state.service.machine
    assert machine is not None
    return state.do(lambda: any(seat.waiting for seat in machine.locks.table.values()))


# -- kv


def test_values_and_keys_of_any_octets(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            for key in (b"plain", b"a/b//c", b"..", b".", b"../x", b"\xff\x00?#%&=+ ", "schlüssel", b"%2F"):
                assert await sidecar.kv.get(key) is None
                written = await sidecar.kv.put(key, b"\x00\xfe" + (key if isinstance(key, bytes) else key.encode()))
                item = await sidecar.kv.get(key)
                assert item is not None and item.value[2:] == (key if isinstance(key, bytes) else key.encode())
                assert (item.mod_revision, item.version) == (written.revision, 1)
            page = await sidecar.kv.range("")
            assert [item.key for item in page.items] == sorted(item.key for item in page.items) and len(page.items) == 8
            found = [item async for item in sidecar.kv.scan(b"\xff")]
            assert [item.key for item in found] == [b"\xff\x00?#%&=+ "]
            assert await sidecar.kv.delete(b"..") and not await sidecar.kv.delete(b"..")
            assert await sidecar.kv.count("") == 7
            assert (await sidecar.kv.put("empty", "")).version == 1
            empty = await sidecar.kv.get("empty")
            assert empty is not None and empty.value == b""

    run(test)


def test_conditions(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            kv = sidecar.kv
            first = await kv.put("a", "1", if_absent=True)
            with pytest.raises(CompareFailed) as failed:
                await kv.put("a", "2", if_absent=True)
            assert failed.value.current is not None and failed.value.current.text == "1"
            with pytest.raises(CompareFailed) as failed:
                await kv.put("b", "2", if_revision=77)
            assert failed.value.current is None
            second = await kv.put("a", "2", if_revision=first.revision)
            assert second == Written(second.revision, 2) and second.revision > first.revision
            assert await kv.cas("a", "3", expect="1") is None
            assert await kv.cas("a", b"\xff", expect="2") is not None
            assert await kv.cas("a", "4", expect=b"\xff") is not None
            assert await kv.cas("c", "1", expect=None) is not None
            assert await kv.cas("c", "1", expect=None) is None
            with pytest.raises(CompareFailed):
                await kv.delete("c", if_version=9)
            assert await kv.delete("c", if_version=1)
            done = await kv.txn([{"key": "a", "value": "4"}], [{"put": {"key": "x", "value": "y"}}], [])
            assert done["succeeded"] is True

    run(test)


def test_pages_and_ranges(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            for number in range(25):
                await sidecar.kv.put(f"n/{number:02}", str(number))
            page = await sidecar.kv.range("n/", limit=10)
            assert len(page.items) == 10 and page.next is not None
            rest = await sidecar.kv.range("n/", limit=100, after=page.next, keys_only=True)
            assert rest.items[0].key == b"n/10" and rest.next is None and rest.items[0].value == b""
            between = await sidecar.kv.range(start="n/03", end="n/05")
            assert [item.text for item in between.items] == ["3", "4"]
            assert await sidecar.kv.count(start="n/20") == 5
            with pytest.raises(ValueError, match="one or the other"):
                await sidecar.kv.range("n", start="a")
            with pytest.raises(ValueError, match="found no range"):
                await sidecar.kv.delete_range()
            assert await sidecar.kv.delete_range("n/1") == 10
            assert await sidecar.kv.count("n/") == 15
            for consistency in ("lease", "stale"):
                assert (await sidecar.kv.get("n/00", consistency=consistency, max_staleness_s=None)) is not None

    run(test)


def test_a_key_with_a_time_to_live_and_one_of_a_lease(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            await sidecar.kv.put("brief", "1", ttl_s=0.5)
            async with await sidecar.leases.grant(30) as lease:
                await sidecar.kv.put("mine", "1", lease=lease.id)
                info = await sidecar.leases.get(lease.id)
                assert info is not None and info.keys == (b"mine",) and 0 < info.left_s <= 30
                assert lease.id in [row.id for row in await sidecar.leases.list()]
            assert await sidecar.kv.get("mine") is None
            assert await sidecar.leases.get(lease.id) is None
            with pytest.raises(LeaseLost):
                lease.check()
            with pytest.raises(LeaseLost):
                await sidecar.kv.put("x", "1", lease=lease.id)
            state.do(lambda: state.service.pass_time(5))
            await until(lambda: is_gone(sidecar, "brief"), "the key to be gone")

    run(test)


def test_mistakes_are_told_at_once_and_say_what_to_do(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            with pytest.raises(TooLarge):
                await sidecar.kv.put("a", bytes(1_500_000))
            with pytest.raises(InvalidRequest, match="max_staleness"):
                await sidecar.kv.get("a", consistency="stale", max_staleness_s=1e9)
            with pytest.raises(InvalidRequest):
                await sidecar.kv.range("a", limit=100_000)

    run(test)


# -- exactly once


def test_a_lost_answer_is_asked_for_again_and_the_command_is_carried_out_once(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy) as sidecar:
            counter = sidecar.counter("hits")
            for number in range(1, 31):
                if number % 3 == 0:
                    lossy.lose_answers = number % 4 + 1
                elif number % 3 == 1:
                    lossy.lose_requests = 1
                assert await counter.add() == number
            assert lossy.lost > 15
            await counter.bump(5)
            assert await counter.get() == 35
            first = await sidecar.kv.put("a", "1", if_absent=True)
            lossy.lose_answers = 1
            second = await sidecar.kv.put("b", "1", if_absent=True)
            assert second.revision == first.revision + 1
            assert await counter.delete() == 35 and await counter.get() == 0

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_many_at_once_through_losses(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy, timeout_s=30) as sidecar:

            async def add(number: int) -> None:
                if number % 20 == 0:
                    lossy.lose_answers = 3
                await sidecar.counter(f"c{number % 5}").add()

            await asyncio.gather(*(add(number) for number in range(400)))
            values = [await sidecar.counter(f"c{number}").get() for number in range(5)]
            assert values == [80] * 5 and lossy.lost

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_a_session_that_ended_is_opened_again(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            await sidecar.kv.put("a", "1")
            state.do(lambda: state.service.pass_time(200))
            machine = state.service.machine
            assert machine is not None
            await until(lambda: state.do(lambda: len(machine.sessions.table)) <= 1, "the session to be gone")
            assert (await sidecar.kv.put("a", "2")).version == 2

    run(test)


def test_a_session_that_ended_while_an_outcome_was_not_known_says_so(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy) as sidecar:
            await sidecar.kv.put("a", "1")
            lossy.lose_answers = 1
            lossy.on_loss = lambda: state.do(lambda: state.service.pass_time(300))
            with pytest.raises(OutcomeUnknown, match="may have been carried out"):
                await sidecar.counter("n").add()
            assert await sidecar.counter("n").add() == 2

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_a_group_without_a_leader_is_waited_for_and_then_unavailable(state: StateThread) -> None:
    async def test() -> None:
        async with client(state, timeout_s=0.5) as sidecar:
            await sidecar.kv.put("a", "1")
            state.service.refuse = "not_leader"
            with pytest.raises(Unavailable, match=r"no leader .*tried for 0.5 s"):
                await sidecar.kv.put("a", "2")
            with pytest.raises(Unavailable):
                await sidecar.kv.get("a")
            stale = await sidecar.kv.get("a", consistency="stale")
            assert stale is not None and stale.text == "1"
            waiting = asyncio.create_task(sidecar.kv.put("a", "3", timeout_s=20))
            await asyncio.sleep(0)
            state.service.refuse = ""
            assert (await waiting).version == 2

    run(test)


def test_no_outcome_in_time_is_unknown_for_a_command_and_unavailable_for_a_read(state: StateThread) -> None:
    async def test() -> None:
        async with client(state, timeout_s=0.4) as sidecar:
            await sidecar.kv.put("a", "1")
            state.do(state.service.hold)
            with pytest.raises(OutcomeUnknown):
                await sidecar.kv.put("a", "2")
            with pytest.raises(Unavailable):
                await sidecar.kv.get("a")
            state.do(state.service.release)

    run(test)


def test_no_agent_is_told_with_the_address_and_where_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with AsyncSidecar(timeout_s=0.2) as sidecar:
            with pytest.raises(AgentUnreachable, match=r"127\.0\.0\.1:9.*\$PILOTFISH_API"):
                await sidecar.kv.get("a")
            with pytest.raises(AgentUnreachable):
                await sidecar.kv.put("a", "b")

    monkeypatch.setenv("PILOTFISH_API", "127.0.0.1:9")
    run(test)


def test_an_agent_that_comes_back_is_found_again(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy, timeout_s=20) as sidecar:
            await sidecar.kv.put("a", "1")
            lossy.close()
            put = asyncio.create_task(sidecar.kv.put("a", "2"))
            await asyncio.sleep(0.05)
            lossy.open()
            assert (await put).version == 2

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_a_socket_file(tmp_path: Path) -> None:
    with StateThread(listen=f"unix:{tmp_path}/api.sock") as state:

        async def test() -> None:
            async with AsyncSidecar(state.address) as sidecar:
                await sidecar.kv.put("a", "1")
                assert (await sidecar.status())["ready"] is True

        run(test)


# -- watch


@asynccontextmanager
async def watching(sidecar: AsyncSidecar, **what: Any) -> AsyncIterator[Any]:
    async with sidecar.kv.watch(**what) as watch:
        yield watch


def test_a_watch_gives_each_change_once_in_order_through_broken_connections(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(state) as writer, client(lossy) as sidecar:
            await writer.kv.put("w/0", "before")
            seen: list[tuple[str, bytes, int]] = []
            async with watching(sidecar, prefix="w/") as watch:
                for number in range(1, 61):
                    if number % 10 == 0:
                        lossy.cut()
                    await writer.kv.put(f"w/{number % 7}", str(number))
                    await writer.kv.put("other", "x")
                    if number % 9 == 0:
                        await writer.kv.delete(f"w/{number % 7}")
                for _ in range(66):
                    event = await asyncio.wait_for(anext(watch), WAIT_S)
                    seen.append((event.kind, event.item.value, event.revision))
                assert watch.revision == seen[-1][2]
            puts = [int(value) for kind, value, _ in seen if kind == "put"]
            assert puts == list(range(1, 61))
            assert [revision for *_, revision in seen] == sorted({revision for *_, revision in seen})
            async with watching(sidecar, prefix="w/", after=seen[30][2]) as again:
                event = await asyncio.wait_for(anext(again), WAIT_S)
                assert event.revision == seen[31][2]

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_changes_of_one_revision_come_together(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar, watching(sidecar, prefix="t/") as watch:
            await sidecar.kv.txn([], [{"put": {"key": f"t/{number}", "value": "x" * 5000}} for number in range(50)])
            events = [await asyncio.wait_for(anext(watch), WAIT_S) for _ in range(50)]
            assert len({event.revision for event in events}) == 1 and len({event.item.key for event in events}) == 50

    run(test)


def test_a_watch_from_a_revision_that_is_gone_says_from_where() -> None:
    with StateThread(Limits(history_events=20)) as state:

        async def test() -> None:
            async with client(state) as sidecar:
                for number in range(50):
                    await sidecar.kv.put("a", str(number))
                with pytest.raises(Compacted) as gone:
                    await anext(sidecar.kv.watch(key="a", after=1))
                assert 1 < gone.value.oldest <= gone.value.revision
                page = await sidecar.kv.range("a")
                async with sidecar.kv.watch(key="a", after=page.revision) as watch:
                    await sidecar.kv.put("a", "last")
                    assert (await asyncio.wait_for(anext(watch), WAIT_S)).item.text == "last"

        run(test)


def test_expired_keys_are_told_as_such(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar, watching(sidecar, key="brief") as watch:
            await sidecar.kv.put("brief", "x", ttl_s=0.5)
            assert (await asyncio.wait_for(anext(watch), WAIT_S)).kind == "put"
            state.do(lambda: state.service.pass_time(5))
            event = await asyncio.wait_for(anext(watch), WAIT_S)
            assert (event.kind, event.expired, event.item.key) == ("delete", True, b"brief")

    run(test)


# -- locks, elections, barriers


def test_a_lock_passes_from_one_to_the_next_with_greater_tokens(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as one, client(state) as two:
            order: list[str] = []
            tokens: list[int] = []

            async def work(sidecar: AsyncSidecar, name: str) -> None:
                async with sidecar.lock("job") as held:
                    order.append(name)
                    tokens.append(held.token)
                    held.check()
                    await asyncio.sleep(0.01)
                    order.append(name)

            await asyncio.gather(work(one, "a"), work(two, "b"), work(one, "c"))
            assert sorted(order[::2]) == ["a", "b", "c"] and order[::2] == order[1::2]
            assert tokens == sorted(set(tokens))
            assert await one.lock("job").holder() is None

    run(test)


def test_a_held_lock_is_refused_at_once_or_after_the_wait(state: StateThread) -> None:
    async def test() -> None:
        async with client(state, owner="first") as one, client(state, owner="second") as two:
            async with one.lock("job") as held:
                for wait_s in (0, 0.1):
                    with pytest.raises(Locked) as refused:
                        async with two.lock("job", wait_s=wait_s):
                            raise AssertionError("two hold it")
                    assert refused.value.holder is not None
                    assert (refused.value.holder.owner, refused.value.holder.token) == ("first", held.token)
                holder = await two.lock("job").holder()
                assert holder is not None and holder.owner == "first"
            with pytest.raises(LockLost):
                held.check()
            async with two.lock("job", wait_s=0) as second:
                assert second.token > held.token
            machine = state.service.machine
            assert machine is not None
            await until(lambda: not any(lease.ttl_ms == 10_000 for lease in list(machine.leases.table.values())), "no lease left behind")

    run(test)


def test_a_lock_that_is_lost_is_told(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            told: list[str] = []

            async def rely() -> None:
                async with sidecar.lock("job", ttl_s=1.5) as held:
                    held.on_lost(lambda: told.append("lost"))
                    state.do(lambda: state.service.pass_time(100))
                    await asyncio.wait_for(held.lost.wait(), WAIT_S)
                    with pytest.raises(LockLost):
                        held.check()

            with pytest.raises(LockLost, match="'job' was lost"):
                await rely()
            assert told == ["lost"]

    run(test)


def test_a_lock_is_lost_when_nobody_can_say_that_it_is_held(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy, timeout_s=1) as sidecar:

            async def rely() -> None:
                async with sidecar.lock("job", ttl_s=1.0) as held:
                    lossy.close()
                    await asyncio.wait_for(held.lost.wait(), WAIT_S)
                    raise KeyError

            with pytest.raises(KeyError):
                await rely()

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_a_lock_is_lost_in_time_when_the_agent_takes_everything_and_answers_nothing(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy) as sidecar:
            held = await sidecar.lock("job", ttl_s=1.2).acquire()
            lossy.frozen = True
            await asyncio.wait_for(held.lost.wait(), WAIT_S)
            assert held.lease.left_s == 0.0
            with pytest.raises(LockLost):
                held.check()
            lossy.frozen = False
            lossy.cut()

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_what_is_closed_holds_nothing_any_more_and_says_so(state: StateThread) -> None:
    async def test() -> None:
        sidecar = client(state)
        held = await sidecar.lock("job", ttl_s=60).acquire()
        lease = await sidecar.leases.grant(60)
        lease.keep_alive()
        await sidecar.close()
        with pytest.raises(LockLost):
            held.check()
        with pytest.raises(SidecarError, match="closed: make another"):
            await sidecar.kv.get("a")
        await sidecar.close()
        async with client(state) as other:
            async with other.lock("job", wait_s=0):
                pass
            assert await other.leases.get(lease.id) is None
        machine = state.service.machine
        assert machine is not None and not [lease for lease in machine.leases.table.values() if lease.ttl_ms == 60_000]

    run(test)


def test_a_lock_is_kept_for_longer_than_its_time_to_live(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as one, client(state) as two, one.lock("job", ttl_s=0.6) as held:
            with pytest.raises(Locked):
                await two.lock("job", wait_s=1.5).acquire()
            held.check()

    run(test)


def test_a_lost_answer_to_a_lock_leaves_no_claim_that_is_in_the_way(state: StateThread) -> None:
    async def test(lossy: Lossy) -> None:
        async with client(lossy) as sidecar, client(state) as other:
            for number in range(8):
                lossy.lose_answers = 1 + number % 3
                async with sidecar.lock("job", wait_s=10) as held:
                    held.check()
            lossy.lose_answers = 0
            async with other.lock("job", wait_s=5):
                waiting = asyncio.create_task(sidecar.lock("job").acquire())
                await until(lambda: waited_for(state), "the claim to stand in the queue")
                lossy.cut()
            held = await asyncio.wait_for(waiting, WAIT_S)
            held.check()
            await held.release()
            async with other.lock("job", wait_s=5):
                pass

    with Lossy(state.address) as lossy:
        run(lambda: test(lossy))


def test_a_cancelled_wait_leaves_the_queue(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as one, client(state) as two, one.lock("job"):
            waiting = asyncio.create_task(two.lock("job").acquire())
            await until(lambda: waited_for(state), "the claim to stand in the queue")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(lambda: not waited_for(state), "the queue to be empty")

    run(test)


def test_an_election_has_one_leader_whom_all_see(state: StateThread) -> None:
    async def test() -> None:
        async with client(state, owner="one") as one, client(state, owner="two") as two:
            seen: list[Any] = []

            async def observe() -> None:
                async for leader in two.election("job").observe():
                    seen.append(leader and (leader.owner, leader.value))

            observing = asyncio.create_task(observe())
            await until(lambda: seen == [None], "nobody to lead")
            first = await one.election("job").campaign("10.0.0.1:80")
            standing = asyncio.create_task(two.election("job").campaign("10.0.0.2:80"))
            with pytest.raises(Locked):
                await two.election("job").campaign("x", wait_s=0.05)
            await until(lambda: ("one", "10.0.0.1:80") in seen, "the leader to be seen")
            await first.proclaim("10.0.0.1:81")
            await until(lambda: ("one", "10.0.0.1:81") in seen, "the proclamation to be seen")
            await first.release()
            second = await asyncio.wait_for(standing, WAIT_S)
            assert second.token > first.token
            leader = await one.election("job").leader()
            assert leader is not None and (leader.owner, leader.value, leader.token) == ("two", "10.0.0.2:80", second.token)
            with pytest.raises(LockLost):
                await first.proclaim("late")
            await second.release()
            await until(lambda: seen[-1] is None, "nobody to lead again")
            observing.cancel()

    run(test)


def test_a_barrier_lets_all_in_and_out_together(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            inside = 0
            greatest: list[int] = []

            async def work() -> None:
                nonlocal inside
                async with sidecar.barrier("step", 3):
                    inside += 1
                    await until(lambda: inside == 3, "all to be within")
                    greatest.append(inside)

            await asyncio.gather(work(), work(), work())
            assert greatest == [3, 3, 3]
            with pytest.raises(WaitOver):
                await sidecar.barrier("step", 3, wait_s=0.1).enter()

    run(test)


# -- for programs that wait


def test_the_facade_does_the_same_from_threads(state: StateThread) -> None:
    with Sidecar(state.address) as sidecar:
        sidecar.kv.put("a", "1")
        item = sidecar.kv.get("a")
        assert item is not None and item.text == "1"
        events: list[Any] = []
        watch = sidecar.kv.watch("t/")
        watch.open()
        watcher = threading.Thread(target=lambda: events.extend(watch))
        watcher.start()

        def add(number: int) -> None:
            for turn in range(10):
                sidecar.counter("hits").add()
                with sidecar.lock("job") as held:
                    held.check()
                    sidecar.kv.put(f"t/{number}", str(turn))

        threads = [threading.Thread(target=add, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sidecar.counter("hits").get() == 50
        wait_until(lambda: len(events) == 50, "all events")
        watch.close()
        watcher.join(10)
        assert not watcher.is_alive()
        assert sorted(item.key for item in sidecar.kv.scan("t/")) == [f"t/{number}".encode() for number in range(5)]
        assert sidecar.kv.delete_range("t/") == 5
        with sidecar.leases.grant(5) as lease:
            assert lease.left_s > 0 and not lease.is_lost and not lease.wait_lost(0.01)
        with sidecar.election("job").campaign("me") as leadership:
            leadership.proclaim("still me")
            leader = sidecar.election("job").leader()
            assert leader is not None and leader.value == "still me"
            assert next(sidecar.election("job").observe()) == leader
        assert sidecar.status()["role"] == "leader"


def test_the_facade_waits_within_a_running_loop_and_refuses_to_wait_for_itself(state: StateThread) -> None:
    with Sidecar(state.address) as sidecar:

        async def main() -> None:
            sidecar.kv.put("a", "1")
            item = sidecar.kv.get("a")
            assert item is not None

        asyncio.run(main())
        raised: list[BaseException] = []
        held = sidecar.lock("job", ttl_s=1.5).acquire()

        def on_lost() -> None:
            try:
                sidecar.kv.get("a")
            except RuntimeError as error:
                raised.append(error)

        held.on_lost(on_lost)
        state.do(lambda: state.service.pass_time(100))
        assert held.lease.wait_lost(WAIT_S)
        with pytest.raises(LockLost):
            held.check()
        assert "hand the work to another thread" in str(raised[0])


def test_another_loser_of_ownership_is_told(state: StateThread) -> None:
    async def test() -> None:
        async with client(state) as sidecar:
            leadership = await sidecar.election("job").campaign("a")
            machine = state.service.machine
            assert machine is not None
            await sidecar._api.command("DELETE", "/v1/elections/job", {"lease": str(leadership.lease.id), "owner": sidecar._owner})
            with pytest.raises((LockLost, NotOwner)):
                await leadership.proclaim("b")

    run(test)
