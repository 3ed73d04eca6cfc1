"""Transparent interception in a network namespace of the test's own: a client that knows nothing of the agent is redirected to it."""

import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.network import own_network, run
from tests.harness.upstream import Upstream, response

CLIENT_GROUP = 4242
"""The redirected application's group: whoever is not in it (the agent) dials directly."""
SERVICE, ELSEWHERE = "10.99.0.1", "10.99.0.2"
SERVICE_6 = "fd99::1"
ADDRESSES = (f"{SERVICE}/32", f"{ELSEWHERE}/32", f"{SERVICE_6}/128")


def missing() -> str:
    if os.geteuid() != 0:
        return "network namespaces and redirection need root"
    for tool in ("ip", "curl"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return ""


pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "-"), pytest.mark.xdist_group("transparent")]


def redirect(tool: str, port: int) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    if tool == "nft":
        rule = f"meta skgid {CLIENT_GROUP} tcp dport 80 redirect to :{port}"
        run("nft", "-f", "-", stdin=f"table inet t {{\nchain out {{\ntype nat hook output priority -100;\n{rule}\n}}\n}}\n")
    else:
        for command in ("iptables", "ip6tables"):
            rule_words = ["-m", "owner", "--gid-owner", str(CLIENT_GROUP), "-p", "tcp", "--dport", "80", "-j", "REDIRECT"]
            run(command, "-t", "nat", "-A", "OUTPUT", *rule_words, "--to-ports", str(port))


def curl(*words: str) -> str:
    """As an application would: no proxy, no special address."""
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    command = ["curl", "-sS", "--max-time", "20", *words]
    done = subprocess.run(command, env=clean, group=CLIENT_GROUP, extra_groups=[], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def port_of(agent: AgentProcess) -> int:
    return int(agent.addresses["transparent"][0].rpartition(":")[2])


def config_of(upstream: Upstream, listen: str = "127.0.0.1:0") -> dict[str, Any]:
    web = {"hosts": ["web.local"], "endpoints": [upstream.address], "cache": {"enabled": True}}
    return {"listen": {"transparent": listen}, "services": {"web": web}}


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_an_unmodified_curl_goes_through_the_agent(tool: str) -> None:
    kept = response("service", headers=[("Cache-Control", "max-age=60")])
    with (
        own_network(*ADDRESSES),
        Upstream(kept) as upstream,
        AgentProcess(config_of(upstream)) as agent,
    ):
        redirect(tool, port_of(agent))
        for _ in range(2):
            assert curl("--resolve", f"web.local:80:{SERVICE}", "http://web.local/a") == "service"
        assert len(upstream.requests) == 1  # the second from the agent's cache
        assert upstream.requests[0].header("via") == "1.1 pilotfish"
        assert agent.metric("pilotfish_request_duration_seconds_count", service="web", outcome="hit") == 1
        assert agent.metric("pilotfish_connections_accepted_total", listener="transparent") == 2


def test_what_no_service_claims_goes_where_it_was_going() -> None:
    with (
        own_network(*ADDRESSES),
        Upstream(response("service")) as upstream,
        Elsewhere() as elsewhere,
        AgentProcess(config_of(upstream)) as agent,
    ):
        redirect("nft", port_of(agent))
        assert curl(f"http://{ELSEWHERE}/x") == "elsewhere"
        assert curl("--resolve", f"other.local:80:{ELSEWHERE}", "http://other.local/y") == "elsewhere"
        seen = elsewhere.requests[-1]
        assert (seen.target, seen.header("host"), seen.header("via")) == ("/y", "other.local", "1.1 pilotfish")
        assert upstream.requests == []
        assert agent.metric("pilotfish_request_duration_seconds_count", service="passthrough") == 2
        said = curl("-o", "/dev/null", "-w", "%{http_code} %header{x-pilotfish-reason}", f"http://{SERVICE}/nobody-listens")
        assert said in ("503 UF", "502 UF")


@pytest.mark.parametrize("listen", ["[::1]:0", "[::]:0"])
def test_ipv6(listen: str) -> None:
    with (
        own_network(*ADDRESSES),
        Upstream(response("service")) as upstream,
        Elsewhere(SERVICE_6) as elsewhere,
        AgentProcess(config_of(upstream, listen)) as agent,
    ):
        redirect("nft", port_of(agent))
        assert curl("--resolve", f"web.local:80:[{SERVICE_6}]", "http://web.local/") == "service"
        assert curl(f"http://[{SERVICE_6}]/") == "elsewhere"
        assert elsewhere.requests[-1].header("host") == f"[{SERVICE_6}]"


def test_an_ipv4_connection_to_a_listener_of_both_families_keeps_its_destination() -> None:
    with (
        own_network(*ADDRESSES),
        Upstream(response("service")) as upstream,
        Elsewhere(),
        AgentProcess(config_of(upstream, "[::]:0")) as agent,
    ):
        redirect("nft", port_of(agent))
        assert curl(f"http://{ELSEWHERE}/") == "elsewhere"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
def test_a_connection_to_the_agents_own_listener_is_no_circle(listen: str) -> None:
    with (
        own_network(*ADDRESSES),
        Upstream(response("service")) as upstream,
        AgentProcess(config_of(upstream, listen)) as agent,
    ):
        redirect("nft", port_of(agent))
        for address in ("127.0.0.1", SERVICE) if listen.startswith("0") else ("127.0.0.1",):
            with RawClient((address, port_of(agent))) as client:
                reply = client.get("/", "nobody.local")
            assert (reply.status, reply.header("x-pilotfish-reason")) == (508, "LP")
            with RawClient((address, port_of(agent))) as client:
                assert client.get("/", "web.local").body == b"service"
        accepted = agent.metric("pilotfish_connections_accepted_total", listener="transparent")
        assert accepted == (4 if listen.startswith("0") else 2)  # none of them its own


class Elsewhere(Upstream):
    """A server on port 80 of an address of this network."""

    def __init__(self, address: str = ELSEWHERE) -> None:
        super().__init__(response("elsewhere"), port=80, host=address)
