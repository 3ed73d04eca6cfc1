"""The link between two regions is cut and heals: each goes on alone, says what it cannot reach, and makes up for what it missed."""

import os
import shutil
from typing import Any

import pytest

from tests.harness.network import own_network, run
from tests.harness.wait import wait_until
from tests.integration.test_regions import CACHED, WAN_PORT, Regions, fill, holds, joined, waited

TOOLS = ("nft", "ip")
MISSING = "network namespaces need root" if os.geteuid() != 0 else ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)

pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING or "-"), pytest.mark.slow]
RULES = f"meta l4proto {{ tcp, udp }} th dport {WAN_PORT} drop"


def test_purges_that_a_cut_between_regions_kept_away_come_when_it_heals() -> None:
    with own_network(), Regions(("a1", "a2"), ("b1", "b2"), ("a1", "b1"), service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        joined(regions)
        fill(us, "b2", "/from-eu")
        fill(eu, "a2", "/from-us")
        fill(us, "b2", "/kept")
        marks = us.agents["b2"].metric("pilotfish_mesh_stale_marks_total")
        run("nft", "-f", "-", stdin=f"table inet cut {{\nchain out {{\ntype filter hook output priority 0;\n{RULES}\n}}\n}}\n")
        for fleet, name, other in ((eu, "a2", "us"), (us, "b2", "eu")):
            wait_until(
                lambda fleet=fleet, name=name, other=other: fleet.agents[name].get("/cluster/wan")["regions"] == {other: None},
                f"{other} to be out of reach",
                30.0,
            )
        answer: dict[str, Any] = eu.agents["a2"].post("/cache/purge", {"url": "http://web/from-eu", "wait": "10s"})
        assert (answer["acked"], answer["of"], answer["unreachable"]) == (2, 2, ["us"]), answer
        us.agents["b2"].post("/cache/purge", {"url": "http://web/from-us"})
        assert holds(us, "b2", "/from-eu") and holds(eu, "a2", "/from-us")
        run("nft", "delete", "table", "inet", "cut")
        wait_until(lambda: not holds(us, "b2", "/from-eu") and not holds(eu, "a2", "/from-us"), "both to be made up for", 40.0)
        assert holds(us, "b2", "/kept")
        assert us.agents["b2"].metric("pilotfish_mesh_stale_marks_total") == marks
        joined(regions)
        wait_until(lambda: waited(eu, "a2")["acked"] == 4, "purges to reach all again", 30.0)
