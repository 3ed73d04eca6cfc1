"""Plugins that raise, are slow, or answer nonsense: requests go on, the plugin is counted and switched off; a required one fails
the request instead."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.agent import ROOT, AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until
from tests.integration.test_plugins_contract import logged, plugin, stored, web

HOOKS = {
    "on_request": "def on_request(self, request): {}",
    "on_request_body": "def on_request(self, request): return RequestChanges(copy_body_bytes=9)\n"
    "def on_request_body(self, request, body): {}",
    "on_route": "def on_route(self, request): {}",
    "on_response": "def on_response(self, request, response): {}",
    "on_upstream_result": "def on_upstream_result(self, result): {}",
    "on_cache_store": "def on_cache_store(self, store): {}",
}
LIMIT = 3


def ask(agent: AgentProcess, count: int) -> list[int]:
    with RawClient(agent.egress) as client:
        return [client.get(f"/{number}").status for number in range(count)]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_raises_is_isolated_and_switched_off(hook: str, tmp_path: Path) -> None:
    body = HOOKS[hook].format("raise RuntimeError('broken')")
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, faults_max=LIMIT)]}
        with AgentProcess(config) as agent:
            assert ask(agent, 6) == [200] * 6
            (row,) = agent.get("/plugins")
            assert (row["enabled"], row["faults"]) == (False, LIMIT)
            assert "broken" in row["last_fault"] and hook in row["last_fault"] and "probe.py" in row["last_fault"]
            assert agent.metric("pilotfish_plugin_faults_total", plugin="probe") == LIMIT
            assert agent.metric("pilotfish_plugin_enabled", plugin="probe") == 0
            event = logged(agent, "plugin switched off")
            assert (event["plugin"], event["faults"], event["level"]) == ("probe", LIMIT, "warning")
            assert agent.get("/status")["plugins"]["probe"]["enabled"] is False
            assert agent.get("/readyz")["ready"] is True


def test_on_tick_that_raises_is_switched_off(tmp_path: Path) -> None:
    body = "def on_tick(self, now): raise KeyError('tick')"
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, faults_max=1, required=False)]}
        with AgentProcess(config) as agent:
            assert "on_tick: KeyError('tick')" in logged(agent, "plugin switched off")["last"]
            assert ask(agent, 1) == [200]


@pytest.mark.parametrize("what", ["raise SystemExit(3)", "raise KeyboardInterrupt", "import asyncio; raise asyncio.CancelledError"])
def test_a_plugin_cannot_end_the_agent(what: str, tmp_path: Path) -> None:
    body = f"""
def on_request(self, request):
    self.context.background(self.work)
    {what}
async def work(self):
    {what}
def on_tick(self, now):
    {what}
def stop(self):
    {what}
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, faults_max=1000)]}
        with AgentProcess(config) as agent:
            assert ask(agent, 3) == [200] * 3
            wait_until(lambda: agent.get("/plugins")[0]["faults"] >= 6, "faults of hooks and of work")
            # Not every fault is logged: which ones depends on how hooks and background work took turns.
            wait_until(
                lambda: ask(agent, 1) == [200] and "background work failed" in str(agent.get("/plugins")) + str(agent.events),
                "a fault of background work",
            )


def test_a_slow_hook_counts_and_what_it_said_still_holds(tmp_path: Path) -> None:
    body = "def on_request(self, request): return RequestChanges(set_headers={'X-A': '1'})"
    with Upstream(stored()) as upstream:
        slow = plugin(tmp_path, body, budget="0s", faults_max=LIMIT)  # whatever it takes is too long
        with AgentProcess({"services": {"web": web(upstream)}, "plugins": [slow]}) as agent:
            assert ask(agent, 5) == [200] * 5
            assert [seen.header("x-a") for seen in upstream.requests] == ["1", "1", "1", None, None]
            (row,) = agent.get("/plugins")
            assert (row["slow"], row["enabled"]) == (LIMIT, False) and "its budget is 0.0 ms" in row["last_fault"]


REQUEST_NONSENSE = {
    "{'status': 200}": "returned dict",
    "Answer(42)": "status 42",
    "Answer('200')": "status '200'",
    "Answer(200, body='text')": "body of type str",
    "Answer(200, {'Content-Length': '5'})": "Content-Length",
    "Answer(200, {'X-A': 'b\\r\\nX-C: d'})": "field line",
    "RequestChanges(set_headers={'Host': 'evil.test'})": "Host",
    "RequestChanges(set_headers={'Transfer-Encoding': 'chunked'})": "Transfer-Encoding",
    "RequestChanges(set_headers={'X A': 'b'})": "field line",
    "RequestChanges(set_headers={'X-A': 5})": "AttributeError",
    "RequestChanges(remove_headers=('Content-Length',))": "content-length",
    "RequestChanges(service='nowhere')": "nowhere",
    "RequestChanges(body_bytes_max='many')": "many",
}
RESPONSE_NONSENSE = {
    "'later'": "returned str",
    "ResponseChanges(set_headers={'X-A': '1', 'Content-Length': '1'})": "Content-Length",
    "ResponseChanges(set_headers={'X-A': '1', 'Connection': 'close'})": "Connection",
    "ResponseChanges(set_headers={'X-A': '1', 'Age': '9'})": "Age",
    "ResponseChanges(set_headers={'X-A': 'b\\r\\nX-C: d'})": "field line",
}


