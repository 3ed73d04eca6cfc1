"""An agent that is cut off from all others goes on with what it knew, and is put right when the cut heals."""

import os
import shutil
from typing import Any

import pytest

from tests.harness.apps import Fleet, Traffic
from tests.harness.network import own_network, run
from tests.harness.serf import PORT
from tests.harness.wait import wait_until

GROUP = "4243"
"""Of the agent that is cut off: the kernel knows its packets by it."""
TOOLS = ("nft", "ip", "setpriv")
MISSING = "network namespaces need root" if os.geteuid() != 0 else ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)

pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING or "-"), pytest.mark.slow]


def cut(fleet: Fleet, name: str) -> None:
    own = fleet.hosts[name]
    rules = [f"meta skgid {GROUP} ip daddr {host} drop" for other, host in fleet.hosts.items() if other != name]
    rules.append(f"meta skgid != {GROUP} ip daddr {own} meta l4proto {{ tcp, udp }} th dport {PORT} drop")
    body = "\n".join(rules)
    run("nft", "-f", "-", stdin=f"table inet cut {{\nchain out {{\ntype filter hook output priority 0;\n{body}\n}}\n}}\n")


def holds(fleet: Fleet, name: str, target: str) -> bool:
    listing: list[dict[str, Any]] = fleet.agents[name].get("/cache?list=1&prefix=" + target)["listing"]
    return any(row["target"] == target and row["ttl_s"] > 0.0 for row in listing)


def test_a_partition_costs_no_request_and_the_purge_that_it_kept_away_comes_when_it_heals() -> None:
    with own_network(), Fleet("a", "b", "c", service={"cache": {"enabled": True}}) as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        fleet.agents["a"].stop()
        fleet.wrappers["a"] = ("setpriv", "--regid", GROUP, "--clear-groups")
        fleet.start("a")
        fleet.wait_for_endpoints("a", "b", "c")
        fleet.ask("a", "/kept")
        assert holds(fleet, "a", "/kept")
        with Traffic(fleet, "a", "b") as traffic:
            cut(fleet, "a")
            answer = fleet.agents["b"].post("/cache/purge", {"url": "http://web/kept", "wait": "200ms"})
            assert "a" in answer["missing"]
            wait_until(lambda: fleet.agents["a"].metric("pilotfish_mesh_isolated") == 1, "a to be alone", 30.0)
            fleet.wait_for(["b", "c"], 30.0, a="dead")
            fleet.wait_for_endpoints("b", "c", by=("b", "c"))
            fleet.wait_for_endpoints("a", "b", "c", by=("a",))
            assert holds(fleet, "a", "/kept")
            traffic.more(20)
            run("nft", "delete", "table", "inet", "cut")
            fleet.wait_for(["a", "b", "c"], 30.0, a="alive", b="alive", c="alive")
            fleet.wait_for_endpoints("a", "b", "c")
            wait_until(lambda: not holds(fleet, "a", "/kept"), "the missed purge to be made up for", 30.0)
            traffic.more(20)
        assert not traffic.failures
