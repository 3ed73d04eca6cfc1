"""Two regions, each a cluster of its own; gateways carry endpoints and invalidations across."""

import time
from typing import Any

import pytest

from agent.admin.catalogue import CATALOGUE, sample_names
from tests.harness.apps import Fleet, Traffic
from tests.harness.mesh import PORT
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
        # Each issues its own two; a gateway repeats the other region's four once, whoever told it, and may say that it joined.
        for fleet, name in everyone:
            issued = fleet.agents[name].get("/cluster")["invalidations"]["issued"]
            assert issued <= 2 + (4 + 4 if name in gateways else 0), (name, issued)
