"""``pilotfish simulate``, used as a person uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", "simulate", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_a_table_and_json_of_the_same_run() -> None:
    words = ("swim", "--nodes", "10", "--minutes", "1", "--seed", "5", "--scenario", "crash")
    table = simulate(*words)
    assert table.returncode == 0, table.stderr
    assert "first confirmed dead" in table.stdout and "octets / member / s" in table.stdout
    assert "for a member and simulated second" in table.stdout
    report = json.loads(simulate(*words, "--json").stdout)
    assert report["crashes"] == report["detected"] >= 1
    assert report["plan"]["seed"] == 5
    assert report["trace"] in table.stdout


def test_a_preset_can_be_changed_field_by_field() -> None:
    words = ("swim", "--nodes", "6", "--minutes", "0.2", "--scenario", "steady", "--json")
    default = json.loads(simulate(*words).stdout)
    faster = json.loads(simulate(*words, "--set", "probe_interval_s=0.15", "--set", "probe_timeout_s=0.1").stdout)
    assert faster["packets_s"] > 1.8 * default["packets_s"]
    refused = simulate(*words, "--set", "probe_intervals=1")
    assert refused.returncode == 2 and "'probe_intervals'" in refused.stderr
    refused = simulate(*words, "--set", "probe_timeout_s=5")
    assert refused.returncode == 2 and "probe_timeout_s: found 5.0" in refused.stderr


def test_settings_are_compared_in_one_run() -> None:
    done = simulate("swim", "--nodes", "6", "--minutes", "0.2", "--compare", "--json", "--scenario", "loss")
    assert [run["plan"]["setting"] for run in json.loads(done.stdout)] == ["ours", "lifeguard", "plain", "phi"]


def test_a_plot_is_drawn_where_matplotlib_is_or_its_absence_said(tmp_path: Path) -> None:
    picture = tmp_path / "run.svg"
    done = simulate("swim", "--nodes", "10", "--minutes", "0.7", "--plot", str(picture))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert done.returncode == 2 and "matplotlib" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "<svg" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("raft?",), ("swim", "--nodes", "0"), ("swim", "--scenario", "war"), ("swim", "--preset", "moon")])
def test_wrong_use_is_told_in_words(words: tuple[str, ...]) -> None:
    done = simulate(*words)
    assert done.returncode == 2
    assert done.stderr and "Traceback" not in done.stderr
