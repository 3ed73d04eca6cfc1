"""`pilotfish plugin`: what it makes passes its own tests and runs in an agent; what it lists is what loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.agent import ROOT, AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.integration.test_plugins_contract import logged


def pilotfish(*words: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "agent", *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plugins")
    done = pilotfish("plugin", "new", "rate-card", "--dir", str(directory))
    assert done.returncode == 0, done
    assert "python -m pytest" in done.stdout
    return directory / "rate-card"


def test_the_new_plugins_own_tests_pass(made: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(words, cwd=made, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "7 passed" in done.stdout, done


def test_an_agent_loads_it_by_its_path(made: Path) -> None:
    with Upstream(response("ok", headers=[("Cache-Control", "max-age=60")])) as upstream:
        config = yaml.safe_load((made / "pilotfish.yaml").read_text())
        config["services"]["web"]["endpoints"] = [upstream.address]
        config["listen"] = {}
        with AgentProcess(config, path=made / "running.yaml") as agent, RawClient(agent.egress) as client:
            assert [client.get("/").header("x-rate-card-cached") for _ in range(2)] == ["no", "yes"]
            assert upstream.requests[0].header("x-rate-card") == "hello"
            assert logged(agent, "greeted")["plugin"] == "rate-card"
            assert agent.get("/plugins")[0]["faults"] == 0


def test_its_example_configuration_is_good_and_a_mistake_in_it_is_named(made: Path) -> None:
    assert pilotfish("check", "--config", str(made / "pilotfish.yaml")).returncode == 0
    wrong = made / "wrong.yaml"
    wrong.write_text((made / "pilotfish.yaml").read_text().replace("greeting: hello", "greeting: hello, report_every: often"))
    done = pilotfish("check", "--config", str(wrong))
    assert done.returncode == 2 and "plugins[0].config.report_every: Expected `float`, got `str`" in done.stderr


@pytest.mark.parametrize("name", ["", "Rate", "1st", "a b", "../up", "a--b", "auth", "header-rules"])
def test_names_that_are_not_usable(name: str, tmp_path: Path) -> None:
    assert pilotfish("plugin", "new", name, "--dir", str(tmp_path)).returncode == 2
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(made: Path) -> None:
    before = {file: file.read_bytes() for file in made.rglob("*.py")}
    done = pilotfish("plugin", "new", "rate-card", "--dir", str(made.parent))
    assert done.returncode == 2 and "is there already" in done.stderr
    assert before == {file: file.read_bytes() for file in made.rglob("*.py")}


def test_list_shows_where_each_is_from(made: Path) -> None:
    done = pilotfish("plugin", "list", "--json", "--config", str(made / "pilotfish.yaml"))
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0 and not any(row["error"] for row in rows.values())
    assert {name for name, row in rows.items() if row["origin"] == "bundled"} == {"auth", "body_limit", "canary", "header_rules", "mirror"}
    own = rows["rate-card"]
    assert own["origin"].startswith("path: ") and own["hooks"] == ["on_request", "on_response", "on_tick"]
    assert own["summary"].startswith("What the plugin is for")
    text = pilotfish("plugin", "list").stdout
    assert "canary" in text and "on_route" in text and "rate-card" not in text


def test_list_shows_what_is_installed_and_what_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text('"""From afar."""\nfrom agent.hooks import Plugin\nclass Far(Plugin): pass\n')
    info = tmp_path / "far-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[pilotfish.plugins]\nfar = far:Far\ngone = nowhere:Gone\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "agent", "plugin", "list", "--json"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert (rows["far"]["origin"], rows["far"]["summary"]) == ("installed: far 1.2 (far:Far)", "From afar.")
    assert done.returncode == 1 and "ModuleNotFoundError" in rows["gone"]["error"]
