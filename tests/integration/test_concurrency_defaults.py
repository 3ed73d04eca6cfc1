"""The adaptive limit with its defaults: requests queueing in a busy agent are no reason to refuse any."""

from agent.core.routing.concurrency import AdaptiveLimit
from agent.core.routing.config import Concurrency


def windows(limit: AdaptiveLimit, latency_s: float, in_flight: int, number: int, now: float) -> float:
    """Feed so many windows of equal latency; the time after them."""
    for _ in range(number):
        for _ in range(50):
            limit.record(latency_s, in_flight)
        now += limit.config.window
        limit.tick(now)
    return now


def test_a_fast_service_behind_a_busy_core_is_not_shed() -> None:
    limit = AdaptiveLimit(Concurrency())
    now = windows(limit, 0.0002, 10, 2, 0.0)
    windows(limit, 0.02, 256, 40, now)
    assert limit.bound(5) > 256


def test_a_service_that_queues_is_shed() -> None:
    limit = AdaptiveLimit(Concurrency())
    now = windows(limit, 0.005, 100, 2, 0.0)
    windows(limit, 0.5, 800, 40, now)
    assert limit.bound(5) < 256
