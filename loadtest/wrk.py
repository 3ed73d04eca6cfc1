"""The client: wrk on one thread, and what it counted."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

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


def run(port: int, path: str, seconds: int, connections: int, script: str = "report.lua") -> Counted:
    """Load the port for so many seconds. RuntimeError where wrk is absent or fails."""
    binary = shutil.which("wrk")
    if binary is None:
        raise RuntimeError("wrk is not installed (Debian: apt-get install wrk)")
    command = ["taskset", "-c", str(CLIENT_CORE), binary, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(LUA / script), f"http://127.0.0.1:{port}{path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"LOADTEST_LUA": str(LUA), "PATH": "/usr/bin:/bin"})
    line = next((line for line in result.stdout.splitlines() if line.startswith("JSON ")), "")
    if not line:
        raise RuntimeError(f"wrk failed: {result.stdout[-500:]}{result.stderr[-500:]}")
    told = json.loads(line[5:])
    errors = {kind: count for kind, count in told["errors"].items() if count}
    return Counted(told["requests"], told["duration_us"] / 1e6, told["bytes"], told["p50_us"], told["p99_us"], errors)
