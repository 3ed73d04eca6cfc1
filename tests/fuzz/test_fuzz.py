"""The fuzz targets: the kept corpus and seeded mutations of it everywhere, and a short run of atheris where it is installed."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = 400
SPLICES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 1\r\n",
    b"\xff",
]


def kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = chance.choice(SPLICES)
        elif kind == 1:
            del data[at : at + chance.randint(1, 8)]
        elif kind == 2 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            start = chance.randint(0, len(data))
            data[at:at] = data[start : start + 40]
    return bytes(data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_kept_corpus_passes(name: str) -> None:
    cases = kept(name)
    assert cases, "every target has a corpus"
    for case in cases:
        TARGETS[name](case)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeded_mutations_pass(name: str) -> None:
    chance = random.Random(f"pilotfish {name}")
    cases = kept(name)
    for _ in range(MUTATIONS):
        case = mutated(chance.choice(cases), chance)
        try:
            TARGETS[name](case)
        except Exception as error:
            raise AssertionError(f"{name} fails on {case!r}") from error


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_short_run_of_atheris_finds_nothing(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    command = [sys.executable, "-m", "tests.fuzz.run", name, "-runs=2000", "-seed=7", f"-artifact_prefix={tmp_path}/", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
