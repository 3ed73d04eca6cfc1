"""The log on a real disk: opened again, killed, full, failing, damaged."""

import asyncio
import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.replica.log import HardState, Recovered, SnapshotMeta
from agent.core.wal.disk import Op, SyncFolder, Write
from agent.core.wal.errors import WalCorrupt, WalFailed
from agent.core.wal.log import WalConfig
from agent.runtime.log import Logger
from agent.runtime.wal.folder import RealFolder, WalInUse
from agent.runtime.wal.store import Wal
from tests.harness.wal import Heard, batch

SMALL = WalConfig(segment_bytes=4096, fill_bytes=1024)


def opened(folder: Path, config: WalConfig = SMALL) -> tuple[Wal, Recovered]:
    return Wal.open(folder, "blue", lambda: random.randrange(1, 2**53), Logger("error"), config=config)


def write(folder: Path, count: int, config: WalConfig = SMALL) -> Wal:
    async def main() -> Wal:
        wal, recovered = opened(folder, config)
        heard = Heard()
        wal.start(heard)
        first = recovered.entries[-1].index + 1 if recovered.entries else recovered.snapshot.index + 1
        for number in range(1, count + 1):
            wal.persist(batch(number, first + number - 1))
            if number % 4 == 0:
                await heard.until_stored(number)
        await heard.until_stored(count)
        await wal.close()
        return wal

    return asyncio.run(main())


def close(wal: Wal) -> None:
    asyncio.run(wal.close())


def test_what_was_stored_is_there_when_it_is_opened_again_under_the_same_id(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "log", 100)
    wal, recovered = opened(tmp_path / "a" / "log")
    close(wal)
    assert [entry.index for entry in recovered.entries] == list(range(1, 101))
    assert recovered.hard == HardState(1, 7, 99)
    assert wal.me == first.me
    assert len(list((tmp_path / "a" / "log").glob("*.wal"))) == 3
    assert (tmp_path / "a" / "log").stat().st_mode & 0o77 == 0


def test_many_batches_are_few_synchronisations(tmp_path: Path) -> None:
    async def main() -> tuple[Wal, int]:
        wal, _ = opened(tmp_path / "log", WalConfig())
        heard = Heard()
        wal.start(heard)
        for number in range(1, 1001):
            wal.persist(batch(number, number))
        await heard.until_stored(1000)
        syncs = wal._folder.syncs
        await wal.close()
        return wal, syncs

    wal, syncs = asyncio.run(main())
    assert wal.figures.persists == 1000
    assert syncs < 200, "the thread writes what has been queued while it was busy in one write"
    close(opened(tmp_path / "log")[0])


WRITER = """
import asyncio, sys
from pathlib import Path
from agent.core.wal.log import WalConfig
from agent.core.replica.log import SnapshotMeta
from agent.runtime.log import Logger
from agent.runtime.wal.store import Wal
from tests.harness.wal import Heard, batch

async def main():
    wal, recovered = Wal.open(Path(sys.argv[1]), "blue", lambda: 5, Logger("error"), config=WalConfig(segment_bytes=65536, fill_bytes=8192))
    first = recovered.entries[-1].index + 1 if recovered.entries else recovered.snapshot.index + 1
    print("first", first, flush=True)
    heard = Heard()
    wal.start(heard)
    def stored(number):
        print(first + number - 1, flush=True)
        heard._changed.set()
        heard.numbers.append(number)
    heard.stored = stored
    for number in range(1, 1_000_000):
        wal.persist(batch(number, first + number - 1, octets=number % 700))
        if number % 5 == 0:
            await heard.until_stored(number - 3)
        if number % 400 == 0:
            sink = wal.begin_snapshot(SnapshotMeta(first + number - 200, 1))
            sink.append(b"state" * 1000)
            sink.commit(lambda meta, ok: wal.compact(meta.index - 50))

asyncio.run(main())
"""


def test_killed_while_writing_it_has_everything_that_it_had_reported(tmp_path: Path) -> None:
    reported = 0
    for life in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        word, _, first = process.stdout.readline().partition(" ")
        assert word == "first" and int(first) > reported
        for _ in range(150 + 77 * life):
            reported = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        # The last line may be cut short by the kill.
        reported = max([reported, *map(int, rest[:-1])])
    wal, recovered = opened(tmp_path)
    close(wal)
    last = recovered.entries[-1].index
    assert last >= reported
    assert [entry.index for entry in recovered.entries] == list(range(recovered.snapshot.index + 1, last + 1))
    assert recovered.snapshot.index > 0
    assert all(set(entry.data) <= {entry.data[0]} for entry in recovered.entries if entry.data)


