"""Taking a changed configuration: by signal, by the file's change however it is made, by the admin API; and refusing it."""

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until


def config_of(upstream: Upstream, **more: Any) -> dict[str, Any]:
    return {"services": {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}, **more}


def answer_of(agent: AgentProcess) -> bytes:
    with RawClient(agent.egress) as client:
        return client.get("/").body


@pytest.mark.parametrize("how", ["signal", "file", "api"])
def test_a_changed_file_is_taken(how: str) -> None:
    with Upstream(response("one")) as one, Upstream(response("two")) as two, AgentProcess(config_of(one)) as agent:
        assert answer_of(agent) == b"one"
        if how == "file":
            agent.write({**agent.config, **config_of(two)})
        else:
            agent.path.write_text(yaml.safe_dump({**agent.config, **config_of(two)}))
            if how == "signal":
                agent.signal(signal.SIGHUP)
            else:
                told = agent.post("/reload")
                assert told["result"] in ("ok", "unchanged")
        wait_until(lambda: answer_of(agent) == b"two", "the new configuration")
        assert agent.get("/status")["reload"]["generation"] == 2
        assert agent.metric("pilotfish_config_generation") == 2
        assert agent.metric("pilotfish_config_reloads_total", result="ok") == 1


def test_a_config_maps_swapped_symlink_is_taken(tmp_path: Path) -> None:
    """As the kubelet does it: the file is a link to ..data/file, ..data a link to a directory, swapped by rename."""
    with Upstream(response("one")) as one, Upstream(response("two")) as two:
        agent = AgentProcess(config_of(one), path=tmp_path / "pilotfish.yaml")
        for name, upstream in (("..1", one), ("..2", two)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "pilotfish.yaml").write_text(yaml.safe_dump({**agent.config, **config_of(upstream)}))
        (tmp_path / "..data").symlink_to("..1")
        agent.path.symlink_to(Path("..data") / "pilotfish.yaml")
        with agent:
            assert answer_of(agent) == b"one"
            (tmp_path / "..data_tmp").symlink_to("..2")
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            wait_until(lambda: answer_of(agent) == b"two", "the new configuration")


@pytest.mark.parametrize("how", ["signal", "file", "api"])
def test_an_invalid_file_leaves_the_running_configuration_and_says_so(how: str) -> None:
    with Upstream(response("one")) as one, AgentProcess(config_of(one)) as agent:
        before = agent.get("/config")
        agent.path.write_text("services: { web: { hosts: ['*'], endpoints: ['nowhere'], cahce: {} } }\nlog: { level: loud }\n")
        if how == "signal":
            agent.signal(signal.SIGHUP)
        elif how == "api":
            status, body = agent.call("/reload", {}, "POST")
            assert status == 409
            assert b"cahce" in body
        shown = wait_until(
            lambda: (row := agent.get("/status")["reload"])["result"] == "invalid" and row, "the status to say that the file is invalid"
        )
        assert {problem.split(" ")[0].rstrip(":") for problem in shown["problems"]} == {"services.web.cahce", "log.level"}
        assert shown["generation"] == 1
        assert agent.metric("pilotfish_config_last_reload_successful") == 0
        assert agent.metric("pilotfish_config_reloads_total", result="invalid") >= 1
        event = wait_until(lambda: agent.event("configuration invalid"), "the log to say it")
        assert event["level"] == "warning"
        assert any("cahce" in problem for problem in event["problems"])
        assert answer_of(agent) == b"one"
        assert agent.get("/config") == before
        agent.write({**agent.config})  # mended
        wait_until(lambda: agent.metric("pilotfish_config_last_reload_successful") == 1, "the mended file is taken")


def test_a_file_that_is_gone_changes_nothing_until_it_is_back() -> None:
    with Upstream(response("one")) as one, Upstream(response("two")) as two, AgentProcess(config_of(one)) as agent:
        agent.path.unlink()
        assert agent.call("/reload", {}, "POST")[0] == 409
        assert answer_of(agent) == b"one"
        agent.write({**agent.config, **config_of(two)})
        wait_until(lambda: answer_of(agent) == b"two", "the new configuration")


def test_what_needs_a_restart_is_refused_by_name_and_nothing_of_the_file_is_taken() -> None:
    with Upstream(response("one")) as one, Upstream(response("two")) as two, AgentProcess(config_of(one)) as agent:
        changed = {**agent.config, **config_of(two), "agent": {"id": "other"}, "cache": {"policy": "lru"}}
        changed["listen"] = {**agent.config["listen"], "backlog": 7}
        agent.path.write_text(yaml.safe_dump(changed))
        status, body = agent.call("/reload", {}, "POST")
        assert status == 409
        for path in (b"agent.id", b"listen.backlog", b"cache.policy"):
            assert path + b": changing it needs a restart" in body
        assert b"services.web:" not in body
        assert agent.metric("pilotfish_config_reloads_total", result="refused") >= 1
        assert answer_of(agent) == b"one"


def test_an_unchanged_file_keeps_the_generation() -> None:
    with Upstream(response("one")) as one, AgentProcess(config_of(one)) as agent:
        assert agent.post("/reload")["result"] == "unchanged"
        assert agent.metric("pilotfish_config_generation") == 1


def test_log_settings_are_taken_while_running(tmp_path: Path) -> None:
    with Upstream(response("one")) as one, AgentProcess(config_of(one)) as agent:
        agent.write({**agent.config, "log": {"level": "error", "access": {"path": str(tmp_path / "access.log")}}})
        assert agent.post("/reload")["result"] in ("ok", "unchanged")
        assert answer_of(agent) == b"one"
        wait_until(lambda: (tmp_path / "access.log").exists() and (tmp_path / "access.log").read_text(), "an access line")
        seen = len(agent.events)
        agent.post("/reload")
        agent.write({**agent.config, "log": {"level": "info", "format": "text"}})
        assert agent.post("/reload")["result"] in ("ok", "unchanged")
        wait_until(lambda: any("configuration ok" in line and not line.startswith("{") for line in agent.stderr), "a line of text")
        assert not any(event["level"] == "info" for event in agent.events[seen:])


def test_the_series_of_a_service_and_an_endpoint_that_are_gone_go_with_them() -> None:
    with Upstream(response("one")) as one, Upstream(response("two")) as two:
        services = {
            "web": {"hosts": ["web"], "endpoints": [one.address, two.address], "balance": {"policy": "round_robin"}},
            "old": {"hosts": ["old"], "endpoints": [two.address], "cache": {"enabled": True}},
        }
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            for host in ("web", "web", "old"):
                assert client.get("/", host).status == 200
            text = agent.call("/metrics")[1].decode()
            assert 'service="old"' in text
            assert f'endpoint="{two.address}"' in text
            agent.write({**agent.config, "services": {"web": {**services["web"], "endpoints": [one.address]}}})
            wait_until(lambda: agent.metric("pilotfish_config_generation") == 2, "the new configuration")
            text = agent.call("/metrics")[1].decode()
            assert 'service="old"' not in text
            assert f'endpoint="{two.address}"' not in text
            assert agent.metric("pilotfish_endpoint_requests_total", endpoint=one.address) >= 1
            assert agent.metric("pilotfish_request_duration_seconds_count", service="web") == 2
