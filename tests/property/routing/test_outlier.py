"""Passive ejection: never more than the cap, at least one, longer each time, and never for what is our own doing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.routing import endpoint as outcome
from agent.core.routing.config import Breaker, Outlier
from tests.unit.routing.support import cluster_of

NO_BREAKER = Breaker(enabled=False)
OUTCOMES = [outcome.OK, outcome.SERVER_ERROR, outcome.GATEWAY_ERROR, outcome.CONNECT_FAILURE, outcome.RESET, outcome.TIMEOUT]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    st.lists(st.tuples(st.integers(0, 39), st.sampled_from(OUTCOMES), st.integers(1, 6), st.sampled_from([0.0, 1.0, 20.0])), max_size=60),
)
def test_never_more_than_the_cap_is_out(count: int, cap: float, steps: list[tuple[int, int, int, float]]) -> None:
    config = Outlier(consecutive_5xx=3, consecutive_gateway=3, ejected_share_max=cap, success_rate_requests_min=5, success_rate_hosts_min=2)
    cluster = cluster_of(count, outlier=config, breaker=NO_BREAKER)
    now = 1.0
    for which, result, times, seconds in steps:
        now += seconds
        endpoint = cluster.endpoints[which % count]
        for _ in range(times):
            endpoint.begin(now)
            endpoint.finish(now, 0.01, result)
        cluster.tick(now)
        assert cluster.pick(now) is not None
        out = [one for one in cluster.endpoints if one.ejected_until > now]
        assert len(out) <= max(1, int(count * cap))
        assert all(one.ejected_until - now <= config.ejection_max for one in out)
        assert cluster.panic or not any(one.usable for one in out)


@given(st.lists(st.sampled_from([outcome.LOCAL, outcome.CANCELLED, outcome.OVERLOADED]), max_size=100))
def test_our_own_limits_and_clients_that_leave_eject_nobody(results: list[int]) -> None:
    cluster = cluster_of(3)
    for number, result in enumerate(results):
        endpoint = cluster.endpoints[0]
        endpoint.begin(number)
        endpoint.finish(number, 0.01, result)
        cluster.tick(number)
        cluster.pick(number)
    assert [endpoint.ejected_total for endpoint in cluster.endpoints] == [0, 0, 0]
    assert [endpoint.breaker.opened for endpoint in cluster.endpoints] == [0, 0, 0]


def test_one_of_a_few_is_ejected_and_for_longer_each_time() -> None:
    cluster = cluster_of(3, breaker=NO_BREAKER)
    bad = cluster.endpoints[0]
    now = 1.0
    lasted = []
    for _ in range(12):
        for _ in range(5):
            bad.begin(now)
            bad.finish(now, 0.01, outcome.SERVER_ERROR)
        picked = {cluster.pick(now) for _ in range(30)}
        assert bad not in picked and len(picked) == 2
        lasted.append(bad.ejected_until - now)
        now = bad.ejected_until
        cluster.pick(now)
        assert bad.usable
    assert lasted == [30.0 * min(number, 10) for number in range(1, 13)]
    events = [event["event"] for event in cluster.drain_events()]
    assert events == ["ejected", "returned"] * 12


def test_good_behaviour_makes_the_next_ejection_shorter() -> None:
    cluster = cluster_of(3, breaker=NO_BREAKER)
    bad = cluster.endpoints[0]
    bad.ejections = 3
    for second in range(0, 21, 10):
        cluster.tick(float(second))
    assert bad.ejections == 0


def test_success_rate_and_latency_stand_out_against_the_others() -> None:
    config = Outlier(success_rate_requests_min=20, latency_factor=3.0, ejected_share_max=1.0, consecutive_5xx=0, consecutive_gateway=0)
    cluster = cluster_of(10, outlier=config, breaker=NO_BREAKER)
    cluster.tick(0.0)
    for index, endpoint in enumerate(cluster.endpoints):
        for number in range(50):
            endpoint.begin(1.0)
            failed = index == 3 and number % 2 == 0
            endpoint.finish(1.0, 0.2 if index == 5 else 0.02, outcome.SERVER_ERROR if failed else outcome.OK)
    cluster.tick(10.0)
    assert [index for index, endpoint in enumerate(cluster.endpoints) if endpoint.ejected_until > 10.0] == [3, 5]
    rules = [event["rule"] for event in cluster.drain_events() if event["event"] == "ejected"]
    assert rules[0].startswith("success rate 50.0%") and rules[1].startswith("mean latency 200.0 ms")
