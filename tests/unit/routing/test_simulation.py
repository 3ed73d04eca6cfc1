"""What the policies and the retry budget do to whole systems, in simulated time."""

import pytest

from agent.core.routing import endpoint as outcome
from agent.core.routing.config import Balance, Breaker, Concurrency, Outlier, Retries
from tests.unit.routing.simulation import World

ALONE = {"breaker": Breaker(enabled=False), "outlier": Outlier(enabled=False), "concurrency": Concurrency(enabled=False)}


def slowed(policy: str, seed: int) -> tuple[float, float]:
    """p99 before one of ten endpoints becomes ten times as slow, and from 5 to 25 s after."""
    world = World(10, seed, balance=Balance(policy=policy), **ALONE)  # type: ignore[arg-type]
    world.load(rate=1500.0, until=40.0)  # of 4,000 that ten servers can take
    world.run(15.0)
    world.servers["10.0.0.3:80"].mean_s *= 10
    world.run(40.0)
    return world.p99(5.0, 15.0), world.p99(20.0, 40.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_slow_endpoint_of_ten_leaves_p99_near_normal(seed: int) -> None:
    before, after = slowed("p2c_ewma", seed)
    assert after < 1.5 * before


def test_the_same_under_a_policy_that_does_not_measure() -> None:
    """So that the test above means something."""
    before, after = slowed("round_robin", 1)
    assert after > 5 * before


def test_the_slow_endpoint_gets_its_share_again_when_it_recovers() -> None:
    world = World(10, 5, balance=Balance(ewma_decay=2.0), **ALONE)
    world.load(rate=1500.0, until=60.0)
    server = world.servers["10.0.0.3:80"]
    world.run(10.0)
    server.mean_s *= 10
    world.run(30.0)
    while_slow = server.tries
    server.mean_s /= 10
    world.run(50.0)
    before = server.tries
    world.run(60.0)
    assert server.tries - before > 0.7 * 1500  # of a fair share in ten seconds
    assert while_slow < 1500 + 0.3 * 20 * 150


@pytest.mark.parametrize("rate", [50.0, 2000.0])
def test_when_all_fails_retries_stay_within_their_budget(rate: float) -> None:
    world = World(10, 1, retries=Retries(attempts=3), **ALONE)
    for server in world.servers.values():
        server.outcome = outcome.GATEWAY_ERROR
    world.load(rate, until=20.0)
    world.run(21.0)
    tries = sum(server.tries for server in world.servers.values())
    assert world.most_over_budget <= 0.0
    assert world.cluster.budget.spent == 0
    if rate > 1000:
        assert 1.05 < tries / world.requests < 1.3
    else:
        # Few requests: the budget's least (3 under way) allows each its retries.
        assert tries / world.requests > 1.5


def test_without_a_budget_the_same_is_four_times_the_load() -> None:
    world = World(10, 1, retries=Retries(attempts=3, budget=1.0, budget_min=100_000), **ALONE)
    for server in world.servers.values():
        server.outcome = outcome.GATEWAY_ERROR
    world.load(500.0, until=20.0)
    world.run(25.0)
    assert sum(server.tries for server in world.servers.values()) > 3.9 * world.requests


def test_a_service_that_fails_wholly_is_spared_by_its_breaker() -> None:
    world = World(10, 1)
    for server in world.servers.values():
        server.outcome = outcome.SERVER_ERROR
    world.load(1000.0, until=20.0)
    world.run(20.0)
    tries = sum(server.tries for server in world.servers.values())
    assert tries < 0.05 * world.requests
    for server in world.servers.values():
        server.outcome = outcome.OK
    world.load(1000.0, until=60.0)
    world.run(60.0)
    good = [result for at, _, result in world.finished if at > 50.0]
    assert len(good) > 9000
    assert set(good) == {outcome.OK}


def test_one_endpoint_that_fails_fast_costs_next_to_nothing() -> None:
    world = World(5, 1, **ALONE)
    bad = world.servers["10.0.0.2:80"]
    bad.mean_s, bad.outcome = 0.001, outcome.SERVER_ERROR
    world.load(500.0, until=60.0)
    world.run(60.0)
    assert sum(result != outcome.OK for _, _, result in world.finished) < 0.01 * world.requests
