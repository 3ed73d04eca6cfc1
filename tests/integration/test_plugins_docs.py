"""What docs/plugins.md shows is true: its recipes run, its configurations load, its tables name every hook, setting and metric."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.app.schema import plugins_reference
from agent.hooks import HOOKS, Context
from agent.proxy.plugin_load import bundled_names
from tests.harness.agent import ROOT, AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
RECIPES = {
    name: (code, yaml.safe_load(config))
    for name, code, config in re.findall(r"<!-- recipe: (\w+) -->\n```python\n(.*?)```\n\n```yaml\n(.*?)```", PAGE, re.DOTALL)
}


def test_the_reference_of_the_bundled_plugins_is_up_to_date() -> None:
    assert (ROOT / "docs" / "plugins-configuration.md").read_text() == plugins_reference(), (
        "pilotfish config plugins > docs/plugins-configuration.md"
    )


def test_the_page_names_every_hook_plugin_metric_and_context_method() -> None:
    for hook in (*HOOKS, "start", "stop"):
        assert f"| `{hook}(" in PAGE
    for name in bundled_names():
        assert f"(plugins-configuration.md#{name})" in PAGE
    for name in (name for name in vars(Context) if not name.startswith("_")):
        assert f"| `{name}(" in PAGE
    source = (ROOT / "agent" / "admin" / "metrics.py").read_text()
    for metric in re.findall(r'"(pilotfish_plugin_\w+)"', source):
        assert f"{metric}{{plugin" in PAGE or f"{metric}_total{{plugin" in PAGE, metric


def test_the_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        text = (ROOT / "docs" / file).read_text() if file else PAGE
        anchors = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")
        }
        assert not anchor or anchor in anchors, target


def test_the_configuration_of_the_bundled_plugins_loads(tmp_path: Path) -> None:
    shown = re.search(r"<!-- tested: bundled -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    services = {name: {"hosts": [f"{name}.test"], "endpoints": ["127.0.0.1:9"]} for name in ("web", "web-next", "shadow")}
    config = {"services": services, **yaml.safe_load(shown.group(1))}
    assert sorted(entry["name"] for entry in config["plugins"]) == bundled_names()
    file = tmp_path / "pilotfish.yaml"
    file.write_text(yaml.safe_dump(config))
    words = [sys.executable, "-m", "agent", "check", "--config", str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


def test_there_are_five_recipes_and_each_has_its_test() -> None:
    assert set(RECIPES) == set(CHECKS) and len(RECIPES) >= 5


def maintenance(agent: AgentProcess, client: RawClient, upstream: Upstream, directory: Path) -> None:
    assert client.get("/").status == 200
    (directory / "closed").touch()
    wait_until(lambda: client.get("/").status == 503, "the page to be closed")
    reply = client.get("/")
    assert (reply.body, reply.header("retry-after")) == (b"Back soon.\n", "120")
    assert client.get("/healthz").status == 200
    (directory / "closed").unlink()
    wait_until(lambda: client.get("/").status == 200, "the page to be open again")


def tenants(agent: AgentProcess, client: RawClient, upstream: Upstream, directory: Path) -> None:
    for _ in range(2):
        assert client.get("/", "ann.shop.test").status == 200
        assert client.get("/", "ann.shop.test", "X-Plan: gold").status == 200
    assert client.get("/", "localhost").status == 404
    assert [seen.header("x-tenant") for seen in upstream.requests] == ["ann", "ann"]


def security(agent: AgentProcess, client: RawClient, upstream: Upstream, directory: Path) -> None:
    for _ in range(2):
        reply = client.get("/")
        assert (reply.header("x-frame-options"), reply.header("referrer-policy")) == ("SAMEORIGIN", "no-referrer")
    assert len(upstream.requests) == 1


def selective(agent: AgentProcess, client: RawClient, upstream: Upstream, directory: Path) -> None:
    for target in ("/long", "/short", "/long?session=1"):
        for _ in range(2):
            assert client.get(target).status == 200
    assert [seen.target for seen in upstream.requests] == ["/long", "/short", "/short", "/long?session=1", "/long?session=1"]


def alarm(agent: AgentProcess, client: RawClient, upstream: Upstream, directory: Path) -> None:
    assert client.get("/fail").status == 500
    told = wait_until(lambda: [seen for seen in upstream.requests if seen.target == "/alarm"], "the alarm")[0]
    assert json.loads(told.body) == {"agent": "test-1", "failures": {upstream.address: 1}}
    assert agent.metric("pilotfish_plugin_events_total", plugin="alarm", event="server-error") == 1


CHECKS: dict[str, Callable[[AgentProcess, RawClient, Upstream, Path], None]] = {
    check.__name__: check for check in (maintenance, tenants, security, selective, alarm)
}


def handler(request: Received) -> bytes:
    if request.target == "/fail":
        return response("no", 500)
    ttl = 5 if request.target == "/short" else 60
    return response("ok", headers=[("Cache-Control", f"max-age={ttl}"), ("X-Frame-Options", "SAMEORIGIN")])


@pytest.mark.parametrize("name", CHECKS)
def test_a_recipe_does_what_it_says(name: str, tmp_path: Path) -> None:
    code, shown = RECIPES[name]
    (tmp_path / f"{name}.py").write_text(code)
    with Upstream(handler) as upstream:
        watch = {"hosts": ["watch.test"], "endpoints": [upstream.address]}
        web = {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}, "retries": {"attempts": 0}}
        config: dict[str, Any] = {"services": {"web": web, "watch": watch}, **shown}
        file = shown["plugins"][0].get("config", {})
        if "file" in file:
            file["file"] = str(tmp_path / file["file"])
        with AgentProcess(config, path=tmp_path / "pilotfish.yaml") as agent, RawClient(agent.egress) as client:
            CHECKS[name](agent, client, upstream, tmp_path)
            assert agent.get("/plugins")[0]["faults"] == 0
