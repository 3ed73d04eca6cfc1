"""The measuring tools run, and what they say can be told from what they would say of something worse."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import page, profile, tables
from loadtest.compare import Results, Sample
from loadtest.idle import StartSample

ROOT = Path(__file__).resolve().parents[2]
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


def loadtest(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", *words]
    environ = None if path is None else {"PATH": path}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False, env=environ)


@needs_wrk
@pytest.mark.slow
def test_compare_measures_what_there_is_and_names_what_there_is_not(tmp_path: Path) -> None:
    words = ("--peers", "agent-pure,envoy,haproxy,nginx", "--scenario", "hit,post", "--seconds", "1", "--rounds", "1")
    done = loadtest("compare", *words, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["versions"]) | set(results["absent"]) == {"agent-pure", "envoy", "haproxy", "nginx"}
    assert "agent-pure" in results["versions"]
    for sample in results["samples"]:
        assert sample["faults"] == []
        assert sample["cpu_us"] > 0
        if sample["scenario"] == "hit":
            assert sample["upstream_requests"] <= 10 + sample["requests"] // 1000
        else:
            assert sample["upstream_requests"] >= sample["requests"]
    for name, reason in results["absent"].items():
        assert name in done.stdout
        assert "install" in reason


@needs_wrk
@pytest.mark.slow
def test_a_group_of_agents_is_measured_and_its_leader_killed(tmp_path: Path) -> None:
    words = (
        "--groups",
        "pilotfish",
        "--interpreted",
        "--load",
        "put-c1,get-c64-spread",
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--failovers",
        "1",
    )
    done = loadtest("consensus", *words, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "consensus.json").read_text())
    assert [(sample["load"], sample["errors"]) for sample in found["samples"]] == [("put-c1", {}), ("get-c64-spread", {})]
    assert all(sample["rate"] > 0 and sample["cpu_us"] > 0 for sample in found["samples"])
    assert len(found["failovers"]) == 1
    assert "linearizable get, 64 clients over all members" in done.stdout


@pytest.mark.slow
def test_without_wrk_compare_says_how_to_get_it_and_measures_the_rest(tmp_path: Path) -> None:
    words = ("--peers", "agent-pure", "--scenario", "hit,start", "--rounds", "1", "--seconds", "1")
    done = loadtest("compare", *words, path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "apt-get install wrk" in done.stdout
    assert "idle PSS MiB" in done.stdout


@pytest.mark.slow
def test_a_short_soak_shows_no_growth(tmp_path: Path) -> None:
    done = loadtest("soak", "--seconds", "20", "--interpreted", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "soak.json").read_text())
    for kind in ("hit", "miss", "post", "left while waiting", "left in the response", "failing upstream", "cut by the upstream"):
        assert report["counts"][kind] > 0, report["counts"]
    assert report["operations"]["purges"] > 5
    assert report["operations"]["reloads"] > 5
    assert report["wrong"] == {}


@needs_wrk
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("perf") is None and not Path(sys.executable).with_name("py-spy").exists(), reason="no profiler")
def test_a_profile_says_where_the_time_goes() -> None:
    done = loadtest("profile", "--scenario", "hit", "--seconds", "2", "--interpreted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "µs of CPU a request" in done.stdout
    assert "symbols that take the most" in done.stdout


@pytest.mark.parametrize(
    "words", [("profile", "--scenario", "nothing"), ("compare", "--peers", "squid"), ("compare", "--scenario", "nothing")]
)
def test_a_name_that_there_is_none_of_is_told_in_words(words: tuple[str, ...]) -> None:
    done = loadtest(*words)
    assert done.returncode != 0
    assert "forward" in done.stderr
    assert "Traceback" not in done.stderr


def test_symbols_are_put_where_they_belong() -> None:
    report = """
# comment
    20.00%|[kernel.kallsyms]|[k] tcp_sendmsg_locked
    10.00%|loop.cpython-311-x86_64-linux-gnu.so|[.] uv__io_poll
     5.00%|abc__mypyc.cpython-311-x86_64-linux-gnu.so|[.] CPyDef_hit___answer_hit
     4.00%|libpython3.11.so.1.0|[.] _PyEval_EvalFrameDefault
     3.00%|libpython3.11.so.1.0|[.] _PyObject_Malloc
     2.00%|python3.11|[.] gc_collect_main
     1.00%|libc.so.6|[.] memcpy
"""
    kinds = [line.kind for line in profile.parse(report)]
    assert kinds == [
        "kernel",
        "libuv and uvloop",
        "our compiled functions",
        "interpreter",
        "allocation",
        "garbage collector",
        "C library",
    ]
    assert "20.0%    2.00 µs  kernel" in profile.table(profile.parse(report), 10.0)
    assert profile.innermost("a;b 3\na;c 1\n")[0].share == 0.75


def made_up() -> Results:
    machine = {"processor": "P", "cores": 2, "kernel": "6", "python": "3.11", "wrk": "wrk 4", "load_average": 0.1}
    results = Results(machine, 1, 1, {"agent": "pilotfish 0", "envoy": "1"}, {"nginx": "not installed (apt-get install nginx)"}, "nginx")
    for proxy, cpu in (("agent", 10.0), ("envoy", 25.0)):
        for scenario in ("hit", "forward"):
            results.samples.append(Sample(proxy, scenario, 0, cpu, 5e4, 900, 2000, 40_000, 45_000, 0.99, 0.2, 50_000, {}, 0, []))
        results.starts.append(StartSample(proxy, 0.3, 0.31, 0.3, 40_000, 45_000))
    return results


def test_figures_go_between_their_markers_and_nowhere_else(tmp_path: Path) -> None:
    marked = "before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n"
    for name in (page.PAGE, "README.md"):
        (tmp_path / name).write_text(marked)
    page.write(made_up(), tmp_path, tmp_path / "README.md")
    text = (tmp_path / page.PAGE).read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 0.40 " in text  # of Envoy's
    assert "Not measured: nginx" in text
    assert "Disturbed: in 2 of 4 rounds" in text
    assert "| Pilotfish " in (tmp_path / "README.md").read_text()
    with pytest.raises(ValueError, match="no markers"):
        page.replaced("nothing", "measured", "new")


def test_the_picture_is_drawn_and_the_same_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from loadtest import plot

    assert plot.save(made_up(), tmp_path / "a.svg")
    assert plot.save(made_up(), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert not plot.save(Results({}, 1, 1, {}, {}, "nginx"), tmp_path / "c.svg")


def test_a_ratio_is_of_medians() -> None:
    assert tables.ratio(made_up(), "agent", "envoy", "hit") == pytest.approx(0.4)
