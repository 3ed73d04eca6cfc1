"""Peers' advice on endpoints: a quorum that decays, never more than caution, never against what we see ourselves."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.routing import breaker
from agent.core.routing.advice import ADDED_MAX, HALF_LIFE_S, Advice, RemoteLoads
from agent.core.routing.config import Balance, Breaker, Outlier
from agent.core.routing.endpoint import OK, SERVER_ERROR, Board, Endpoint, EndpointSpec


def endpoints(count: int) -> list[Endpoint]:
    board = Board()
    made = [
        Endpoint(EndpointSpec("10.0.0.1", 80 + number), Balance(), Breaker(enabled=True), Outlier(), board, 0.0) for number in range(count)
    ]
    board.dirty = False
    return made


def advised(peers: int, reporters: int, at: float = 100.0) -> Advice:
    advice = Advice()
    advice.members(peers, 0)
    for number in range(reporters):
        advice.report(f"peer-{number}", "10.0.0.1:80", True, at)
    return advice


@given(st.integers(0, 100), st.integers(0, 10), st.floats(0.0, 200.0))
def test_a_quorum_of_fresh_reports_and_nothing_less_makes_caution(peers: int, reporters: int, age: float) -> None:
    reporters = min(reporters, peers)
    advice = advised(peers, reporters)
    suspected = advice.suspects("10.0.0.1:80", 100.0 + age)
    assert not (suspected and reporters < 2)
    if reporters >= 3 and age == 0.0:
        assert suspected
    if age > 6 * HALF_LIFE_S:
        assert not suspected


@given(st.integers(2, 10), st.lists(st.floats(0.0, 300.0), min_size=2, max_size=20))
def test_advice_only_fades(reporters: int, ages: list[float]) -> None:
    advice = advised(20, reporters)
    weights = [advice.weight("10.0.0.1:80", 100.0 + age) for age in sorted(ages)]
    assert weights == sorted(weights, reverse=True)


def test_caution_is_half_open_and_our_own_probe_settles_it() -> None:
    advice = advised(20, 3)
    some = endpoints(4)
    assert advice.apply(some, 101.0) == [some[0]]
    assert some[0].breaker.state == breaker.HALF_OPEN
    for number in range(some[0].breaker.config.probes):
        assert some[0].breaker.allow(101.0), number
        some[0].begin(101.0)
        some[0].finish(101.1, 0.01, OK)
    assert some[0].breaker.state == breaker.CLOSED
    assert advice.apply(some, 120.0) == []  # the same words do not count again
    for number in range(3):
        advice.report(f"peer-{number}", "10.0.0.1:80", False, 121.0)
        advice.report(f"peer-{number}", "10.0.0.1:80", True, 200.0)
    assert advice.apply(some, 201.0) == [some[0]]


def test_a_probe_that_fails_opens_it() -> None:
    some = endpoints(4)
    advised(20, 3).apply(some, 101.0)
    assert some[0].breaker.allow(101.0)
    some[0].begin(101.0)
    some[0].finish(101.1, 0.01, SERVER_ERROR)
    assert some[0].breaker.state == breaker.OPEN


def test_local_evidence_wins() -> None:
    some = endpoints(4)
    some[0].begin(100.0)
    some[0].finish(100.5, 0.01, OK)
    assert advised(20, 10).apply(some, 101.0) == []
    assert some[0].breaker.state == breaker.CLOSED


@given(st.integers(0, 50), st.integers(0, 50))
def test_who_may_be_cut_off_takes_no_advice(live: int, failed: int) -> None:
    advice = advised(20, 10)
    advice.members(live, failed)
    if failed > live or not live:
        assert advice.apply(endpoints(4), 100.0) == []


@given(st.integers(1, 12))
def test_at_most_half_of_a_service_is_under_caution(count: int) -> None:
    advice = Advice()
    advice.members(20, 0)
    some = endpoints(count)
    for endpoint in some:
        for number in range(5):
            advice.report(f"peer-{number}", endpoint.address, True, 100.0)
    for _ in range(3):
        advice.apply(some, 100.0)
        assert sum(endpoint.breaker.state != breaker.CLOSED for endpoint in some) <= count // 2


def test_the_word_of_who_is_gone_is_gone() -> None:
    advice = advised(20, 3)
    advice.forget("peer-1")
    advice.forget("peer-2")
    assert not advice.suspects("10.0.0.1:80", 100.0)


LOADS = st.lists(st.tuples(st.floats(0.0, 1_000.0), st.floats(0.0, 2.0)), min_size=2, max_size=8)


@given(LOADS)
def test_a_busier_endpoint_never_costs_less_and_the_idle_ones_cost_what_they_cost_alone(loads: list[tuple[float, float]]) -> None:
    some = endpoints(len(loads))
    remote = RemoteLoads()
    for endpoint, (in_flight, cpu) in zip(some, loads, strict=True):
        remote.report(endpoint.address, in_flight, cpu, 100.0)
    remote.refresh(some, 101.0)
    for a, (a_in_flight, a_cpu) in zip(some, loads, strict=True):
        assert 1.0 <= a.resting <= 1.0 + ADDED_MAX
        for b, (b_in_flight, b_cpu) in zip(some, loads, strict=True):
            if a_in_flight >= b_in_flight and a_cpu >= b_cpu:
                assert a.resting >= b.resting
    mean = sum(in_flight for in_flight, _ in loads) / len(loads)
    assert all(endpoint.resting == 1.0 for endpoint, (in_flight, cpu) in zip(some, loads, strict=True) if in_flight <= mean and cpu <= 0.8)


def test_a_report_that_is_too_old_counts_for_nothing() -> None:
    some = endpoints(2)
    for endpoint in some:
        endpoint.measured = True
    alone = some[0].cost(0.0)
    remote = RemoteLoads()
    remote.report(some[0].address, 50.0, 1.0, 100.0)
    remote.report(some[1].address, 1.0, 0.1, 100.0)
    remote.refresh(some, 101.0)
    assert some[0].cost(0.0) > 1.5 * some[1].cost(0.0) > 0.0
    remote.refresh(some, 111.0)
    assert some[0].cost(0.0) == alone
