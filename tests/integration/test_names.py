"""Endpoints given by name, in a running agent with a hosts file of its own (a mount namespace)."""

import subprocess
from pathlib import Path

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until

SCRIPT = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"'


def in_namespace(directory: Path) -> tuple[str, ...]:
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT, str(directory))


def test_a_name_is_followed_and_keeps_its_last_addresses(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 api.test\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    if subprocess.run([*in_namespace(tmp_path), "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    one = Upstream(response("one"))
    two = Upstream(response("two"), one.port, "127.0.0.2")
    config = {"services": {"web": {"hosts": ["*"], "endpoints": [f"api.test:{one.port}"], "dns": {"refresh": "50ms"}}}}
    with one, two, AgentProcess(config, wrapper=in_namespace(tmp_path)) as agent, RawClient(agent.egress) as client:

        def addresses() -> list[str]:
            return [row["address"] for row in agent.get("/clusters")[0]["endpoints"]]

        wait_until(lambda: addresses() == [one.address], "the name to be resolved")
        assert client.get("/").body == b"one"
        hosts.write_text("127.0.0.1 api.test\n127.0.0.2 api.test\n")  # in place: the file itself is mounted
        wait_until(lambda: addresses() == [one.address, two.address], "the second address")
        hosts.write_text("127.0.0.2 api.test\n")
        wait_until(lambda: addresses() == [two.address], "the first address to go")
        assert {client.get("/").body for _ in range(5)} == {b"two"}
        hosts.write_text("")
        failed = wait_until(lambda: agent.event("name does not resolve"), "the failure to be told")
        assert (failed["service"], failed["host"]) == ("web", "api.test")
        assert addresses() == [two.address]
        assert {client.get("/").body for _ in range(5)} == {b"two"}
        hosts.write_text("127.0.0.1 api.test\n")
        wait_until(lambda: agent.event("name resolves again") and addresses() == [one.address], "the name to come back")
        assert client.get("/").body == b"one"
