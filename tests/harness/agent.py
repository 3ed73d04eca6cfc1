"""A real agent process, configured with a mapping, listening on ports that the kernel chose."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def build_directory() -> Path:
    """Where to start the process: the checkout, so that its sources run; or elsewhere, so that the installed build runs.

    `PILOTFISH_TEST_BUILD` = ``source`` (default) or ``installed``.
    """
    return Path(tempfile.gettempdir()) if os.environ.get("PILOTFISH_TEST_BUILD") == "installed" else ROOT


class AgentProcess:
    """An agent between `start` and `stop`. A context manager: it stops (and must exit with 0) at the end.

    `config` is the configuration file as a mapping; `listen` and `agent` get defaults with port 0.
    """

    def __init__(
        self, config: dict[str, Any], *, environ: dict[str, str] | None = None, path: Path | None = None, wrapper: tuple[str, ...] = ()
    ) -> None:
        self.config = {"drain": {"delay": "0s", "timeout": "5s"}, **config}
        self.config["agent"] = {"id": "test-1", **config.get("agent", {})}
        self.config["listen"] = {"egress": "127.0.0.1:0", "admin": "127.0.0.1:0", **config.get("listen", {})}
        self._directory = tempfile.TemporaryDirectory(prefix="pilotfish-test-")
        self.path = path or Path(self._directory.name) / "pilotfish.yaml"
        self.environ = environ or {}
        self.wrapper = wrapper
        """What the agent's command line is handed to; must replace itself by it (exec)."""
        self.events: list[dict[str, Any]] = []
        self.stderr: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.egress = ("", 0)
        self.admin = ("", 0)
        self.addresses: dict[str, Any] = {}

    def write(self, config: dict[str, Any] | None = None) -> None:
        """Write the configuration file, by rename as an editor does."""
        if config is not None:
            self.config = config
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        fresh.replace(self.path)

    def start(self) -> "AgentProcess":
        if not self.path.exists():
            self.write()
        self.process = subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", "agent", "agent", "--config", str(self.path)],
            cwd=build_directory(),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **self.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._collect, args=(self.process,), daemon=True).start()
        ready = wait_until(lambda: self.event("ready") or self._died(), "the agent to be ready")
        assert isinstance(ready, dict), self.stderr
        self.addresses = ready
        self.admin = _place(ready["admin"])
        if ready.get("egress") and not ready["egress"][0].startswith("unix:"):
            self.egress = _place(ready["egress"][0])
        return self

    def _died(self) -> str:
        assert self.process is not None
        return "died" if self.process.poll() is not None else ""

    def _collect(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.stderr.append(line)
            try:
                self.events.append(json.loads(line))
            except ValueError:
                continue

    def event(self, name: str) -> dict[str, Any] | None:
        """The latest log event of that name."""
        return next((event for event in reversed(self.events) if event.get("event") == name), None)

    # -- admin

    def call(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, bytes]:
        """Status and body of an admin call."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.admin[0]}:{self.admin[1]}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> Any:
        """The JSON body of an admin call that must succeed."""
        status, body = self.call(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path: str, body: Any = None) -> Any:
        status, answer = self.call(path, {} if body is None else body, "POST")
        assert status in (200, 202), (path, status, answer)
        return json.loads(answer)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.call("/metrics")[1].decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                total += float(value)
        return total

    @property
    def url(self) -> str:
        return f"http://{self.egress[0]}:{self.egress[1]}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    # -- the end

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self) -> "AgentProcess":
        try:
            return self.start()
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        process = self.process
        code = None
        if process is not None:
            killed = process.poll() is not None
            if not killed:
                process.terminate()
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            if kind is None and not killed:
                assert code == 0, (code, self.stderr[-20:])
        self._directory.cleanup()
        if kind is None:
            crashes = [line for line in self.stderr if "Traceback" in line or "Exception ignored" in line]
            assert not crashes, self.stderr[-40:]


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
