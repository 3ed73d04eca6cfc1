"""Where an agent listens and dials: ingress, Unix sockets, IPv6, several addresses, and addresses that it cannot have."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.agent import ROOT, AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until


def place(address: str) -> tuple[str, int] | str:
    if address.startswith("unix:"):
        return address[5:]
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def answers(path: str) -> bool:
    with RawClient(path) as client:
        return client.get("/healthz", "localhost").status == 200


def test_ingress_brings_limits_cache_and_metrics_to_the_local_application() -> None:
    def application(request: Received) -> bytes:
        return response("mine", headers=[("Cache-Control", "max-age=60")] if request.target == "/kept" else [])

    with Upstream(application) as mine, Upstream(response("theirs")) as theirs:
        config = {
            "listen": {"ingress": "127.0.0.1:0"},
            "application": {
                "endpoints": [mine.address],
                "cache": {"enabled": True},
                "rate_limits": [{"requests": 4, "per": "1h"}],
                "routes": [{"match": {"path": "/closed"}, "respond": {"status": 403, "body": "no"}}],
            },
            "services": {"web": {"hosts": ["*"], "endpoints": [theirs.address]}},
        }
        with AgentProcess(config) as agent:
            ingress = place(agent.addresses["ingress"][0])
            with RawClient(ingress) as peer:
                for host in ("anything", "at-all"):
                    assert peer.get("/plain", host).body == b"mine"
                assert "fwd=" in (peer.get("/kept", "me").header("cache-status") or "")
                assert "hit" in (peer.get("/kept", "me").header("cache-status") or "")
                assert peer.get("/closed", "me").status == 403
                limited = peer.get("/plain", "me")
                assert (limited.status, limited.header("x-pilotfish-reason")) == (429, "RL")
                assert limited.header("retry-after")
            with RawClient(agent.egress) as client:
                assert client.get("/plain", "me").body == b"theirs"  # the application's limits are not the services'
            assert [request.target for request in mine.requests] == ["/plain", "/plain", "/kept"]
            assert agent.metric("pilotfish_request_duration_seconds_count", service="application", outcome="hit") == 1
            assert agent.metric("pilotfish_request_duration_seconds_count", service="application") == 6
            assert agent.metric("pilotfish_request_duration_seconds_count", service="web") == 1
            assert agent.metric("pilotfish_endpoint_requests_total", service="application") == 3
            assert agent.metric("pilotfish_connections_accepted_total", listener="ingress") == 1
            assert agent.metric("pilotfish_connections_accepted_total", listener="egress") == 1


def test_a_listener_has_its_own_bound_on_connections() -> None:
    with Upstream(response("ok")) as upstream:
        services = {"web": {"hosts": ["*"], "endpoints": [upstream.address]}}
        with AgentProcess({"services": services, "http": {"connections_max": 2}}) as agent:
            clients = [RawClient(agent.egress) for _ in range(2)]
            assert all(client.get().status == 200 for client in clients)
            with RawClient(agent.egress) as more:
                reply = more.reply()
                assert (reply.status, reply.header("x-pilotfish-reason")) == (503, "CX")
                assert more.rest() == b""
            assert agent.metric("pilotfish_connections_refused_total", listener="egress") == 1
            clients.pop().close()
            wait_until(lambda: agent.metric("pilotfish_connections", listener="egress") == 1, "the connection is gone")
            with RawClient(agent.egress) as another:
                assert another.get().status == 200
            clients.pop().close()


def test_unix_sockets_to_listen_on_and_to_dial(tmp_path: Path) -> None:
    """An agent whose listeners, admin and endpoint are all Unix sockets, behind another that dials it."""
    path, stale = str(tmp_path / "egress"), tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(stale))  # as a killed agent leaves it
    with Upstream(response("ok")) as upstream:
        inner = AgentProcess(
            {
                "listen": {"egress": [f"unix:{path}", f"unix:{stale}"]},
                "services": {"web": {"hosts": ["*"], "endpoints": [upstream.address]}},
            }
        )
        with inner, AgentProcess({"services": {"web": {"hosts": ["*"], "endpoints": [f"unix:{path}"]}}}) as outer:
            for name in (path, str(stale)):
                with RawClient(name) as client:
                    assert client.get("/direct").body == b"ok"
            assert upstream.requests[-1].header("x-forwarded-for") is None  # a Unix socket's client has no address
            with RawClient(outer.egress) as client:
                assert client.get("/through").body == b"ok"
                assert client.get("/through").body == b"ok"
            assert upstream.requests[-1].header("via") == "1.1 pilotfish, 1.1 pilotfish"
            assert outer.get("/clusters")[0]["endpoints"][0]["address"] == f"unix:{path}"
            assert inner.metric("pilotfish_connections_accepted_total", listener="egress") == 3


def test_admin_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "admin")
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump({"listen": {"egress": "127.0.0.1:0", "admin": f"unix:{path}"}, "services": {}}))
    process = subprocess.Popen([sys.executable, "-m", "agent", "agent", "--config", str(config)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(path), "the admin API answers")
        for words in (("status", "--admin", f"unix:{path}", "--json"), ("why", "http://web/", "--admin", f"unix:{path}", "--proxy", "x:1")):
            done = subprocess.run([sys.executable, "-m", "agent", *words], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == (0 if words[0] == "status" else 1), done.stderr
            assert "Traceback" not in done.stderr
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_ipv6_loopback_to_listen_on_and_to_dial() -> None:
    with Upstream(response("ok")) as upstream:
        inner = AgentProcess(
            {
                "listen": {"egress": ["[::1]:0", "127.0.0.1:0"], "admin": "[::1]:0"},
                "services": {"web": {"hosts": ["[::1]", "web"], "endpoints": [upstream.address]}},
            }
        )
        with inner:
            first, second = inner.addresses["egress"]
            assert first.startswith("[::1]:")
            assert inner.addresses["admin"].startswith("[::1]:")
            with RawClient(place(first)) as client:
                assert client.get("/", f"[::1]:{inner.egress[1]}").status == 200
            assert upstream.requests[-1].header("x-forwarded-for") == "::1"
            with RawClient(place(second)) as client:
                assert client.get("/", "web").status == 200
            config = {"services": {"web": {"hosts": ["*"], "endpoints": [first]}}}
            with AgentProcess(config) as outer, RawClient(outer.egress) as client:
                assert client.get("/", "web").status == 200
                assert outer.get("/clusters")[0]["endpoints"][0]["address"] == first


@pytest.mark.parametrize("unmatched", ["reject", "pass"])
def test_what_no_service_claims(unmatched: str) -> None:
    with Upstream(response("there")) as there, AgentProcess({"services": {}, "egress": {"unmatched": unmatched}}) as agent:
        with RawClient(agent.egress) as client:
            reply = client.get("/", there.address)
            if unmatched == "reject":
                assert (reply.status, reply.header("x-pilotfish-reason")) == (404, "NR")
                assert there.requests == []
            else:
                assert (reply.status, reply.body) == (200, b"there")
                assert there.requests[-1].header("host") == there.address
        for host in (f"127.0.0.1:{agent.egress[1]}", f"localhost:{agent.egress[1]}"):
            with RawClient(agent.egress) as client:
                assert client.get("/", host).status == (404 if unmatched == "reject" else 508)


def test_every_address_of_a_wildcard_listener_is_its_own() -> None:
    listen = {"egress": "0.0.0.0:0"}
    with AgentProcess({"services": {}, "egress": {"unmatched": "pass"}, "listen": listen}) as agent:
        port = agent.egress[1]
        for host in ("127.0.0.1", "localhost"):
            with RawClient(("127.0.0.1", port)) as client:
                assert client.get("/", f"{host}:{port}").status == 508
        assert agent.metric("pilotfish_connections_accepted_total", listener="egress") == 2  # it has not dialled itself


@pytest.mark.parametrize("where", ["egress", "admin"])
def test_an_address_that_is_taken_is_told(where: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        listen: dict[str, Any] = {"egress": "127.0.0.1:0", "admin": "127.0.0.1:0", where: taken}
        config = tmp_path / "agent.yaml"
        config.write_text(yaml.safe_dump({"listen": listen, "services": {}}))
        command = [sys.executable, "-m", "agent", "agent", "--config", str(config)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "cannot start" in done.stderr
    assert taken.rpartition(":")[2] in done.stderr
    assert "Traceback" not in done.stderr