def test_strace_counts_the_writes_that_are_made_durable(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    program = (
        WRITER.replace("range(1, 1_000_000)", "range(1, 501)").replace("number % 5 == 0", "number == 500").replace("number - 3", "number")
    )
    command = [
        "strace",
        "-f",
        "-o",
        str(trace),
        "-e",
        "trace=pwritev2,pwritev,fsync,fdatasync",
        sys.executable,
        "-c",
        program,
        str(tmp_path / "log"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode and "ptrace" in ran.stderr.lower():
        pytest.skip(f"strace may not trace here: {ran.stderr.strip()[:100]}")
    assert ran.returncode == 0, ran.stderr
    lines = trace.read_text().splitlines()
    durable = [line for line in lines if "RWF_DSYNC" in line or "fdatasync(" in line or "fsync(" in line]
    assert 5 < len(durable) < 200, "500 persists"


def test_where_the_one_call_is_not_known_two_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def unknown(*_: object) -> int:
        calls.append("pwritev")
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def synced(file: int) -> None:
        calls.append("fdatasync")
        os.fsync(file)

    monkeypatch.setattr("agent.runtime.wal.folder.os.pwritev", unknown)
    monkeypatch.setattr("agent.runtime.wal.folder._datasync", synced)
    write(tmp_path, 40)
    assert calls.count("pwritev") == 1 and calls.count("fdatasync") >= 10
    wal, recovered = opened(tmp_path)
    close(wal)
    assert len(recovered.entries) == 40


def test_two_never_have_one_log(tmp_path: Path) -> None:
    wal, _ = opened(tmp_path)
    with pytest.raises(WalInUse, match="in another process"):
        opened(tmp_path)
    close(wal)
    close(opened(tmp_path)[0])


def test_another_groups_log_is_refused(tmp_path: Path) -> None:
    close(opened(tmp_path)[0])
    with pytest.raises(WalCorrupt) as refused:
        Wal.open(tmp_path, "green", lambda: 1, Logger("error"))
    assert refused.value.reason == "group"
    assert "move the folder away" in str(refused.value)
    close(opened(tmp_path)[0])


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 300)
    segments = sorted(tmp_path.glob("*.wal"))
    assert len(segments) > 5
    segments[2].unlink()
    with pytest.raises(WalCorrupt) as refused:
        opened(tmp_path)
    assert refused.value.reason == "missing_segment"


# -- a full disk, and a failing one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"

    async def main() -> int:
        wal, _ = opened(small_disk / "log")
        heard = Heard()
        wal.start(heard)
        wal.persist(batch(1, 1))
        await heard.until_stored(1)
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 8192))
        number = 1
        while not heard.writable:
            number += 1
            wal.persist(batch(number, number, octets=1500))
            await asyncio.sleep(0.001)
            assert number < 1000
        assert heard.writable == [False] and wal.figures.full == 1
        before = heard.numbers[-1]
        for extra in range(10):
            wal.persist(batch(number + 1 + extra, number + 1 + extra))
        assert heard.numbers[-1] == before < number
        ballast.unlink()
        await heard.until_stored(number + 10)
        assert heard.writable == [False, True] and not heard.failed
        await wal.close()
        return number + 10

    last = asyncio.run(main())
    wal, recovered = opened(small_disk / "log")
    close(wal)
    assert [entry.index for entry in recovered.entries] == list(range(1, last + 1))


def test_closed_or_killed_while_the_disk_is_full_it_has_what_was_acknowledged(small_disk: Path) -> None:
    async def main() -> tuple[int, int]:
        wal, _ = opened(small_disk / "log")
        heard = Heard()
        wal.start(heard)
        number = 0
        while not heard.writable:
            number += 1
            wal.persist(batch(number, number, octets=1500))
            await asyncio.sleep(0.001)
        await wal.close()
        return heard.numbers[-1], number

    stored, tried = asyncio.run(main())
    wal, recovered = opened(small_disk / "log")
    close(wal)
    assert stored <= recovered.entries[-1].index < tried


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from agent.core.wal.log import WalConfig
from agent.runtime.log import Logger
from agent.runtime.wal.store import Wal
from tests.harness.wal import Heard, batch

async def main():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    wal, _ = Wal.open(Path(sys.argv[1]), "blue", lambda: 5, Logger("error"), config=WalConfig(fill_bytes=4096))
    heard = Heard()
    wal.start(heard)
    number = 0
    while not heard.writable:
        number += 1
        wal.persist(batch(number, number, octets=3000))
        await heard.until(lambda: heard.writable or heard.numbers and heard.numbers[-1] == number, "an answer")
    assert heard.numbers[-1] < number and not heard.failed
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await heard.until_stored(number)
    assert heard.writable == [False, True]
    await wal.close()
    print(number)

