"""Passive outlier ejection (Envoy's terms): who is put aside because of how its real requests went, and for how long."""

from math import sqrt

from agent.core.routing.config import Outlier
from agent.core.routing.endpoint import Endpoint


class OutlierDetector:
    """Ejects endpoints within a cap. Overflow of our own limits never reaches it: `Endpoint.finish` counts none of that."""

    def __init__(self, config: Outlier) -> None:
        self.config = config
        self._next_at = 0.0

    def ejectable(self, endpoints: list[Endpoint], now: float) -> int:
        """How many more may be ejected: the cap, at least one, less those that are out."""
        cap = max(1, int(len(endpoints) * self.config.ejected_share_max))
        return cap - sum(1 for endpoint in endpoints if endpoint.ejected_until > now)

    def consecutive(self, endpoint: Endpoint) -> str:
        """The rule of consecutive failures that an endpoint has broken, or empty."""
        config = self.config
        if config.consecutive_gateway and endpoint.consecutive_gateway >= config.consecutive_gateway:
            return f"{endpoint.consecutive_gateway} consecutive gateway errors"
        if config.consecutive_5xx and endpoint.consecutive_5xx >= config.consecutive_5xx:
            return f"{endpoint.consecutive_5xx} consecutive 5xx"
        return ""

    def eject(self, endpoint: Endpoint, now: float) -> float:
        """Put an endpoint aside; seconds for how long."""
        endpoint.ejections += 1
        endpoint.ejected_total += 1
        seconds = min(self.config.ejection_base * endpoint.ejections, self.config.ejection_max)
        endpoint.ejected_until = now + seconds
        endpoint.consecutive_5xx = 0
        endpoint.consecutive_gateway = 0
        return seconds

    def interval(self, endpoints: list[Endpoint], now: float) -> list[tuple[Endpoint, str]]:
        """When an interval has passed: the endpoints whose success rate or latency stands out, worst first; their windows
        begin anew."""
        if now < self._next_at:
            return []
        self._next_at = now + self.config.interval
        found = self._success_rate(endpoints) + self._latency(endpoints)
        for endpoint in endpoints:
            if endpoint.ejections and endpoint.ejected_until <= now and not endpoint.window_failures:
                endpoint.ejections -= 1
            endpoint.window_requests = 0
            endpoint.window_failures = 0
            endpoint.window_latency_s = 0.0
        return found

    def _success_rate(self, endpoints: list[Endpoint]) -> list[tuple[Endpoint, str]]:
        config = self.config
        if config.success_rate_stdev <= 0.0:
            return []
        counted = [endpoint for endpoint in endpoints if endpoint.window_requests >= config.success_rate_requests_min]
        if len(counted) < max(config.success_rate_hosts_min, 1):
            return []
        rates = [1.0 - endpoint.window_failures / endpoint.window_requests for endpoint in counted]
        mean = sum(rates) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
        threshold = mean - config.success_rate_stdev * deviation
        worst = sorted(zip(rates, range(len(counted)), strict=True))
        return [
            (counted[index], f"success rate {rate:.1%} below {threshold:.1%}")
            for rate, index in worst
            if rate < threshold and deviation > 0.0
        ]

    def _latency(self, endpoints: list[Endpoint]) -> list[tuple[Endpoint, str]]:
        config = self.config
        if config.latency_factor <= 0.0:
            return []
        means = []
        for index, endpoint in enumerate(endpoints):
            good = endpoint.window_requests - endpoint.window_failures
            if good >= config.success_rate_requests_min:
                means.append((endpoint.window_latency_s / good, index))
        if len(means) < max(config.success_rate_hosts_min, 2):
            return []
        means.sort()
        median = means[len(means) // 2][0]
        return [
            (endpoints[index], f"mean latency {mean * 1000:.1f} ms over {config.latency_factor:g} x the median")
            for mean, index in reversed(means)
            if mean > config.latency_factor * median
        ]
