"""What a replica's host relies on of its log, on a disk and in memory."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.core.replica.io import Persist
from agent.core.replica.log import HardState, Members, Peer, Recovered, SnapshotMeta
from agent.core.wal.opening import Beginning
from agent.runtime.log import Logger
from agent.runtime.wal.memory import MemoryWal
from agent.runtime.wal.store import Wal
from tests.harness.wal import Heard, batch

Open = Callable[..., tuple[Any, Recovered]]
MEMBERS = Members(voters=(5,), peers=(Peer(5, "a"),))


@pytest.fixture(params=["disk", "memory"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    def opened(beginning: Beginning | None = None) -> tuple[Any, Recovered]:
        if request.param == "memory":
            return MemoryWal.open(lambda: 5, beginning)
        return Wal.open(tmp_path / "log", "blue", lambda: 5, Logger("error"), beginning)

    return opened


def run(test: Callable[[Any, Heard], Any], store: Any) -> None:
    async def main() -> None:
        heard = Heard()
        store.start(heard)
        try:
            await test(store, heard)
        finally:
            await store.close()

    asyncio.run(main())


def test_a_new_log_is_empty_and_has_the_id_that_was_drawn(open_store: Open) -> None:
    store, recovered = open_store()
    assert recovered == Recovered()
    assert store.me == 5
    run(lambda store, heard: asyncio.sleep(0), store)


def test_a_log_begins_from_a_state_that_all_first_voters_share(open_store: Open) -> None:
    store, recovered = open_store(Beginning(SnapshotMeta(1, 1, MEMBERS), b"empty", HardState(1)))
    assert recovered.hard == HardState(1, 0, 1)
    meta = recovered.snapshot
    assert (meta.index, meta.members, meta.size, meta.digest) == (1, MEMBERS, 5, hashlib.sha256(b"empty").digest())
    assert b"".join(store.read_snapshot(meta)) == b"empty"
    run(lambda store, heard: asyncio.sleep(0), store)


def test_everything_is_reported_stored_in_order(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        for number in range(1, 200):
            store.persist(batch(number, number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await heard.until_stored(199)
        assert heard.numbers == sorted(set(heard.numbers))
        assert store.slow_s == 0.0

    run(test, open_store()[0])


def test_a_hard_state_that_need_not_be_durable_is_reported_like_any_other(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        store.persist(Persist(1, HardState(1, 0, 0), sync=False))
        await heard.until_stored(1)
        store.persist(batch(2, 1))
        store.persist(Persist(3, HardState(1, 7, 1), sync=False))
        await heard.until_stored(3)
        assert heard.numbers == sorted(set(heard.numbers))

    run(test, open_store()[0])


def test_a_snapshot_is_written_aside_and_read_in_pieces(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        store.persist(batch(1, 1, 3))
        sink = store.begin_snapshot(SnapshotMeta(2, 1, MEMBERS, epoch=4))
        done: list[tuple[SnapshotMeta, bool]] = []
        for piece in (b"one", b"", b"two" * 1000):
            sink.append(piece)
        sink.commit(lambda meta, ok: (done.append((meta, ok)), heard.took()))
        await heard.until(lambda: done, "the snapshot")
        whole = b"one" + b"two" * 1000
        meta, ok = done[0]
        assert ok and meta == SnapshotMeta(2, 1, MEMBERS, 4, len(whole), hashlib.sha256(whole).digest())
        assert store.read_chunk(meta, 2, 4) == b"etwo"
        assert store.read_chunk(meta, len(whole) - 1, 50) == b"o"
        assert store.read_chunk(meta, len(whole), 50) == b""
        assert b"".join(store.read_snapshot(meta)) == whole
        assert store.read_chunk(SnapshotMeta(9, 1), 0, 4) is None
        store.compact(2)

    run(test, open_store()[0])


def test_a_snapshot_that_is_not_what_was_announced_is_thrown_away(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        good = hashlib.sha256(b"data").digest()
        for size, digest, data, fits in ((4, good, b"data", True), (4, good, b"dada", False), (5, good, b"data", False)):
            done: list[tuple[SnapshotMeta, bool]] = []
            announced = SnapshotMeta(10 + size, 1, MEMBERS, 0, size, digest)
            sink = store.begin_snapshot(announced)
            sink.append(data)
            sink.commit(lambda meta, ok, done=done: (done.append((meta, ok)), heard.took()))
            await heard.until(lambda done=done: done, "the verdict")
            assert done == [(announced, fits)]
        assert store.read_chunk(SnapshotMeta(15, 1, MEMBERS, 0, 5, good), 0, 1) is None
        assert store.figures.snapshots_failed == 2

    run(test, open_store()[0])


@pytest.mark.parametrize("digest", [b"", hashlib.sha256(b"").digest()])
def test_an_empty_snapshot_is_what_it_was_announced_as(open_store: Open, digest: bytes) -> None:
    """A group's first voters begin from an empty state, and whoever joins them then gets that."""

    async def test(store: Any, heard: Heard) -> None:
        done: list[tuple[SnapshotMeta, bool]] = []
        announced = SnapshotMeta(7, 1, MEMBERS, 0, 0, digest)
        sink = store.begin_snapshot(announced)
        sink.append(b"")
        sink.commit(lambda meta, ok: (done.append((meta, ok)), heard.took()))
        await heard.until(lambda: done, "the verdict")
        assert done == [(announced, True)]
        assert list(store.read_snapshot(announced)) == []

    run(test, open_store()[0])
    store, recovered = open_store(Beginning(SnapshotMeta(1, 1, MEMBERS), b""))
    assert recovered.snapshot.index in (1, 7)
    run(lambda store, heard: asyncio.sleep(0), store)


def test_a_log_that_begins_from_an_empty_state(open_store: Open) -> None:
    store, recovered = open_store(Beginning(SnapshotMeta(1, 1, MEMBERS), b""))
    assert recovered.snapshot == SnapshotMeta(1, 1, MEMBERS)
    run(lambda store, heard: asyncio.sleep(0), store)
    store, again = open_store(Beginning(SnapshotMeta(1, 1, MEMBERS), b""))
    assert again == recovered
    run(lambda store, heard: asyncio.sleep(0), store)


def test_older_snapshots_go_when_newer_ones_are_there(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        store.persist(batch(1, 1, 9))
        metas: list[SnapshotMeta] = []
        for index in (3, 5, 7):
            sink = store.begin_snapshot(SnapshotMeta(index, 1))
            sink.append(bytes((index,)))
            sink.commit(lambda meta, ok: (metas.append(meta), heard.took()))
            await heard.until(lambda index=index: metas and metas[-1].index == index, "the snapshot")
        assert [store.read_chunk(meta, 0, 1) for meta in metas] == [None, b"\5", b"\7"]

    run(test, open_store()[0])


def test_an_abandoned_snapshot_leaves_nothing(open_store: Open) -> None:
    async def test(store: Any, heard: Heard) -> None:
        sink = store.begin_snapshot(SnapshotMeta(3, 1))
        sink.append(b"data")
        sink.abandon()
        sink.commit(lambda meta, ok: heard.failed.append(AssertionError("called")))
        store.persist(batch(1, 1))
        await heard.until_stored(1)
        assert not heard.failed

    run(test, open_store()[0])
