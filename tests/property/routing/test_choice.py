"""Which endpoint gets a request: weights, turns, zones, slow start, panic, and never one that fails fast."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.routing import endpoint as outcome
from agent.core.routing.balance import Random, RoundRobin
from agent.core.routing.config import Balance, Breaker, Outlier
from tests.unit.routing.support import cluster_of, shares, specs

OPEN_TO_ALL = {"breaker": Breaker(enabled=False), "outlier": Outlier(enabled=False)}
POLICIES = ["p2c_ewma", "least_request", "random", "round_robin"]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(POLICIES), st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 1000))
def test_weights_are_honoured(policy: str, weights: list[int], seed: int) -> None:
    cluster = cluster_of(specs(len(weights), tuple(weights)), seed=seed, balance=Balance(policy=policy))  # type: ignore[arg-type]
    shares(cluster, 1.0, 200)  # so that none is untried
    picks = 8000
    seen = shares(cluster, 1.0, picks)
    for endpoint in cluster.endpoints:
        share = endpoint.weight / sum(weights)
        bound = 6.0 * (picks * share * (1 - share)) ** 0.5 + 2
        assert abs(seen[endpoint.address] - picks * share) <= bound, (seen, weights)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 99))
def test_turns_are_nginx_smooth_weighted_round_robin(weights: list[int], seed: int) -> None:
    endpoints = cluster_of(specs(len(weights), tuple(weights))).endpoints
    chooser = RoundRobin(endpoints, Random(seed))
    total = sum(weights) if len(set(weights)) > 1 else len(weights)
    turn = [endpoints.index(chooser.choose(0.0, -1)) for _ in range(2 * total)]
    assert turn[:total] == turn[total:]
    current = [0] * len(weights)
    expected = []
    for _ in range(total):
        current = [now + weight for now, weight in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= sum(weights)
        expected.append(best)
    assert any(turn[start : start + total] == expected for start in range(total))  # it begins anywhere in the turn


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_everyone_is_tried_soon(policy: str, count: int) -> None:
    """Even when the first to answer is faster than any guess of what the others take."""
    cluster = cluster_of(count, balance=Balance(policy=policy))  # type: ignore[arg-type]
    assert len(shares(cluster, 1.0, count * 10, latency_s=0.001)) == count


def test_an_untried_endpoint_gets_one_request_at_a_time() -> None:
    cluster = cluster_of(2)
    known, fresh = cluster.endpoints
    known.begin(1.0)
    known.finish(1.0, 0.001, outcome.OK)
    first = cluster.pick(1.0)
    assert first is fresh
    fresh.begin(1.0)
    assert {cluster.pick(1.0) for _ in range(50)} == {known}


@pytest.mark.parametrize("policy", ["p2c_ewma", "least_request"])
@pytest.mark.parametrize("failure", [outcome.SERVER_ERROR, outcome.CONNECT_FAILURE, outcome.OVERLOADED])
def test_failing_fast_does_not_attract(policy: str, failure: int) -> None:
    """One of five fails in 1 ms, the others answer in 20 ms; 100 requests a second for a minute, nobody is ejected."""
    cluster = cluster_of(5, balance=Balance(policy=policy), **OPEN_TO_ALL)  # type: ignore[arg-type]
    bad = cluster.endpoints[2]
    ends: list[tuple[float, int]] = []
    seen: Counter[int] = Counter()
    for step in range(6000):
        now = step * 0.01
        for at, index in [end for end in ends if end[0] <= now]:
            endpoint = cluster.endpoints[index]
            endpoint.finish(at, 0.001 if endpoint is bad else 0.02, failure if endpoint is bad else outcome.OK)
        ends = [end for end in ends if end[0] > now]
        cluster.tick(now)
        endpoint = cluster.pick(now)
        assert endpoint is not None
        index = cluster.endpoints.index(endpoint)
        seen[index] += 1
        endpoint.begin(now)
        ends.append((now + (0.001 if endpoint is bad else 0.02), index))
    assert seen[2] < 6000 * 0.02  # a fair share would be 20 %


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 10), st.integers(0, 10), st.integers(1, 20))
def test_a_zone_spills_over_by_what_it_lacks(local: int, down: int, remote: int) -> None:
    down = min(down, local - 1)
    zones = ("a",) * local + ("b",) * remote
    cluster = cluster_of(specs(local + remote, (), zones), zone="a", balance=Balance(policy="random", panic_threshold=0.0))
    for endpoint in [endpoint for endpoint in cluster.endpoints if endpoint.zone == "a"][:down]:
        cluster.set_health(endpoint.address, False, 1.0)
    picks = 4000
    seen = shares(cluster, 2.0, picks)
    at_home = sum(seen[endpoint.address] for endpoint in cluster.endpoints if endpoint.zone == "a") / picks
    well = local - down
    by_zone = min(1.0, 1.4 * well / local)
    expected = by_zone + (1 - by_zone) * well / (well + remote)  # what spills over goes to all that are usable
    assert abs(at_home - expected) < 6 * (0.25 / picks) ** 0.5


def test_a_slow_zone_spills_over_too() -> None:
    cluster = cluster_of(specs(4, (), ("a", "a", "b", "b")), zone="a")
    assert set(shares(cluster, 1.0, 200)) == {"10.0.0.0:80", "10.0.0.1:80"}
    for endpoint in cluster.endpoints[:2]:
        endpoint.begin(1.0)
        endpoint.finish(1.0, 1.0, outcome.OK)
        endpoint.begin(1.0)  # and busy
    for endpoint in cluster.endpoints[2:]:
        endpoint.begin(1.0)
        endpoint.finish(1.0, 0.01, outcome.OK)
    assert {cluster.pick(1.0).zone for _ in range(100)} == {"b"}  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", POLICIES)
def test_slow_start_is_a_ramp(policy: str) -> None:
    cluster = cluster_of(specs(4), balance=Balance(policy=policy, slow_start=100.0))  # type: ignore[arg-type]
    shares(cluster, 1.0, 100)
    cluster.update(specs(5), 10.0)
    got = []
    for now in (10.0, 35.0, 60.0, 85.0, 110.0):
        cluster.tick(now)
        got.append(shares(cluster, now, 5000)["10.0.0.4:80"] / 5000)
    assert got == sorted(got)
    for share, ramp in zip(got, (0.1, 0.25, 0.5, 0.75, 1.0), strict=True):
        assert 0.5 * ramp / 5 < share < 1.6 * ramp / 5 + 0.02, got
    assert cluster.endpoints[4].ramp == 1.0


@pytest.mark.parametrize(("down", "panic"), [(4, False), (5, False), (6, True), (10, True)])
def test_below_half_healthy_everyone_gets_traffic(down: int, panic: bool) -> None:
    cluster = cluster_of(10, balance=Balance(policy="random"))
    for endpoint in cluster.endpoints[:down]:
        cluster.set_health(endpoint.address, False, 1.0)
    assert len(shares(cluster, 1.0, 1000)) == (10 if panic else 10 - down)
    assert cluster.panic == panic


def test_retry_after_is_honoured_unless_all_ask_for_it() -> None:
    cluster = cluster_of(3, balance=Balance(policy="random"), **OPEN_TO_ALL)
    for number, endpoint in enumerate(cluster.endpoints):
        assert cluster.has_other(endpoint, 1.0) == (number < 2)
        endpoint.begin(1.0)
        endpoint.finish(1.0, 0.001, outcome.OVERLOADED, 30.0)
        picked = set(shares(cluster, 1.0, 60))
        assert len(picked) == (2 - number if number < 2 else 3)
    assert len(shares(cluster, 31.5, 300)) == 3


def test_a_retry_goes_elsewhere() -> None:
    for policy in POLICIES:
        cluster = cluster_of(2, balance=Balance(policy=policy))  # type: ignore[arg-type]
        first, other = cluster.endpoints
        assert all(cluster.pick(1.0, -1, first) is other for _ in range(50))


def test_a_choice_does_not_walk_over_a_thousand_endpoints() -> None:
    """Counted, not timed: how often all of them are looked at, when every answer asks for it."""
    cluster = cluster_of(1000, **OPEN_TO_ALL)
    shares(cluster, 1.0, 2000)
    looks: set[float] = set()
    generator = random.Random(1)
    for step in range(1000):
        now = 2.0 + step * 0.001
        endpoint = cluster.pick(now)
        assert endpoint is not None
        endpoint.begin(now)
        endpoint.finish(now, 0.001, outcome.OVERLOADED, generator.uniform(1, 100))  # the worst: each asks for a look
        looks.add(cluster._look_after)
    assert len(looks) <= 1 + 1.0 / 0.02


@given(st.integers(0, 2**64 - 1))
def test_random_numbers_are_even_and_do_not_follow_one_another(seed: int) -> None:
    """Chi-square over 16 cells of the upper bits, the lower bits, and pairs; 15 and 255 degrees of freedom."""
    generator = Random(seed)
    numbers = [generator.u32() for _ in range(4096)]
    assert all(0 <= number < 2**32 for number in numbers)
    for values, cells, bound in (
        ([number >> 28 for number in numbers], 16, 70),
        ([number & 15 for number in numbers], 16, 70),
        ([(a >> 28) * 16 + (b >> 28) for a, b in pairwise(numbers)], 256, 420),
    ):
        expected = len(values) / cells
        counts = Counter(values)
        assert sum((counts[cell] - expected) ** 2 / expected for cell in range(cells)) < bound
