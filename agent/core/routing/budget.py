"""Retry budget and backoff (Envoy's retry_budget; full jitter after AWS's Exponential Backoff And Jitter)."""


class RetryBudget:
    """Retries and hedges under way may be a share of the requests under way, but always a few."""

    def __init__(self, share: float, at_least: int) -> None:
        self.share = share
        self.at_least = at_least
        self.active = 0
        """Requests under way, told by the cluster."""
        self.spent = 0
        """Retries and hedges under way."""
        self.refused = 0

    def try_start(self) -> bool:
        """Take a place if there is one."""
        if self.spent < self.at_least or self.spent < self.share * self.active:
            self.spent += 1
            return True
        self.refused += 1
        return False

    def finish(self) -> None:
        if self.spent > 0:
            self.spent -= 1


def full_jitter_s(base_s: float, max_s: float, attempt: int, random_u32: int) -> float:
    """A delay between 0 and base × 2ⁿ⁻¹, at most `max_s`. attempt: 1 for the first retry."""
    ceiling = base_s * (1 << min(attempt - 1, 16))
    if ceiling > max_s:
        ceiling = max_s
    return ceiling * (random_u32 / 4_294_967_296.0)
