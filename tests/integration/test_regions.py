"""Two regions, each a cluster of its own; gateways carry endpoints and invalidations across."""

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from agent.admin.catalogue import CATALOGUE, sample_names
from tests.harness.agent import AgentProcess, build_directory
from tests.harness.apps import Fleet, Traffic
from tests.harness.mesh import KEY, OTHER_KEY, PORT
from tests.harness.serf import loopback_address
from tests.harness.wait import wait_until

CACHED: dict[str, Any] = {"cache": {"enabled": True}}
WAN_PORT = PORT + 1


class Regions:
    """A fleet for each of `eu` and `us`; those named in `gateways` are ones. A context manager."""

    def __init__(self, eu: tuple[str, ...], us: tuple[str, ...], gateways: tuple[str, ...], **more: Any) -> None:
        self.wan = {name: f"{loopback_address()}:{WAN_PORT}" for name in gateways}
        self.seeds = [self.wan[gateways[0]], self.wan[gateways[-1]]]
        self.eu = RegionFleet(self, "eu", eu, more)
        self.us = RegionFleet(self, "us", us, more)

    def __enter__(self) -> "Regions":
        self.eu.__enter__()
        try:
            self.us.__enter__()
        except BaseException:
            self.eu.__exit__(AssertionError, None, None)
            raise
        return self

    def __exit__(self, *ended: Any) -> None:
        try:
            self.us.__exit__(*ended)
        finally:
            self.eu.__exit__(*ended)

    def wan_states(self, fleet: Fleet, name: str) -> dict[str, str]:
        return {row["name"]: row["state"] for row in fleet.agents[name].get("/cluster")["wan"]["members"]}


class RegionFleet(Fleet):
    def __init__(self, regions: Regions, region: str, names: tuple[str, ...], more: dict[str, Any]) -> None:
        self.regions = regions
        self.region = region
        super().__init__(*names, each=self._gateway, **more)

    def _gateway(self, name: str) -> dict[str, Any]:
        bind = self.regions.wan.get(name)
        return {} if bind is None else {"wan": {"bind": bind, "seeds": self.regions.seeds, "preset": "local"}}

    def configuration(self, name: str) -> dict[str, Any]:
        return {**super().configuration(name), "agent": {"id": name, "region": self.region, "zone": "a"}}

    def origins(self, name: str) -> set[str]:
        return set(self.endpoints(name).values())

    def answered_by(self, name: str) -> set[str]:
        return {self.ask(name, f"/{number}/{time.monotonic_ns()}")[1].split()[0] for number in range(12)}


def wait_for_origins(fleet: RegionFleet, names: tuple[str, ...], *origins: str) -> None:
    wait_until(lambda: all(fleet.origins(name) == set(origins) for name in names), f"{origins} at {names}", 15.0)


def test_a_region_uses_its_own_endpoints_and_others_when_it_has_none() -> None:
    with Regions(("a1", "a2"), ("b1", "b2"), ("a1", "b1")) as regions:
        eu, us = regions.eu, regions.us
        wait_for_origins(eu, ("a1", "a2"), "member a1", "member a2", "region us")
        wait_for_origins(us, ("b1", "b2"), "member b1", "member b2", "region eu")
        wait_until(lambda: len(eu.endpoints("a2")) == 4, "both endpoints of us")
        rows = [row for cluster in eu.agents["a2"].get("/clusters") for row in cluster["endpoints"]]
        assert {row["region"] for row in rows if row["origin"] == "region us"} == {"us"}
        assert eu.answered_by("a2") <= {"a1", "a2"} and us.answered_by("b2") <= {"b1", "b2"}
        # Those that are no gateways know, and speak with, their own region alone.
        assert set(eu.sees("a2")) == {"a1", "a2"} and eu.agents["a2"].get("/cluster")["wan"] is None
        assert regions.wan_states(eu, "a1") == {"a1.eu": "alive", "b1.us": "alive"}
        assert eu.agents["a1"].metric("pilotfish_cluster_wan_members", state="alive") == 2
        metrics = eu.agents["a1"].call("/metrics")[1].decode()
        for each in CATALOGUE:
            if each.startswith("pilotfish_cluster_wan_"):
                assert all(f"\n{sample}" in metrics for sample in sample_names(each)), each
        for name in ("a1", "a2"):
            eu.apps[name].kill()
        wait_for_origins(eu, ("a1", "a2"), "region us")
        for name in ("a1", "a2"):
            assert eu.answered_by(name) <= {"b1", "b2"}
        wait_for_origins(us, ("b1", "b2"), "member b1", "member b2")


