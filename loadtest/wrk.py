"""The client: wrk on one thread, and what it counted."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.processes import CLIENT_CORE

LUA = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Counted:
    """What wrk saw: whole responses, seconds, bytes with heads, latency in µs, and errors by kind."""

    requests: int
    duration_s: float
    bytes: int
    p50_us: int
    p99_us: int
    errors: dict[str, int]


HOW_TO_GET = "not installed (Debian and Ubuntu: apt-get install wrk; source: https://github.com/wg/wrk)"


def present() -> bool:
    """Whether there is a wrk to run."""
    return shutil.which("wrk") is not None


def command(port: int, path: str, seconds: int, connections: int, script: str = "report.lua") -> list[str]:
    """The command line. RuntimeError where wrk is absent."""
    binary = shutil.which("wrk")
    if binary is None:
        raise RuntimeError(f"wrk: {HOW_TO_GET}")
    words = [binary, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    return [*words, "-s", str(LUA / script), f"http://127.0.0.1:{port}{path}"]


def surroundings() -> dict[str, Any]:
    """How to start it: pinned to the client's core, its output kept, its scripts told where they are."""
    return {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "LOADTEST_LUA": str(LUA)},
        "preexec_fn": lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
    }


def run(port: int, path: str, seconds: int, connections: int, script: str = "report.lua") -> Counted:
    """Load the port for so many seconds. RuntimeError where wrk is absent or fails."""
    result = subprocess.run(command(port, path, seconds, connections, script), check=False, **surroundings())
    return counted(result.stdout, result.stderr)


def counted(output: str, complaints: str = "") -> Counted:
    """What wrk's output says. RuntimeError where it says nothing."""
    line = next((line for line in output.splitlines() if line.startswith("JSON ")), "")
    if not line:
        raise RuntimeError(f"wrk failed: {output[-500:]}{complaints[-500:]}")
    told = json.loads(line[5:])
    errors = {kind: count for kind, count in told["errors"].items() if count}
    return Counted(told["requests"], told["duration_us"] / 1e6, told["bytes"], told["p50_us"], told["p99_us"], errors)
