"""What the store says that it takes is what the process really takes."""

import json
import subprocess
import sys

import pytest

from tests.harness.agent import ROOT

SIZE = 16 * 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "own_fields", "tags", "turns"),
    [(100, 0, 0, 1), (0, 2, 1, 1), (3000, 0, 0, 2), (20_000, 0, 0, 2)],
    ids=["small bodies", "no bodies, fields of their own, tags", "bodies kept twice", "larger bodies"],
)
def test_the_count_is_honest(body: int, own_fields: int, tags: int, turns: int) -> None:
    command = [sys.executable, "-m", "tests.unit.cache.fill_store", *map(str, (SIZE, body, own_fields, tags, turns))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    report = json.loads(result.stdout)
    assert report["counted"] <= SIZE
    # A tenth, and what the process's own noise is of so small a store.
    assert 0.86 <= report["grown"] / report["counted"] <= 1.14, report
