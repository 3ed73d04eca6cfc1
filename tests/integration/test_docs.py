"""What the documentation says to type does what it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.__main__ import parser
from tests.harness.agent import AgentProcess
from tests.harness.consensus import Group
from tests.harness.fabric import AdminThread, FakeFabric, configuration, member
from tests.harness.state_rig import StateRig, state_rig
from tests.harness.upstream import Upstream, response

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Not to be run here: they install, run for long, need root, or stand for the reader's own program.
ELSEWHERE = re.compile(
    r"make (up|test)\b|pip install|pilotfish agent\b|HTTP_PROXY=|nft\b|iptables\b|table inet|chain out|type nat|meta skgid|[}]|END\b"
)
# Run by tests/integration/test_plugins_command.py in the folder that it makes.
PLUGIN = re.compile(r"pilotfish plugin new|cd rate-card|python -m pytest|pilotfish check --config pilotfish.yaml")


def shell_lines(page: Path) -> list[str]:
    """The commands of a page's shell blocks, without their comments."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [re.sub(r"\s+# .*$", "", line).strip() for block in blocks for line in block.splitlines() if line.strip()]


LINES = [(page.name, line) for page in PAGES for line in shell_lines(page)]
# These ask an agent about its cluster.
CLUSTER = re.compile(r"pilotfish cluster|curl .*/cluster\b")
HERE = [(page, line) for page, line in LINES if not ELSEWHERE.match(line) and not PLUGIN.match(line)]


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """The smallest configuration, as the README has it, on ports of its own."""
    with Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
        with AgentProcess({"services": services}) as running:
            yield running


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminThread]:
    """An agent whose cluster is as the documentation's examples have it."""
    fabric = FakeFabric()
    fabric.rows[2] = member("web-7", "b")
    fabric.round_trips["web-7"] = 0.0005
    fabric.change_keys = _everybody_follows(fabric.change_keys)  # type: ignore[method-assign]
    with AdminThread(configuration(tmp_path_factory.mktemp("clustered")), fabric) as running:
        running.do(lambda: fabric.emit("join", "web-7"))
        yield running


@pytest.fixture(scope="module")
def state() -> Iterator[StateRig]:
    """The state API with what the examples suppose to be there."""
    with state_rig() as running:
        running.ask("PUT", "/v1/kv/config/colour", b"blue")
        running.ask("POST", "/v1/locks/reindex-held", {"ttl": "60s"})
        yield running


@pytest.fixture(scope="module")
def grouped() -> Iterator[Group]:
    """A group of one agent."""
    with Group("a", consensus={"voters": 1}) as running:
        running.leader("a")
        yield running


def _everybody_follows(change: Any) -> Any:
    async def changed(op: str, key: str) -> Any:
        return {**await change(op, key), "acknowledged": 3, "of": 3, "errors": {}}

    return changed


@pytest.mark.parametrize(("page", "line"), HERE, ids=[f"{page}: {line[:60]}" for page, line in HERE])
def test_a_documented_command_works(
    page: str, line: str, agent: AgentProcess, clustered: AdminThread, state: StateRig, request: pytest.FixtureRequest
) -> None:
    if line.startswith("python -m loadtest "):
        parser().parse_args(line.split()[3:])  # running them takes minutes
        return
    admin, proxy = f"{agent.admin[0]}:{agent.admin[1]}", f"{agent.egress[0]}:{agent.egress[1]}"
    if CLUSTER.search(line):
        admin = clustered.address
    if "/consensus" in line:
        group: Group = request.getfixturevalue("grouped")
        admin = "{}:{}".format(*group.agents["a"].admin)
    command = line.replace("127.0.0.1:15020", admin).replace("127.0.0.1:15001", proxy)
    endless = "/cluster/events" in line or "cluster events" in line or line.startswith("curl -N")
    if ":15030" in line:
        if "/v1/cas" in line:
            state.ask("PUT", "/v1/kv/config/colour", b"blue")  # what the example before it did
        command = command.replace("127.0.0.1:15030", state.api.address)
    command = re.sub(r"^curl ", "curl -sS --fail --max-time 3 " if endless else "curl -sS --fail ", command)
    if command.startswith("pilotfish "):
        command = command.replace("pilotfish", f"{sys.executable} -m agent", 1)
        command += f" --admin http://{admin}" if " check " not in command else ""
        command += f" --proxy http://{proxy}" if " why " in command else ""
        command += " --count 1" if endless else ""
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or (endless and done.returncode == 28), done.stdout + done.stderr  # 28: curl's own limit
    assert done.stdout.strip()


def test_there_are_commands_and_none_is_passed_over_by_mistake() -> None:
    assert len(HERE) >= 10
    known = ("curl ", "pilotfish ", "python -m loadtest ", "make picture")
    for page, line in HERE:
        assert line.startswith(known), f"{page}: {line!r} is neither run here nor known to be run elsewhere"


def test_the_readmes_configuration_is_the_minimal_one() -> None:
    block = re.search(r"```yaml\n# config/minimal.yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    import yaml

    assert yaml.safe_load(block.group(1)) == yaml.safe_load((ROOT / "config" / "minimal.yaml").read_text(encoding="utf-8"))