@pytest.mark.parametrize(
    ("head", "cases"),
    [("def on_request(self, request):", REQUEST_NONSENSE), ("def on_response(self, request, response):", RESPONSE_NONSENSE)],
)
def test_nonsense_is_a_fault_and_changes_nothing(head: str, cases: dict[str, str], tmp_path: Path) -> None:
    body = f"{head} return [{', '.join(cases)}][int(request.path[1:])]"
    with Upstream(stored("hello")) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, faults_max=1000)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            faults = 0
            for number, message in enumerate(cases.values()):
                for _ in range(2):  # from the upstream, and from the store
                    reply = client.get(f"/{number}")
                    names = ("content-length", "connection", "x-a", "x-c")
                    assert (reply.status, reply.body, *map(reply.header, names)) == (200, b"hello", "5", None, None, None)
                    faults += 1
                    row = agent.get("/plugins")[0]
                    assert row["faults"] == faults and message in row["last_fault"]
                assert len(reply.header("age") or "") == 1 and upstream.requests[-1].header("host") == "test"
            assert len(upstream.requests) == len(cases)
            assert not any(seen.header("x-a") for seen in upstream.requests)


@pytest.mark.parametrize("hook", ["on_request", "on_route", "on_response"])
def test_a_required_plugin_fails_closed_and_is_never_switched_off(hook: str, tmp_path: Path) -> None:
    body = HOOKS[hook].format("raise RuntimeError('broken')")
    with Upstream(stored("secret")) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, required=True, faults_max=1)]}
        with AgentProcess(config) as agent:
            for _ in range(2):
                assert ask(agent, 3) == [500] * 3
            with RawClient(agent.egress) as client:
                reply = client.get("/0")
                assert reply.header("x-pilotfish-reason") == "PL" and b"required plugin probe failed" in reply.body
                assert b"secret" not in reply.body and b"broken" not in reply.body
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
                assert client.reply("POST").status == 500
            assert agent.get("/plugins")[0]["enabled"] is True


def test_a_required_plugin_that_answers_nonsense_fails_the_request(tmp_path: Path) -> None:
    body = "def on_request(self, request): return RequestChanges(set_headers={'Host': 'x'})"
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, required=True)]}
        with AgentProcess(config) as agent:
            assert ask(agent, 1) == [500] and not upstream.requests


def test_a_required_plugin_that_cannot_judge_a_store_keeps_it_out(tmp_path: Path) -> None:
    body = HOOKS["on_cache_store"].format("raise RuntimeError")
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, required=True)]}
        with AgentProcess(config) as agent:
            assert ask(agent, 1) + ask(agent, 1) == [200, 200] and len(upstream.requests) == 2


def test_a_withheld_response_does_not_break_those_who_wait_with_it(tmp_path: Path) -> None:
    body = """
def on_response(self, request, response):
    if request.header("x-bad"):
        raise RuntimeError
"""
    with Upstream(response("plain", headers=[("Cache-Control", "no-store")])) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, required=True)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            for target in ("/a", "/a", "/b"):
                assert client.get(target, "test", "X-Bad: 1").status == 500
                assert client.get(target).body == b"plain"
            assert agent.metric("pilotfish_requests_in_flight", service="web") == 0


def test_the_background_queue_is_bounded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    body = """
async def never(self):
    import asyncio
    await asyncio.Event().wait()
def on_request(self, request):
    taken = sum(self.context.background(self.never) for _ in range(1500))
    self.context.log("taken", taken=taken)
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent:
            assert ask(agent, 1) == [200]
            assert logged(agent, "taken")["taken"] == 1000
            assert agent.metric("pilotfish_plugin_background_dropped_total", plugin="probe") == 500
            waiting = wait_until(lambda: agent.get("/plugins")[0]["background"]["waiting"] == 998, "two to be under way")
            assert waiting


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "nothing"}, "plugins[0].name: found 'nothing', expected one of auth, body_limit, canary, header_rules, mirror"),
        ({"name": "x", "path": "missing.py"}, "plugins[0].path"),
        (
            {"name": "header_rules", "config": {"rules": [{"macth": {}}]}},
            "plugins[0].config.rules[0]: Object contains unknown field `macth`",
        ),
    ],
)
def test_an_agent_does_not_start_with_a_plugin_that_cannot_be(entry: dict[str, Any], message: str, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "pilotfish.yaml"
    service = {"hosts": ["*"], "endpoints": ["127.0.0.1:9"]}
    listen = {"egress": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    broken = {"name": "auth", "config": {}}
    file.write_text(yaml.safe_dump({"listen": listen, "services": {"web": service}, "plugins": [entry, broken]}))
    for command in ("check", "agent"):
        words = [sys.executable, "-m", "agent", command, "--config", str(file)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, done
        assert message in done.stderr and "plugins[1].config" in done.stderr  # both at once


def test_a_plugin_that_refuses_to_start_stops_the_agent(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "from agent.hooks import Plugin\nclass P(Plugin):\n    def start(self, context): raise RuntimeError('no database')\n"
    )
    file = tmp_path / "pilotfish.yaml"
    file.write_text("listen: {egress: '127.0.0.1:0', admin: '127.0.0.1:0'}\nplugins: [{name: p, path: p.py}]\n")
    words = [sys.executable, "-m", "agent", "agent", "--config", str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "plugins[0]: p did not start: RuntimeError('no database')" in done.stderr
