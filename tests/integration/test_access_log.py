"""The access log: what its lines say, which requests get one, and what becomes of them where the disk does not take them."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until


def config_of(upstream: Upstream, path: Path | str, **access: Any) -> dict[str, Any]:
    services = {"web": {"hosts": ["web"], "endpoints": [upstream.address], "cache": {"enabled": True}}}
    return {"services": services, "log": {"access": {"path": str(path), **access}}}


def rows_of(path: Path, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return rows if enough(rows) else []

    return wait_until(read, "the access log to say it")


def test_lines_say_what_was_asked_and_what_became_of_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with (
        Upstream(response("hello", headers=[("Cache-Control", "max-age=60")])) as upstream,
        AgentProcess(config_of(upstream, path)) as agent,
    ):
        with RawClient(agent.egress) as client:
            client.get("/a?b=c", "web", "X-Request-Id: r-1")
            client.get("/a?b=c", "web", "X-Request-Id: r-2")
            client.get("/a", "nobody.test")
        with RawClient(agent.egress) as client:
            client.send(b"GET / HTTP/1.1\r\nHost : web\r\n\r\n").rest()
        miss, hit, unrouted, refused = rows_of(path, lambda rows: len(rows) == 4)
        common = {
            "client": "127.0.0.1",
            "method": "GET",
            "authority": "web",
            "target": "/a?b=c",
            "status": 200,
            "service": "web",
            "flag": "",
        }
        assert common.items() <= miss.items()
        assert (miss["outcome"], miss["upstream"], miss["request_id"], miss["bytes"]) == ("miss", upstream.address, "r-1", 5)
        assert 0 < miss["ms"] < 60_000
        assert common.items() <= hit.items()
        assert (hit["outcome"], hit["upstream"], hit["request_id"], hit["bytes"]) == ("hit", "", "r-2", 5)
        assert hit.keys() == miss.keys()
        assert (unrouted["status"], unrouted["flag"], unrouted["service"]) == (404, "NR", "")
        assert "nobody.test" in unrouted["detail"]
        assert (refused["status"], refused["flag"]) == (400, "DPE")
        assert agent.metric("pilotfish_access_log_lines_total", result="written") == 4


def test_a_sample_keeps_its_share_and_every_error(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Upstream(response("hello")) as upstream, AgentProcess(config_of(upstream, path, sample="25%")) as agent:
        with RawClient(agent.egress) as client:
            for number in range(40):
                client.get(f"/{number}", "web")
            for number in range(5):
                client.get(f"/{number}", "nobody.test")
        rows = rows_of(path, lambda rows: sum(row["status"] == 404 for row in rows) == 5)
        assert sum(row["status"] == 200 for row in rows) == 10


def test_a_path_that_cannot_be_written_costs_lines_and_no_request(tmp_path: Path) -> None:
    config = config_of(Upstream(response("hello")), tmp_path / "missing" / "access.log")
    with AgentProcess(config) as agent, RawClient(agent.egress) as client:
        for number in range(10):
            assert client.get(f"/{number}", "web").status == 200
        wait_until(lambda: agent.metric("pilotfish_access_log_lines_total", result="failed") == 10, "the lost lines are counted")
        event = wait_until(lambda: agent.event("access log cannot be written"), "the log to say it")
        assert "missing" in event["error"]
        (tmp_path / "missing").mkdir()
        client.get("/later", "web")
        assert rows_of(tmp_path / "missing" / "access.log", bool)[0]["target"] == "/later"


def test_a_full_disk_costs_lines_and_no_request() -> None:
    with (
        Upstream(response("hello")) as upstream,
        AgentProcess(config_of(upstream, "/dev/full")) as agent,
        RawClient(agent.egress) as client,
    ):
        for number in range(10):
            assert client.get(f"/{number}", "web").status == 200
        wait_until(lambda: agent.metric("pilotfish_access_log_lines_total", result="failed") >= 1, "the lost lines are counted")
        assert "No space left" in wait_until(lambda: agent.event("access log cannot be written"), "the log to say it")["error"]


def test_a_full_queue_drops_lines_and_counts_them(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it blocks the writer until somebody reads
    with Upstream(response("hello")) as upstream, AgentProcess(config_of(upstream, pipe, queue_max=5)) as agent:
        with RawClient(agent.egress) as client:
            for number in range(20):
                assert client.get(f"/{number}", "web").status == 200
        assert agent.metric("pilotfish_access_log_lines_total", result="dropped") >= 14
        with pipe.open() as reader:  # lets it go on, and stop
            assert json.loads(reader.readline())["target"] == "/0"


def test_sighup_goes_on_in_a_new_file_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Upstream(response("hello")) as upstream, AgentProcess(config_of(upstream, path)) as agent, RawClient(agent.egress) as client:
        client.get("/before", "web")
        rows_of(path, bool)
        path.rename(tmp_path / "access.log.1")
        agent.signal(signal.SIGHUP)
        wait_until(lambda: agent.event("configuration unchanged"), "the signal is taken")
        client.get("/after", "web")
        assert [row["target"] for row in rows_of(path, bool)] == ["/after"]
        assert [row["target"] for row in rows_of(tmp_path / "access.log.1", bool)] == ["/before"]
