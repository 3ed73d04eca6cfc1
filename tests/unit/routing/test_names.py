"""Endpoints given by name, with a resolver of the test's own."""

import asyncio
from typing import Any

from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Dns, Service
from agent.core.routing.endpoint import EndpointSpec
from agent.proxy.health import Names, is_name, keep_resolved
from agent.proxy.sources import Sources

SPECS = [EndpointSpec("api.test", 80, 2, "a"), EndpointSpec("10.9.9.9", 81), EndpointSpec("db.test", 82)]


class Resolver:
    """Answers from a table; a name that is not in it fails, as the system's does."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {"api.test": ["10.0.0.1", "10.0.0.2"], "db.test": ["::1"]}
        self.round_over = asyncio.Event()

    async def __call__(self, host: str, port: int) -> list[str]:
        if host == "db.test":
            self.round_over.set()
        if host not in self.table:
            raise OSError(f"{host} unknown")
        return self.table[host]


def addresses(specs: list[EndpointSpec]) -> set[str]:
    return {spec.address for spec in specs}


def test_each_address_of_a_name_is_an_endpoint_with_its_weight_and_zone() -> None:
    found = asyncio.run(Names(SPECS, Resolver()).resolve())
    assert addresses(found) == {"10.0.0.1:80", "10.0.0.2:80", "10.9.9.9:81", "[::1]:82"}
    assert {(spec.weight, spec.zone) for spec in found if spec.port == 80} == {(2, "a")}


def test_a_name_that_stops_resolving_keeps_its_last_addresses_and_holds_up_no_other() -> None:
    resolver = Resolver()
    names = Names(SPECS, resolver)

    async def run() -> None:
        await names.resolve()
        del resolver.table["db.test"]
        resolver.table["api.test"] = ["10.0.0.3"]
        assert addresses(await names.resolve()) == {"10.0.0.3:80", "10.9.9.9:81", "[::1]:82"}
        assert names.failing == {"db.test": "db.test unknown"}
        resolver.table["api.test"] = []  # no address is no answer either
        resolver.table["db.test"] = ["10.0.0.4"]
        assert addresses(await names.resolve()) == {"10.0.0.3:80", "10.9.9.9:81", "10.0.0.4:82"}
        assert set(names.failing) == {"api.test"}

    asyncio.run(run())


def test_a_name_that_never_resolved_is_left_out() -> None:
    resolver = Resolver()
    resolver.table.clear()
    assert addresses(asyncio.run(Names(SPECS, resolver).resolve())) == {"10.9.9.9:81"}


def test_a_cluster_follows_its_names_and_says_when_one_fails() -> None:
    resolver = Resolver()
    cluster = Cluster("web", Service(dns=Dns(refresh=0.001)), "", 1)

    async def turn() -> None:
        for _ in range(2):  # the second round begins when the first has been taken
            resolver.round_over.clear()
            await resolver.round_over.wait()

    def endpoints() -> set[str]:
        return {endpoint.address for endpoint in cluster.endpoints}

    async def run() -> list[dict[str, Any]]:
        task = asyncio.create_task(keep_resolved(cluster, SPECS, Sources(cluster, []).take_fixed, resolver))
        await turn()
        assert endpoints() == {"10.0.0.1:80", "10.0.0.2:80", "10.9.9.9:81", "[::1]:82"}
        stays = cluster.endpoints[0]
        resolver.table["api.test"] = ["10.0.0.1", "10.0.0.5"]
        await turn()
        assert endpoints() == {"10.0.0.1:80", "10.0.0.5:80", "10.9.9.9:81", "[::1]:82"}
        assert cluster.endpoints[0] is stays
        resolver.table.clear()
        await turn()
        assert len(endpoints()) == 4
        resolver.table["db.test"] = ["10.0.0.6"]
        await turn()
        assert "10.0.0.6:82" in endpoints()
        task.cancel()
        return cluster.drain_events()

    events = [(event["event"], event["host"]) for event in asyncio.run(run())]
    assert events == [
        ("name does not resolve", "api.test"),
        ("name does not resolve", "db.test"),
        ("name resolves again", "db.test"),
    ]


def test_what_has_to_be_resolved() -> None:
    assert [is_name(host) for host in ("localhost", "api.test", "127.0.0.1", "::1", "/run/x.sock")] == [True, True, False, False, False]
