"""The adaptive concurrency limit before a simulated service: a number of workers and a queue."""

from agent.core.routing.concurrency import AdaptiveLimit
from agent.core.routing.config import Concurrency

TIGHT = Concurrency(limit_min=4, limit_max=2000, slack=0.0, tolerance=1.5)


class Workers:
    """So many requests are served at once, each in `base_s`; more wait. Offered: requests that would be under way."""

    def __init__(self, config: Concurrency, workers: int, base_s: float) -> None:
        self.limit = AdaptiveLimit(config)
        self.workers = workers
        self.base_s = base_s
        self.now = 0.0
        self.latency_s = 0.0

    def run(self, seconds: float, offered: int) -> float:
        """Let time pass; the limit at the end."""
        end = self.now + seconds
        while self.now < end:
            under_way = min(offered, int(self.limit.bound(5)))
            self.latency_s = self.base_s * max(1.0, under_way / self.workers)
            for number in range(20):
                self.limit.record(self.latency_s * (0.98 + 0.002 * number), under_way)
            self.now += self.limit.config.window
            self.limit.tick(self.now)
        return self.limit.limit


def test_it_converges_to_near_the_knee_from_above() -> None:
    service = Workers(TIGHT, workers=50, base_s=0.02)
    service.run(2.0, offered=10)
    limit = service.run(60.0, offered=5000)
    assert 50 <= limit <= 2 * 50  # busy workers, and no more waiting than the tolerance and the probing root allow
    assert service.latency_s < 2 * 0.02


def test_an_agent_that_starts_into_overload_finds_the_knee_too() -> None:
    service = Workers(TIGHT, workers=50, base_s=0.02)
    assert service.run(20 * TIGHT.rtt_window, offered=5000) <= 2 * 50


def test_it_grows_only_while_it_is_used() -> None:
    service = Workers(TIGHT, workers=1000, base_s=0.02)
    before = service.run(10.0, offered=10)
    assert service.run(60.0, offered=10) == before
    assert service.run(60.0, offered=5000) > 1.2 * 1000


def test_lasting_overload_is_not_taken_for_the_service_itself() -> None:
    """Ten times `rtt_window` of a full queue: a limit that measured its shortest latency in it would drift up each minute."""
    service = Workers(TIGHT, workers=50, base_s=0.02)
    service.run(2.0, offered=10)
    assert service.run(10 * TIGHT.rtt_window, offered=5000) <= 2 * 50


def test_it_recovers_when_the_service_does() -> None:
    service = Workers(TIGHT, workers=50, base_s=0.02)
    service.run(2.0, offered=10)
    good = service.run(30.0, offered=5000)
    service.workers = 5
    assert service.run(30.0, offered=5000) <= 2 * 5 + 4
    service.workers = 50
    again = service.run(60.0, offered=5000)
    assert 0.8 * good <= again <= 1.2 * good


def test_a_service_that_became_slower_is_believed_in_time() -> None:
    service = Workers(TIGHT, workers=50, base_s=0.02)
    service.run(2.0, offered=10)
    service.run(30.0, offered=5000)
    service.base_s = 0.2
    assert service.run(10.0, offered=5000) < TIGHT.limit_min + 1
    service.run(2 * TIGHT.rtt_window, offered=5000)
    assert service.limit.shortest_s > 0.1
    assert 50 <= service.run(60.0, offered=5000) <= 2 * 50


def test_by_default_waiting_is_bounded_and_idle_services_are_not_shed() -> None:
    config = Concurrency()
    service = Workers(config, workers=64, base_s=0.01)
    service.run(2.0, offered=10)
    service.run(60.0, offered=5000)
    assert service.latency_s <= (config.tolerance * 0.01 + config.slack) * 1.1
    quick = Workers(config, workers=1, base_s=0.0001)
    assert quick.run(60.0, offered=256) >= 256  # 256 connections before one busy core wait 26 ms: that is no overload


def test_low_priorities_are_shed_first() -> None:
    limit = AdaptiveLimit(Concurrency(limit_min=100, limit_max=100))
    assert [round(limit.bound(priority)) for priority in (0, 5, 6, 7, 8, 9)] == [100, 100, 90, 80, 70, 60]
