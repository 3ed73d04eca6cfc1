"""The demo as a person sees it: in a terminal, ended in every way that there is."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.terminal import Terminal
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "agent", "demo", "--proxy", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    shown = Terminal(DEMO, ROOT)
    try:
        yield shown
    finally:
        shown.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def all_gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_the_view_is_live_and_ctrl_c_ends_everything(terminal: Terminal) -> None:
    terminal.until("curl -i http://", "what to try")
    first = int(terminal.until(r"app\s+│\s+(\d+)", "the service's row").group(1))
    wait_until(lambda: int(terminal.until(r"app\s+│\s+(\d+)", "the row again").group(1)) > first, "the requests to rise")
    started = children(terminal.process.pid)
    assert len(started) == 5
    terminal.press("\x03")
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.text
    assert re.search(r"stopped: \d+ requests, 0 failed", terminal.text)
    wait_until(lambda: all_gone(started), "every process to end")


def test_killing_an_instance_as_the_demo_suggests_shows_and_nothing_fails(terminal: Terminal) -> None:
    url = terminal.until(r"curl -i (http://\S+/chat/hello)", "a URL").group(1)
    pid = int(terminal.until(r"kill -9 (\d+)", "how to kill an instance").group(1))
    terminal.until(rf"swift \(pid {pid}\)\s+│[^│]+│\s+usable", "the instance as usable")
    os.kill(pid, signal.SIGKILL)
    terminal.until(r"swift \(gone\)\s+│[^│]+│\s+(unhealthy|ejected)", "the instance as gone")
    for _ in range(20):
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
    terminal.press("\x03")
    assert terminal.exit_code() == 0
    assert re.search(r"stopped: \d+ requests, 0 failed", terminal.text)


@pytest.mark.parametrize("how", ["SIGTERM", "the terminal closes", "SIGKILL"])
def test_no_process_is_left_behind(terminal: Terminal, how: str) -> None:
    terminal.until(r"app\s+│\s+\d+", "the view")
    started = children(terminal.process.pid)
    if how == "the terminal closes":
        terminal.hang_up()
        terminal.exit_code()
    elif how == "SIGKILL":
        terminal.process.kill()
    else:
        terminal.process.terminate()
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text
    wait_until(lambda: all_gone(started), "every process to end")


def test_an_agent_that_ends_is_told_and_ends_the_demo(terminal: Terminal) -> None:
    terminal.until(r"app\s+│\s+\d+", "the view")
    agent = next(pid for pid in children(terminal.process.pid) if b"--config" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(agent, signal.SIGKILL)
    assert terminal.exit_code() == 1
    assert "pilotfish demo: " in terminal.text
    assert "Traceback" not in terminal.text


def test_the_picture_is_of_the_real_view_and_fetches_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    done = subprocess.run([*DEMO, "--for", "3s", "--svg", str(picture)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    text = picture.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    for word in ("swift", "usable", "breaker"):
        assert word in text
    assert "url(http" not in text
    assert "\x1b[" not in done.stdout
