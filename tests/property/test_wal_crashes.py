"""Whatever a crash leaves on the disk: everything that was reported stored is there, in order, and nothing that was never written."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.wal.disk import Remove, Rename, Sync, SyncFolder, Truncate, Write
from agent.core.wal.errors import WalCorrupt
from agent.core.wal.opening import Opened
from agent.sim.folder import PowerLoss, SimFolder
from tests.property.wal_model import Life

Op = Write | Truncate | Sync | SyncFolder | Rename | Remove


@settings(max_examples=400)
@given(seed=st.integers(0, 2**48), crashes=st.lists(st.integers(0, 90), min_size=1, max_size=4))
def test_what_was_stored_is_recovered_after_every_crash(seed: int, crashes: list[int]) -> None:
    lead(Life(Random(seed)), crashes)


def lead(life: Life, crashes: list[int]) -> None:
    """A life with so many crashes, each after so many operations of the disk."""
    created = False
    for steps in crashes:
        try:
            opened = life.open(steps)
            check(life, opened, created)
            life.adopt(opened)
            created = True
            life.live(60)
        except PowerLoss:
            pass
        life.disk.crash()
    check(life, life.open(None), created)


def check(life: Life, opened: Opened, created: bool) -> None:
    possible = [life.surely, *life.perhaps]
    if created:
        assert opened.me == life.me
        assert opened.recovered in [model.expected() for model in possible]
    else:
        assert opened.recovered.entries == () and opened.recovered.snapshot.index == life.bootstrapped


def without_sync(op: Op) -> Op | None:
    return Write(op.name, op.offset, op.data, sync=False) if isinstance(op, Write) else op


def without_folder_sync(op: Op) -> Op | None:
    return None if isinstance(op, SyncFolder) else op


def without_cutting_off(op: Op) -> Op | None:
    return None if isinstance(op, Truncate) else op


@pytest.mark.parametrize("broken", [without_sync, without_folder_sync, without_cutting_off])
def test_a_log_that_is_broken_on_purpose_is_found_out(monkeypatch: pytest.MonkeyPatch, broken: Callable[[Op], Op | None]) -> None:
    whole = SimFolder.run

    def run(folder: SimFolder, op: Op) -> None:
        changed = broken(op)
        if changed is not None:
            whole(folder, changed)

    monkeypatch.setattr(SimFolder, "run", run)
    random = Random(1)
    for _ in range(300):
        try:
            lead(Life(Random(random.randrange(2**32))), [random.randrange(100) for _ in range(4)])
        except (AssertionError, WalCorrupt, FileNotFoundError):
            return
    raise AssertionError("nobody noticed")
