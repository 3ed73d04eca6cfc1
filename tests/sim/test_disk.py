"""The simulated disk keeps its word, and no more than that."""

from random import Random

import pytest

from agent.sim.disk import SECTOR, DiskConfig, SimDisk


def test_what_is_written_is_read_back_and_made_of_zeros_where_nothing_was_written() -> None:
    disk = SimDisk(Random(1))
    disk.append("log", b"one")
    disk.append("log", b"two")
    disk.write("log", 8, b"x")
    assert disk.read("log") == b"onetwo\0\0x"
    disk.truncate("log", 3)
    assert disk.read("log") == b"one"
    with pytest.raises(FileNotFoundError):
        disk.read("nothing")


def test_what_was_synchronised_survives_every_crash() -> None:
    for seed in range(200):
        disk = SimDisk(Random(seed))
        disk.append("log", b"a" * 700)
        disk.fsync("log")
        disk.fsync_folder()
        disk.append("log", b"b" * 1500)
        disk.crash()
        found = disk.read("log")
        assert found.startswith(b"a" * 700), seed
        assert set(found[700:]) <= {ord("b")}


def test_what_was_not_may_be_kept_lost_torn_or_overtaken() -> None:
    fates = set()
    for seed in range(300):
        disk = SimDisk(Random(seed))
        disk.append("log", b"")
        disk.fsync("log")
        disk.fsync_folder()
        disk.append("log", b"a" * 1000)
        disk.append("log", b"b" * 1000)
        disk.crash()
        found = disk.read("log")
        first, second = found[:1000].rstrip(b"\0"), found[1000:].rstrip(b"\0")
        assert len(found) <= 2000 and set(first) <= {ord("a")} and set(second) <= {ord("b")}
        fates.add(("whole" if len(first) == 1000 else "torn" if first else "lost", "there" if second else "lost"))
        if first and len(first) < 1000:
            assert len(first) % SECTOR == 0
    assert {("whole", "there"), ("whole", "lost"), ("torn", "lost"), ("lost", "lost"), ("lost", "there")} <= fates


def test_a_renamed_file_is_the_old_or_the_new_after_a_crash_and_the_new_once_the_folder_is_synchronised() -> None:
    seen = set()
    for seed in range(50):
        disk = SimDisk(Random(seed))
        for name, data in (("state", b"old"), ("state.new", b"new")):
            disk.append(name, data)
            disk.fsync(name)
            disk.fsync_folder()
        disk.rename("state.new", "state")
        if seed % 2:
            disk.fsync_folder()
        disk.crash()
        seen.add((seed % 2, disk.read("state")))
    assert seen == {(0, b"old"), (0, b"new"), (1, b"new")}


def test_disks_can_be_slow_and_can_lie() -> None:
    disk = SimDisk(Random(1), DiskConfig(slow_share=1.0, slow_s=3.0, lying_share=1.0))
    disk.append("log", b"data" * 300)
    assert disk.fsync("log") == 3.0
    disk.fsync_folder()
    lost = 0
    for _ in range(20):
        disk.append("log", b"more" * 300)
        disk.fsync("log")
        disk.crash()
        lost += len(disk.read("log")) < 1200
    assert lost or disk.crashes == 20


def test_one_seed_is_one_history() -> None:
    def history(seed: int) -> list[bytes]:
        disk = SimDisk(Random(seed))
        found = []
        for number in range(20):
            disk.append("log", bytes([number]) * 900)
            if number % 3 == 0:
                disk.fsync("log")
                disk.fsync_folder()
            if number % 5 == 4:
                disk.crash()
                found.append(disk.read("log"))
        return found

    assert history(3) == history(3)
    assert history(3) != history(4)