asyncio.run(main())
"""


def test_a_file_that_may_grow_no_further_is_a_full_disk(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    wal, recovered = opened(tmp_path)
    close(wal)
    assert [entry.index for entry in recovered.entries] == list(range(1, int(ran.stdout) + 1))


class FailingFolder(RealFolder):
    """Fails as told."""

    error: int | None = None
    where: type[Any] = Write

    def run(self, op: Op) -> None:
        if self.error is not None and isinstance(op, self.where):
            if isinstance(op, Write):
                # As a short write, or a write whose synchronisation failed, leaves it.
                super().run(Write(op.name, op.offset, op.data[: len(op.data) // 2], sync=False))
            raise OSError(self.error, os.strerror(self.error))
        super().run(op)


@pytest.mark.parametrize(("error", "where"), [(errno.EIO, Write), (errno.EROFS, Write), (errno.ENOSPC, SyncFolder)])
def test_a_disk_that_fails_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, where: type[Any]) -> None:
    monkeypatch.setattr("agent.runtime.wal.store.RealFolder", FailingFolder)

    async def main() -> None:
        wal, _ = opened(tmp_path)
        heard = Heard()
        wal.start(heard)
        wal.persist(batch(1, 1))
        await heard.until_stored(1)
        folder = wal._folder
        assert isinstance(folder, FailingFolder)
        folder.where, folder.error = where, error
        for number in range(2, 100):
            wal.persist(batch(number, number, octets=500))
            await heard.until(lambda number=number: heard.failed or heard.numbers[-1] == number, "an end")
        assert heard.failed
        assert isinstance(heard.failed[0], WalFailed) and os.strerror(error) in str(heard.failed[0])
        folder.error = None
        stored = heard.numbers[-1]
        wal.persist(batch(100, 100))
        await asyncio.sleep(0.05)
        assert heard.numbers[-1] == stored and len(heard.failed) == 1
        await wal.close()

    asyncio.run(main())
    wal, recovered = opened(tmp_path)
    close(wal)
    assert recovered.entries[0].index == 1


def test_space_that_comes_and_goes_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.wal.store.RealFolder", FailingFolder)
    monkeypatch.setattr("agent.runtime.wal.writer.RETRY_S", 0.01)

    async def main() -> None:
        wal, _ = opened(tmp_path)
        heard = Heard()
        wal.start(heard)
        folder = wal._folder
        assert isinstance(folder, FailingFolder)
        for turn in range(12):
            folder.error = errno.ENOSPC
            for number in range(turn * 20 + 1, turn * 20 + 21):
                wal.persist(batch(number, number, octets=300))
            await heard.until(lambda turn=turn: heard.writable.count(False) == turn + 1, "the disk to be full")
            assert not heard.numbers or heard.numbers[-1] <= turn * 20
            folder.error = None
            await heard.until_stored(turn * 20 + 20)
        assert heard.writable == [False, True] * 12
        await wal.close()

    asyncio.run(main())
    wal, recovered = opened(tmp_path)
    close(wal)
    assert [entry.index for entry in recovered.entries] == list(range(1, 241))


# -- compaction


def test_an_own_snapshot_may_be_ahead_of_the_log(tmp_path: Path) -> None:
    """A disk that was full holds less than what others have committed and the state machine has applied."""
    folder = tmp_path / "log"

    async def main() -> None:
        wal, _ = opened(folder)
        heard = Heard()
        wal.start(heard)
        wal.persist(batch(1, 1, 3))
        await heard.until_stored(1)
        taken: list[bool] = []
        sink = wal.begin_snapshot(SnapshotMeta(5, 1))
        sink.append(b"the state after 5")
        sink.commit(lambda meta, ok: (taken.append(ok), heard.took())[1])
        await heard.until(lambda: taken, "the snapshot")
        wal.persist(batch(2, 4, 4))
        await heard.until_stored(2)
        assert not heard.failed
        await wal.close()

    asyncio.run(main())
    wal, recovered = opened(folder)
    close(wal)
    assert recovered.snapshot.index == 5
    assert [entry.index for entry in recovered.entries] == [6, 7]


def test_compaction_deletes_segments_and_keeps_what_an_older_snapshot_needs(tmp_path: Path) -> None:
    async def main() -> list[SnapshotMeta]:
        wal, _ = opened(tmp_path)
        heard = Heard()
        wal.start(heard)
        metas: list[SnapshotMeta] = []
        for number in range(1, 301):
            wal.persist(batch(number, number))
            if number % 100 == 0:
                await heard.until_stored(number)
                sink = wal.begin_snapshot(SnapshotMeta(number - 10, 1))
                sink.append(b"state")
                sink.commit(lambda meta, ok: (metas.append(meta), heard.took()))
                await heard.until(lambda number=number: metas and metas[-1].index == number - 10, "the snapshot")
                wal.compact(number - 20)
        wal.persist(batch(301, 301))
        await heard.until_stored(301)
        await wal.close()
        return metas

    metas = asyncio.run(main())
    segments = sorted(path.name for path in tmp_path.glob("*.wal"))
    assert segments[0] > f"{1:016x}.wal"
    wal, recovered = opened(tmp_path)
    close(wal)
    assert recovered.snapshot == metas[-1]
    assert [entry.index for entry in recovered.entries] == list(range(291, 302))
    # The newest is damaged: the one before is used, and the log reaches back to it.
    newest = max(tmp_path.glob("*.snap"))
    newest.write_bytes(b"x" + newest.read_bytes()[1:])
    wal, recovered = opened(tmp_path)
    assert wal.figures.bad_snapshots == 1
    close(wal)
    assert recovered.snapshot == metas[-2]
    assert [entry.index for entry in recovered.entries] == list(range(191, 302))
    for path in tmp_path.glob("*.snap"):
        path.unlink()
    with pytest.raises(WalCorrupt) as refused:
        opened(tmp_path)
    assert refused.value.reason == "snapshot"


def test_a_snapshot_of_anothers_takes_the_place_of_the_log_when_it_is_installed(tmp_path: Path) -> None:
    data = b"state" * 100
    meta = SnapshotMeta(50, 3, size=len(data), digest=hashlib.sha256(data).digest())

    async def main() -> None:
        wal, _ = opened(tmp_path)
        heard = Heard()
        wal.start(heard)
        for number in range(1, 11):
            wal.persist(batch(number, number))
        sink = wal.begin_snapshot(meta)
        sink.append(data[:100])
        sink.append(data[100:])
        done: list[bool] = []
        sink.commit(lambda _, ok: (done.append(ok), heard.took()))
        await heard.until(lambda: done, "the snapshot")
        assert done == [True]
        # The state machine takes it over; the log goes on as it was until then.
        wal.persist(batch(11, 11))
        await heard.until_stored(11)
        wal.install(meta)
        wal.persist(batch(12, 51, count=5, term=3))
        await heard.until_stored(12)
        wal.compact(50)
        wal.persist(batch(13, 56, term=3))
        await heard.until_stored(13)
        await wal.close()

    asyncio.run(main())
    wal, recovered = opened(tmp_path)
    assert b"".join(wal.read_snapshot(recovered.snapshot)) == data
    close(wal)
    assert recovered.snapshot == meta and recovered.hard == HardState(3, 7, 55)
    assert [(entry.index, entry.term) for entry in recovered.entries] == [(index, 3) for index in range(51, 57)]


def test_the_close_of_a_log_lets_its_folder_go(tmp_path: Path) -> None:
    write(tmp_path, 3)

    def held() -> list[str]:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return [link for link in links if os.path.lexists(link) and str(tmp_path) in os.readlink(link)]

    assert not held()


# -- `pilotfish wal`


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "agent", "wal", *words], capture_output=True, text=True, check=False)


def test_the_command_verifies_and_prints_a_log_and_says_the_way_out_of_damage(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    write(folder, 100)
    good = command("verify", str(folder))
    assert good.returncode == 0, good.stderr
    assert "group 'blue'" in good.stdout and "term 1, committed 99, snapshot 0, last entry 100" in good.stdout
    records = command("dump", str(folder)).stdout
    assert "head      group 'blue'" in records and "entries 100 to 100 of term 1, 64 octets, command" in records
    found = json.loads(command("verify", "--json", str(folder)).stdout)
    assert found["damage"] is None and found["recovery"]["recovered"]["entries"] == 100
    segment = sorted(folder.glob("*.wal"))[1]
    octets = bytearray(segment.read_bytes())
    octets[600] ^= 1
    segment.write_bytes(octets)
    bad = command("verify", str(folder))
    assert bad.returncode == 1
    assert f"damaged (checksum): {segment.name}, offset" in bad.stdout and "move the folder away" in bad.stdout
    assert "damaged:" in command("dump", str(segment)).stdout
    assert segment.read_bytes() == octets
    with pytest.raises(WalCorrupt, match=segment.name):
        opened(folder)
    none = command("verify", str(tmp_path))
    assert none.returncode == 1 and "no log here" in none.stdout
    assert command("verify", str(tmp_path / "nothing")).returncode == 2
