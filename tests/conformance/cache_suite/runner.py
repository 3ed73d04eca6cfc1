"""Where the public suite lies, and one run of it. Fetches nothing unless told to."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.harness.agent import ROOT, AgentProcess

PACKAGE = "http-cache-tests"
VERSION = "0.4.5"
FETCH_LIMIT_S = 120.0
RUNNER = Path(__file__).with_name("run.mjs")
SERVICE = {
    "hosts": ["*"],
    "retries": {"attempts": 0},  # the suite cannot read the result of a request that was tried twice
    # Its origin hangs up and errs on purpose, hundreds of times at once: what protects from that would answer in its place.
    "breaker": {"enabled": False},
    "outlier": {"enabled": False},
    "concurrency": {"enabled": False},
    "cache": {
        "enabled": True,
        "set_cookie": "pass",  # whether Set-Cookie is stored is what some tests are about
        "vary_language": "select",
    },
}


def package_folder() -> Path | None:
    """The unpacked suite: `HTTP_CACHE_TESTS`, or where `fetch` puts it; None where there is none."""
    named = os.environ.get("HTTP_CACHE_TESTS")
    folder = Path(named) if named else ROOT / ".cache" / f"{PACKAGE}-{VERSION}" / "package"
    return folder if (folder / "tests" / "index.mjs").is_file() else None


def missing() -> str:
    """Why the suite cannot run here; empty where it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if package_folder() is None:
        return f"{PACKAGE} {VERSION} is not here (python -m tests.conformance.cache_suite --fetch)"
    return ""


def fetch() -> Path:
    """Put the suite's package into .cache/ with npm's own settings. Raises SubprocessError (FETCH_LIMIT_S included) or OSError."""
    folder = ROOT / ".cache" / f"{PACKAGE}-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=FETCH_LIMIT_S)
    with tarfile.open(folder / f"{PACKAGE}-{VERSION}.tgz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def run_suite(only: str = "") -> list[dict[str, Any]]:
    """Every test's id, suite, name, kind (required, optimal, check), verdict and detail. only: one test, with its messages shown."""
    folder = package_folder()
    assert folder is not None
    node = subprocess.Popen(
        ["node", "--no-warnings", str(RUNNER), str(folder), only], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        assert node.stdin is not None and node.stdout is not None
        port = json.loads(node.stdout.readline())["port"]
        with AgentProcess({"services": {"web": {**SERVICE, "endpoints": [f"127.0.0.1:{port}"]}}}) as agent:
            node.stdin.write(agent.url + "\n")
            node.stdin.flush()
            lines = node.stdout.read().splitlines()
        if only:
            print("\n".join(lines[:-1]))
        report: list[dict[str, Any]] = json.loads(lines[-1])["report"]
        return report
    finally:
        node.kill()
        node.wait()


def tally(report: list[dict[str, Any]], kind: str) -> tuple[int, int]:
    """How many of a kind passed, of how many."""
    verdicts = [row["verdict"] for row in report if row["kind"] == kind]
    return sum(verdict == "pass" for verdict in verdicts), len(verdicts)
