"""What the SDK's page says to write runs, against an API and an agent."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import client
from tests.harness.agent import AgentProcess
from tests.harness.sidecar import StateThread

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with StateThread() as state, AgentProcess({"services": {}}) as agent:
        yield {**os.environ, "PILOTFISH_API": state.address, "PILOTFISH_ADMIN": "{}:{}".format(*agent.admin), "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout and not ran.stderr


def test_every_error_is_told() -> None:
    for name in client.__all__:
        kind = getattr(client, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert f"`{name}`" in PAGE, name
