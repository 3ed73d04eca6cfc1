"""The command, used as a person uses it."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def pilotfish(*words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "agent", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_check_reports_every_error_with_its_path_and_exits_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("agent: { id: 7, colour: red }\nservices:\n  web:\n    hosts: ['*']\n    endpoints: ['nowhere']\n    cahce: {}\n")
    done = pilotfish("check", "--config", str(bad))
    assert done.returncode == 2
    said = done.stdout + done.stderr
    for path in ("agent.id", "agent.colour", "services.web.cahce"):
        assert path in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_the_example_configurations_are_good(name: str) -> None:
    done = pilotfish("check", "--config", f"config/{name}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("agent",),
        ("agent", "--config", "missing.yaml"),
        ("check", "--config", "missing.yaml"),
        ("nonsense",),
        ("status", "--admin", "127.0.0.1:1", "--once"),
    ],
)
def test_wrong_use_is_told_in_words(words: tuple[str, ...]) -> None:
    done = pilotfish(*words)
    assert done.returncode in (1, 2)
    assert done.stderr.strip() or done.stdout.strip()
    assert "Traceback" not in done.stderr + done.stdout


def test_version_and_help() -> None:
    assert re.match(r"pilotfish \d+\.\d+\.\d+ \((compiled|interpreted), Python 3\.\d+\.\d+\)", pilotfish("version").stdout)
    assert "agent" in pilotfish("--help").stdout


def test_status_of_a_running_agent() -> None:
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as agent:
            admin = f"{agent.admin[0]}:{agent.admin[1]}"
            shown = pilotfish("status", "--admin", admin, "--json")
            assert shown.returncode == 0, shown.stderr
            assert isinstance(json.loads(shown.stdout), dict)
            once = pilotfish("status", "--admin", admin, "--once")
            assert once.returncode == 0
            assert upstream.address in once.stdout


class Screen:
    """A program on a terminal of its own, and what it has written there."""

    def __init__(self, *words: str) -> None:
        self._end, inner = pty.openpty()
        termios.tcsetwinsize(inner, (60, 200))
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "60"}
        command = [sys.executable, "-m", "agent", *words]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=inner, stdout=inner, stderr=inner, env=environ, start_new_session=True)
        os.close(inner)
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while data := os.read(self._end, 65_536):
                self.text += data.decode("utf-8", "replace")

    def shows(self, *words: str) -> None:
        wait_until(lambda: all(word in self.text for word in words), f"{words} on the screen")

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._end)


def test_the_live_view_follows_the_agent_and_ends_with_ctrl_c_or_with_it() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            admin = f"{agent.admin[0]}:{agent.admin[1]}"
            with Screen("status", "--admin", admin) as screen:
                screen.shows("pilotfish agent test-1", upstream.address, "usable", "hit ratio")
                for number in range(1234):
                    client.get(f"/{number}")
                screen.shows("1234")
                agent.path.write_text("services: { web: { hosts: ['*'], endpoints: ['nowhere'], cahce: {} } }\n")
                screen.shows("configuration invalid: services.web.cahce")
                os.killpg(screen.process.pid, signal.SIGINT)
                assert screen.process.wait(20) == 130
                assert "Traceback" not in screen.text
            with Screen("status", "--admin", admin) as screen:
                screen.shows("usable")
                agent.kill()
                assert screen.process.wait(20) == 1
                screen.shows("pilotfish status: ")
                assert "Traceback" not in screen.text


def test_the_same_command_by_module_and_by_name() -> None:
    command = Path(sys.executable).with_name("pilotfish")
    if not command.exists():
        pytest.skip("the package is not installed")
    by_name = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    by_module = pilotfish("--help").stdout
    assert by_name.splitlines()[0] == by_module.splitlines()[0] == "usage: pilotfish COMMAND [options]"
    assert {"agent", "check", "status", "why"} <= {line.split()[0] for line in by_name.splitlines()[2:]}


def test_why_asks_through_the_agent_whatever_no_proxy_says() -> None:
    with Upstream(response("hello")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services}) as agent:
            words = [
                "why",
                f"http://{upstream.address}/a",
                "--proxy",
                f"127.0.0.1:{agent.egress[1]}",
                "--admin",
                f"127.0.0.1:{agent.admin[1]}",
            ]
            environ = {**os.environ, "no_proxy": "*", "http_proxy": "http://127.0.0.1:1"}
            command = [sys.executable, "-m", "agent", *words]
            done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert f"GET http://{upstream.address}/a -> 200" in done.stdout


def test_the_demo_runs_for_a_time_and_stops_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pilotfish("demo", "--for", "4s", "--proxy", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    assert done.returncode == 0, done.stderr
    assert str(port) in done.stdout  # says that the port it was to take is taken
    assert "curl" in done.stdout
    assert "\x1b[" not in done.stdout
    assert re.search(r"stopped: \d+ requests, 0 failed", done.stdout)


def test_an_interrupted_demo_leaves_no_process_behind() -> None:
    command = [sys.executable, "-m", "agent", "demo", "--proxy", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        text = ""
        for line in demo.stdout:
            text += line
            if "hit ratio" in line:
                break
        url = re.search(r"http://127\.0\.0\.1:\d+/personas/\w+", text)
        assert url is not None, text
        with urllib.request.urlopen(url.group(0)) as reply:
            assert reply.status == 200
        children = [int(pid) for pid in Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()]
        assert len(children) == 5
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(30) == 0
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "the demo's children are gone")
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
