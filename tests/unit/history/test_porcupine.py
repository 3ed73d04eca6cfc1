"""Every verdict of Porcupine's recorded histories."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from agent.sim.history.linearizable import check, linearizable
from agent.sim.history.models import Register, Text
from agent.sim.history.operation import dump, load
from tests.harness import porcupine

ARCHIVE = ZipFile(Path(__file__).resolve().parents[2] / "vectors" / "porcupine" / "histories.zip")
VERDICTS = dict(line.split() for line in ARCHIVE.read("verdicts.txt").decode().splitlines())
TEXTS = sorted(name for name in ARCHIVE.namelist() if name.startswith("kv-"))


def test_the_archive_is_whole() -> None:
    assert len(VERDICTS) == 51 and TEXTS == ["kv-c01-bad.txt", "kv-c01-ok.txt", "kv-c10-bad.txt", "kv-c10-ok.txt"]
    assert sum(verdict == "true" for verdict in VERDICTS.values()) == 10


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_etcd_register(name: str) -> None:
    operations = porcupine.etcd(ARCHIVE.read(name).decode())
    assert len(operations) > 50
    (verdict,) = check(operations, Register())
    assert verdict.linearizable is (VERDICTS[name] == "true")
    assert verdict.configurations < 10_000
    if not verdict.linearizable:
        # The prefix that is said to be linearizable is, and one return more is not.
        stuck = verdict.stuck
        assert stuck is not None
        before = [_cut(one, stuck.end, inclusive=False) for one in operations if one.start < stuck.end]
        through = [_cut(one, stuck.end, inclusive=True) for one in operations if one.start < stuck.end]
        assert linearizable(before, Register()) is True
        assert linearizable(through, Register()) is False


def _cut(operation: porcupine.Operation, at: float, inclusive: bool) -> porcupine.Operation:
    """As it was known up to then."""
    (copy,) = load(dump([operation]))
    if copy.end > at or (copy.end == at and not inclusive):
        copy.end = float("inf")
    return copy


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    verdicts = check(porcupine.texts(ARCHIVE.read(name).decode()), Text())
    assert verdicts[0].linearizable is ("ok" in name)
    assert sum(verdict.configurations for verdict in verdicts) < 10_000
