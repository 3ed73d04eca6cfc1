"""The percentile that a hedge waits for, against the exact one."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Hedge, Service
from agent.core.routing.endpoint import OK
from agent.core.routing.latency import LatencyWindow

SECONDS = st.floats(0.0001, 30.0)


@given(st.lists(SECONDS, min_size=20, max_size=300), st.floats(0.01, 1.0))
def test_a_percentile_is_the_exact_one_rounded_up_by_a_tenth_at_most(values: list[float], share: float) -> None:
    window = LatencyWindow()
    for number, value in enumerate(values):
        if number == len(values) // 2:
            window.turn()
        window.record(value)
    wanted = share * len(values)
    exact = next(value for index, value in enumerate(sorted(values)) if index + 1 >= wanted)
    assert exact * 0.9999 <= window.percentile(share) <= exact * 2 ** (1 / 8) * 1.0001


def test_too_few_say_nothing_and_old_ones_are_forgotten() -> None:
    window = LatencyWindow()
    for _ in range(19):
        window.record(1.0)
    assert window.percentile(0.5) == 0.0
    window.record(1.0)
    assert window.percentile(0.5) > 0.9
    window.turn()
    assert window.percentile(0.5) > 0.9
    window.turn()
    assert window.percentile(0.5) == 0.0


def test_a_hedge_waits_for_the_percentile_and_never_less_than_its_least() -> None:
    cluster = Cluster("web", Service(hedge=Hedge(enabled=True, percentile=0.9, delay_min=0.005)), "", 1)
    assert cluster.hedge_delay(0.0) == 0.0
    for _ in range(40):
        cluster.admit(1.0, 5)
        cluster.done(1.0, 0.001, OK)
    assert cluster.hedge_delay(1.0) == 0.005
    for _ in range(40):
        cluster.admit(1.0, 5)
        cluster.done(1.0, 0.1, OK)
    assert 0.1 <= cluster.hedge_delay(1.0) < 0.11
