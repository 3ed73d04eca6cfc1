"""Agents that are told no member: they find each other by A, by SRV and by multicast DNS, in a network of the test's own."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.dns import NameServer
from tests.harness.mesh import KEY
from tests.harness.network import own_network, run
from tests.harness.wait import wait_until

MISSING = (
    "network namespaces need root" if os.geteuid() != 0 else ", ".join(tool for tool in ("ip", "unshare") if shutil.which(tool) is None)
)
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING or "-"), pytest.mark.slow]
HOSTS = {"a": "10.99.0.1", "b": "10.99.0.2", "c": "10.99.0.3"}
PORT = 7946


class Names(threading.Thread):
    """A name server at 127.0.0.1, port 53. A context manager."""

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        super().__init__(daemon=True)
        self.server = NameServer()
        self.server.typed = records
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_until_complete(self.server.start(53))
        self.loop.run_forever()

    def __enter__(self) -> "Names":
        self.start()
        wait_until(lambda: self.server.port, "the name server")
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(10)


@pytest.fixture
def link() -> Iterator[None]:
    """A link with three addresses, on which what is multicast is heard."""
    with own_network(*(f"{address}/24" for address in HOSTS.values())):
        run("ip", "link", "set", "lo", "multicast", "on")
        run("ip", "route", "add", "224.0.0.0/4", "dev", "lo")
        yield


def start(name: str, discovery: dict[str, Any], folder: Path) -> AgentProcess:
    """An agent that asks 127.0.0.1 for names."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    script = f'mount --bind {folder}/resolv.conf /etc/resolv.conf && mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf && exec "$@"'
    section = {"bind": f"{HOSTS[name]}:{PORT}", "name": "blue", "preset": "local", "keys": [KEY], "discovery": discovery}
    config = {"agent": {"id": name, "region": "eu", "zone": "a"}, "cluster": section}
    return AgentProcess(config, wrapper=("unshare", "--mount", "sh", "-c", script, "sh"))


def sees(agent: AgentProcess) -> dict[str, str]:
    return {row["name"]: row["state"] for row in agent.get("/cluster/members")}


def find_each_other(discovery: dict[str, Any], folder: Path) -> None:
    with start("a", discovery, folder) as a, start("b", discovery, folder) as b:
        wait_until(lambda: sees(a) == sees(b) == {"a": "alive", "b": "alive"}, f"both: {sees(a)}, {sees(b)}", 20.0)
        with start("c", discovery, folder) as c:
            everybody = dict.fromkeys("abc", "alive")
            wait_until(lambda: all(sees(each) == everybody for each in (a, b, c)), "the third", 20.0)


def test_by_the_addresses_of_one_name_as_of_a_headless_service(link: None, tmp_path: Path) -> None:
    with Names({("agents.test", "A"): list(HOSTS.values())}) as names:
        find_each_other({"dns": ["agents.test"]}, tmp_path)
        assert names.server.questions >= 3


def test_by_srv_records(link: None, tmp_path: Path) -> None:
    records = {("_pilotfish._tcp.test", "SRV"): [f"0 0 {PORT} {name}.test." for name in HOSTS]}
    with Names({**records, **{(f"{name}.test", "A"): [host] for name, host in HOSTS.items()}}) as names:
        find_each_other({"srv": ["_pilotfish._tcp.test"]}, tmp_path)
        assert names.server.questions >= 3


def test_by_multicast_dns(link: None, tmp_path: Path) -> None:
    find_each_other({"mdns": True}, tmp_path)