def test_one_gateway_of_two_that_is_killed_changes_nothing_and_both_take_the_region_out() -> None:
    with Regions(("a1",), ("b1", "b2", "b3"), ("a1", "b1", "b2"), service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        eu.apps["a1"].kill()
        wait_for_origins(eu, ("a1",), "region us")
        wait_until(lambda: len(eu.endpoints("a1")) == 3, "all of the region")
        wait_until(lambda: len(regions.wan_states(eu, "a1")) == 3, "both gateways")
        with Traffic(eu, "a1") as traffic:
            us.agents["b1"].kill()  # not its application, whose endpoint goes with its agent
            wait_until(lambda: regions.wan_states(eu, "a1")["b1.us"] == "dead", "a1 to see that b1 is dead", 15.0)
            wait_until(lambda: set(eu.endpoints("a1")) == {us.apps[name].address for name in ("b2", "b3")}, "those of b1 to go")
            traffic.more(20)
        assert not traffic.failures
        us.agents["b2"].kill()
        wait_until(lambda: not eu.endpoints("a1"), "the region to be taken out", 15.0)
        us.start("b1")
        wait_until(lambda: set(eu.endpoints("a1")) == {us.apps[name].address for name in ("b1", "b3")}, "it to be back", 15.0)


def holds(fleet: Fleet, name: str, target: str) -> bool:
    return any(row["target"] == target for row in fleet.agents[name].get("/cache?list=1&prefix=" + target)["listing"])


def fill(fleet: Fleet, name: str, target: str) -> None:
    """Again where an invalidation that was under way kept the answer out."""

    def held() -> bool:
        fleet.ask(name, target)
        return holds(fleet, name, target)

    wait_until(held, f"{name} to hold {target}")


@pytest.mark.parametrize("gateways", [("a1", "b1"), ("a1", "a2", "b1", "b2")])
def test_a_purge_in_one_region_empties_all_regions(gateways: tuple[str, ...]) -> None:
    with Regions(("a1", "a2"), ("b1", "b2"), gateways, service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        everyone = [(eu, "a1"), (eu, "a2"), (us, "b1"), (us, "b2")]
        wait_for_origins(eu, ("a1", "a2"), "member a1", "member a2", "region us")
        wait_for_origins(us, ("b1", "b2"), "member b1", "member b2", "region eu")
        for number, (origin, by) in enumerate([*everyone, *everyone]):
            target = f"/{number}"
            for fleet, name in everyone:
                fill(fleet, name, target)
            wish: dict[str, Any] = {"url": f"http://web{target}"}
            origin.agents[by].post("/cache/purge", wish if number % 2 else {**wish, "wait": "5s"})
            wait_until(lambda target=target: not any(holds(*each, target) for each in everyone), f"{target} to be gone everywhere")
        # Each issues its own two, under its own name in every region: a gateway repeats, and issues nothing for it.
        for fleet, name in everyone:
            counts = fleet.agents[name].get("/cluster")["invalidations"]
            assert counts["issued"] <= 2 + 4 and counts["applied"] >= 6, (name, counts)  # fences are its own too


def joined(regions: Regions) -> None:
    """Until every agent knows the other region."""

    def known() -> bool:
        fleets = ((regions.eu, "us"), (regions.us, "eu"))
        return all(fleet.agents[name].get("/cluster/wan")["regions"].get(other) for fleet, other in fleets for name in fleet.running)

    wait_until(known, "both regions to know each other", 20.0)


def waited(fleet: Fleet, name: str, **wish: Any) -> dict[str, Any]:
    return fleet.agents[name].post("/cache/purge", {"tag": "all-of-it", "wait": "10s", **wish})  # type: ignore[no-any-return]


def test_a_purge_waits_for_the_members_of_all_regions_and_names_those_that_cannot_be_reached() -> None:
    with Regions(("a1", "a2"), ("b1", "b2", "b3"), ("a1", "b1", "b2"), service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        us.wait_for(["b1", "b2", "b3"], b1="alive", b2="alive", b3="alive")
        eu.wait_for(["a1", "a2"], a1="alive", a2="alive")
        joined(regions)
        for fleet, name in ((eu, "a1"), (eu, "a2"), (us, "b3")):  # gateways and others
            answer = waited(fleet, name)
            assert (answer["acked"], answer["of"], answer["missing"], answer["unreachable"]) == (5, 5, [], []), answer
            assert answer["regions"] == {"eu": {"acked": 2, "of": 2}, "us": {"acked": 3, "of": 3}}
        # What was seen in one region is a context in the other.
        for fleet, name in ((us, "b3"), (eu, "a2")):
            again = waited(fleet, name, after=answer["context"])
            assert (again["acked"], again["of"]) == (5, 5), str(again)
        us.agents["b3"].signal(signal.SIGSTOP)
        try:
            answer = waited(eu, "a2", wait="1s")
            assert "us/b3" in answer["missing"] or answer["of"] <= 4, answer
            assert answer["acked"] <= 4, answer
        finally:
            us.agents["b3"].signal(signal.SIGCONT)
        for name in ("b1", "b2"):
            us.agents[name].kill()
        wait_until(lambda: eu.agents["a2"].get("/cluster/wan")["regions"] == {"us": None}, "us to be out of reach", 20.0)
        answers: list[dict[str, Any]] = []

        def here_alone() -> bool:  # again where this machine is so busy that a1 is late
            answers.append(waited(eu, "a2"))
            return (answers[-1]["acked"], answers[-1]["of"], answers[-1]["unreachable"]) == (2, 2, ["us"])

        wait_until(here_alone, f"us to be named; answers were {answers}", 30.0)


def test_a_region_without_a_gateway_for_a_while_makes_up_for_purges_both_ways() -> None:
    with Regions(("a1", "a2"), ("b1", "b2"), ("a1", "b1"), service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        joined(regions)
        waited(eu, "a2")
        waited(us, "b2")
        us.agents["b1"].kill()
        wait_until(lambda: regions.wan_states(eu, "a1")["b1.us"] == "dead", "b1 to be seen dead", 20.0)
        us.wait_for(["b2"], b1="dead")
        fill(us, "b2", "/held-there")
        fill(eu, "a2", "/held-here")
        eu.agents["a2"].post("/cache/purge", {"url": "http://web/held-there"})
        us.agents["b2"].post("/cache/purge", {"url": "http://web/held-here"})
        fill(us, "b2", "/kept")
        marks = us.agents["b2"].metric("pilotfish_mesh_stale_marks_total")
        assert holds(us, "b2", "/held-there") and holds(eu, "a2", "/held-here")
        us.start("b1")
        wait_until(lambda: not holds(us, "b2", "/held-there"), "the other region's purge to be made up for", 20.0)
        wait_until(lambda: not holds(eu, "a2", "/held-here"), "this region's", 20.0)
        # Nothing but what was named is touched.
        assert "; hit" in us.ask("b2", "/kept")[2]
        assert us.agents["b2"].metric("pilotfish_mesh_stale_marks_total") == marks


def test_orders_to_keys_reach_every_region_and_a_region_out_of_reach_is_an_error() -> None:
    with Regions(("a1", "a2"), ("b1", "b2"), ("a1", "b1"), service=CACHED) as regions:
        eu, us = regions.eu, regions.us
        joined(regions)
        agents = {**eu.agents, **us.agents}
        for op, key, held in (("install", OTHER_KEY, 2), ("use", OTHER_KEY, 2), ("remove", KEY, 1)):
            told = agents["a2"].post("/cluster/keys", {"op": op, "key": key})
            assert (told["acknowledged"], told["of"], told["errors"]) == (4, 4, {}), told
            assert told["regions"] == {"eu": {"acknowledged": 2, "of": 2}, "us": {"acknowledged": 2, "of": 2}}
            assert all(len(agent.get("/cluster/keys")["keys"]) == held for agent in agents.values()), op
        assert waited(us, "b2")["acked"] == 4  # all hear each other under the new key
        us.agents["b1"].kill()
        wait_until(lambda: agents["a2"].get("/cluster/wan")["regions"] == {"us": None}, "us to be out of reach", 20.0)
        told = agents["a2"].post("/cluster/keys", {"op": "install", "key": KEY})
        assert (told["acknowledged"], told["of"]) == (2, 2) and "gateway" in told["errors"]["region us"]


def test_the_command_shows_the_gateways_of_all_regions_at_any_agent() -> None:
    with Regions(("a1", "a2"), ("b1",), ("a1", "b1")) as regions:
        joined(regions)
        for name in ("a1", "a2"):
            said = command(regions.eu.agents[name], "members", "--wan")
            assert all(word in said.stdout for word in ("a1.eu", "b1.us", "this region: eu", "us: ")), said
            assert said.returncode == 0
        alone = regions.eu.agents["a2"]
        regions.eu.agents["a1"].kill()
        wait_until(lambda: command(alone, "members", "--wan").returncode == 1, "no gateway to be left", 20.0)
        wait_until(lambda: "unreachable" in command(alone, "members", "--wan").stdout, "the other region to be out of reach", 20.0)


def command(agent: AgentProcess, *words: str) -> subprocess.CompletedProcess[str]:
    host, port = agent.admin
    line = [sys.executable, "-m", "agent", "cluster", *words, "--admin", f"{host}:{port}"]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=build_directory())
