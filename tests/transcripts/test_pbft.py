"""Each rule of Castro and Liskov's paper that the core keeps, as a dialogue with one replica."""

from pathlib import Path

import pytest

from tests.transcripts.pbft_rig import FOLDER, replay


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_replica_does_as_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text) == text, "if this is meant: python -m tests.transcripts --rewrite, and review the difference"
