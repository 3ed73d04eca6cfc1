"""The agent's zone first, then its region, then the other regions by how far they are."""

from collections import Counter

import pytest

from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Balance, Service
from agent.core.routing.endpoint import OK, EndpointSpec
from agent.core.routing.zones import latency_class

PLACES = [("eu", "a"), ("eu", "b"), ("us", "c"), ("ap", "d")]


def cluster_of(policy: str = "p2c_ewma", each: int = 3, distances: dict[str, int] | None = None) -> Cluster:
    cluster = Cluster("web", Service(balance=Balance(policy=policy, panic_threshold=0.0)), "a", 5, "eu")  # type: ignore[arg-type]
    specs = [EndpointSpec(f"10.{at}.0.{number}", 80, 1, zone, region) for at, (region, zone) in enumerate(PLACES) for number in range(each)]
    cluster.update(specs, 0.0)
    cluster.set_distances({"us": 4, "ap": 7} if distances is None else distances)
    return cluster


def zones(cluster: Cluster, picks: int = 2000) -> Counter[str]:
    seen: Counter[str] = Counter()
    for number in range(picks):
        now = number * 0.001
        endpoint = cluster.pick(now)
        assert endpoint is not None
        seen[endpoint.zone] += 1
        endpoint.begin(now)
        endpoint.finish(now, 0.01, OK)
    return seen


def out(cluster: Cluster, *zones: str, keep: int = 0) -> None:
    for zone in zones:
        for endpoint in [endpoint for endpoint in cluster.endpoints if endpoint.zone == zone][keep:]:
            cluster.set_health(endpoint.address, False, 0.0)


@pytest.mark.parametrize("policy", ["p2c_ewma", "round_robin", "least_request", "random"])
def test_each_ring_has_all_until_it_is_out(policy: str) -> None:
    cluster = cluster_of(policy)
    for last in ("a", "b", "c", "d"):
        assert set(zones(cluster)) == {last}
        out(cluster, last) if last != "d" else None


def test_a_ring_that_cannot_carry_all_gives_the_rest_to_the_next() -> None:
    cluster = cluster_of()
    out(cluster, "a", keep=1)
    seen = zones(cluster)
    assert set(seen) == {"a", "b"} and 0.3 < seen["a"] / 2000 < 0.65
    out(cluster, "b", keep=1)
    seen = zones(cluster)
    assert set(seen) == {"a", "b", "c"} and seen["c"] > 200


def test_regions_of_the_same_class_share() -> None:
    cluster = cluster_of(distances={"us": 4, "ap": 4})
    out(cluster, "a", "b")
    seen = zones(cluster)
    assert set(seen) == {"c", "d"} and min(seen.values()) > 500


def test_a_region_of_unknown_distance_is_the_farthest() -> None:
    cluster = cluster_of(distances={"ap": 7})
    out(cluster, "a", "b")
    assert set(zones(cluster)) == {"d"}


def test_a_retry_of_what_failed_nearby_may_go_farther() -> None:
    cluster = cluster_of(each=1)
    first = cluster.pick(0.0)
    assert first is not None and first.zone == "a"
    assert {other.zone for _ in range(50) if (other := cluster.pick(0.0, -1, first))} == {"b"}


def test_an_endpoint_without_a_region_is_in_the_agents() -> None:
    cluster = Cluster("web", Service(), "a", 5, "eu")
    cluster.update([EndpointSpec("10.0.0.1", 80, 1, "b"), EndpointSpec("10.0.0.2", 80, 1, "x", "us")], 0.0)
    assert set(zones(cluster)) == {"b"}


def test_classes_are_a_factor_of_two() -> None:
    assert [latency_class(ms / 1000) for ms in (0.0, 0.4, 1.9, 3.0, 5.0, 9.0, 80.0, 100.0, 150.0)] == [0, 0, 0, 1, 2, 3, 6, 6, 7]
