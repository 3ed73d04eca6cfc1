"""What one service is given: which requests are let in, which endpoint each of them gets, when one is tried again.

A choice looks at two endpoints, never at all; who may be chosen is the roster's business (agent.core.routing.roster).
"""

from typing import Any, Final

from agent.core.routing.balance import Chooser
from agent.core.routing.breaker import CLOSED, STATE_NAMES, CircuitBreaker
from agent.core.routing.budget import RetryBudget, full_jitter_s
from agent.core.routing.concurrency import AdaptiveLimit
from agent.core.routing.config import Retries, Service
from agent.core.routing.endpoint import CANCELLED, LOCAL, OK, OVERLOADED, TIMEOUT, Endpoint
from agent.core.routing.latency import LatencyWindow
from agent.core.routing.roster import Roster

ADMITTED: Final = 0
REQUESTS_MAX: Final = 1
BREAKER_OPEN: Final = 2
CONCURRENCY_LIMIT: Final = 3

SPILL_FACTOR: Final = 3.0
"""A local endpoint this many times as costly as a remote one lets the remote one have the request; where it costs less than
`ewma_initial` it is not even compared, since leaving the zone is not worth a few milliseconds."""
PICKS_MAX: Final = 4


def reason_text(reason: int) -> tuple[str, str]:
    """Reason flag and words for a refusal of `Cluster.admit`."""
    if reason == BREAKER_OPEN:
        return "CB", "the service's circuit breaker is open"
    if reason == CONCURRENCY_LIMIT:
        return "LS", "more requests are under way than the adaptive concurrency limit allows"
    return "UO", "as many requests are under way as limits.requests_max allows"


class Cluster(Roster):
    """One service's endpoints and protection. `now` is monotonic seconds everywhere."""

    def __init__(self, name: str, service: Service, zone: str, seed: int, region: str = "") -> None:
        super().__init__(name, service, zone, seed, region)
        self.in_flight = 0
        self._requests_max: int = service.limits.requests_max
        self._limiting: bool = service.concurrency.enabled
        self._measures_latency: bool = service.hedge.enabled
        self.budget = RetryBudget(service.retries.budget, service.retries.budget_min)
        self.breaker = CircuitBreaker(service.breaker)
        self.limit = AdaptiveLimit(service.concurrency)
        self.latency = LatencyWindow()
        self.refused = [0, 0, 0, 0]
        """Refusals by reason."""
        self.chose: Chooser | None = None
        """Who made the last choice, and what it compared."""
        self._turn_at = 0.0

    def inherit(self, old: "Cluster", now: float) -> None:
        """After a reload: take over the running state of the cluster that this one stands in for."""
        self.in_flight = 0
        self.breaker.inherit(old.breaker)
        self.limit.limit = min(max(old.limit.limit, self.limit.config.limit_min), self.limit.config.limit_max)
        self.latency = old.latency
        earlier = {endpoint.address: endpoint for endpoint in old.endpoints}
        for endpoint in self.endpoints:
            before = earlier.get(endpoint.address)
            if before is not None:
                endpoint.inherit(before, self.service.balance.slow_start > 0.0)
            elif earlier:
                self._begin_ramp(endpoint, now)
        self._board.dirty = True

    # -- admission

    def admit(self, now: float, priority: int) -> int:
        """ADMITTED, or why not. Each admission is to be followed by `done`."""
        reason = ADMITTED
        if self.in_flight >= self._requests_max:
            reason = REQUESTS_MAX
        elif self._limiting and self.in_flight >= self.limit.bound(priority):
            reason = CONCURRENCY_LIMIT
        elif self.breaker.state != CLOSED and not self.breaker.allow(now):
            reason = BREAKER_OPEN
        if reason != ADMITTED:
            self.refused[reason] += 1
            return reason
        self.in_flight += 1
        self.budget.active = self.in_flight
        return ADMITTED

    def done(self, now: float, latency_s: float, outcome: int) -> None:
        """An admitted request is over. latency_s: to the response head."""
        self.in_flight -= 1
        self.budget.active = self.in_flight
        if outcome == TIMEOUT:
            self.limit.record(latency_s, self.in_flight + 1)  # it took at least so long
        if outcome == OK:
            self.limit.record(latency_s, self.in_flight + 1)
            if self._measures_latency:
                self.latency.record(latency_s)
            changed = self.breaker.record(now, True, latency_s)
        elif outcome == CANCELLED or outcome == LOCAL:
            self.breaker.release()
            return
        else:
            changed = self.breaker.record(now, outcome == OVERLOADED, latency_s)
        if changed:
            self.note(now, "service breaker " + STATE_NAMES[self.breaker.state])

    # -- choice

    def pick(self, now: float, hash_key: int = -1, avoid: Endpoint | None = None) -> Endpoint | None:
        """The endpoint for a request; None where there is none to be had. avoid: where a try has just failed."""
        self._look_if_due(now)
        chooser = self._all
        if chooser is None:
            return None
        best: Endpoint | None = None
        for turn in range(PICKS_MAX):
            endpoint = self._choose(now, hash_key, turn, chooser)
            if not endpoint.usable and not self.panic:
                continue
            if endpoint.breaker.state != CLOSED and not endpoint.breaker.could_allow(now):
                continue
            best = endpoint
            if endpoint is avoid:
                continue
            if endpoint.ramp < 1.0 and self._random.u32() > endpoint.ramp * 4_294_967_295.0:
                rival = self._compared_with(endpoint, avoid, now)
                if rival is None:
                    continue
                best = rival
            break
        if best is None or best is avoid:
            best = self._any_usable(now, avoid) or best
        if best is not None and best.breaker.state != CLOSED:
            if not best.breaker.allow(now):
                return None
            self._board.dirty = True
        return best

    def _choose(self, now: float, hash_key: int, turn: int, everyone: Chooser) -> Endpoint:
        if self._hashing:
            # An endpoint that is out hands each of its keys to where a second hash of the key leads; no other key moves.
            key = hash_key if turn == 0 or hash_key < 0 else ((hash_key ^ turn) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
            return everyone.choose(now, key)
        local = self._local
        if local is not None and turn < 2 and self._random.u32() <= self._local_share * 4_294_967_295.0:
            self.chose = local
            near = local.choose(now, hash_key)
            cost = near.cost(now)
            if cost > near.initial_s:
                far = self._far[(self._random.u32() * len(self._far)) >> 32]
                if cost > SPILL_FACTOR * far.standing_cost():
                    return local.cheaper(far, far.standing_cost(), near, cost)
            return near
        wider = self._wider
        if wider:
            # What a ring cannot carry goes to the next; what has failed in one is tried there again, then farther out.
            for index in range(len(wider)):
                if index + 3 > turn and self._random.u32() <= self._wider_shares[index] * 4_294_967_295.0:
                    self.chose = wider[index]
                    return wider[index].choose(now, hash_key)
        self.chose = everyone
        return everyone.choose(now, hash_key)

    def _compared_with(self, endpoint: Endpoint, avoid: Endpoint | None, now: float) -> Endpoint | None:
        """The other one of the last comparison, to which slow start gives what it takes from `endpoint`; None where there is
        none to be had."""
        chooser = self.chose
        if chooser is None or chooser.first is None:
            return None
        rival = chooser.second if endpoint is chooser.first else chooser.first
        if rival is None or rival is avoid or not (rival.usable or self.panic) or not rival.breaker.could_allow(now):
            return None
        return rival

    def _any_usable(self, now: float, avoid: Endpoint | None) -> Endpoint | None:
        """The rare case that a few choices found nobody: whoever there is, from a random place on. (The walk ends at the first
        but for those whose breaker opened since the last look.)"""
        usable = self._usable
        count = len(usable)
        start = (self._random.u32() * count) >> 32
        for step in range(count):
            endpoint = usable[(start + step) % count]
            if endpoint is not avoid and endpoint.breaker.could_allow(now):
                return endpoint
        return None

    def has_other(self, avoid: Endpoint, now: float) -> bool:
        """Whether a retry has anywhere else to go: an endpoint that is usable and has not asked us to wait."""
        self._look_if_due(now)
        usable = self._usable
        return not self._all_busy and (len(usable) > 1 or (len(usable) == 1 and usable[0] is not avoid))

    def explain_none(self, now: float) -> tuple[str, str]:
        """Reason flag and words for a `pick` that found nobody."""
        if not self.endpoints:
            return "UH", f"{self.name} has no endpoints"
        if not any(endpoint.breaker.could_allow(now) for endpoint in self.endpoints):
            return "CB", f"the circuit breakers of all {len(self.endpoints)} endpoints of {self.name} are open"
        return "UH", f"{self.name} has no healthy endpoint among {len(self.endpoints)}"

    def compared(self) -> tuple[str, float, str, float] | None:
        """The two addresses that the last `pick` compared, each with what it cost; None where it compared none."""
        chooser = self.chose
        if chooser is None or chooser.first is None or chooser.second is None:
            return None
        return chooser.first.address, chooser.first_cost, chooser.second.address, chooser.second_cost

    def explain(self, now: float) -> list[dict[str, Any]]:
        """All about the endpoints that the last `pick` compared; a sample of all where it compared none."""
        chooser = self.chose
        if chooser is None or chooser.first is None or chooser.second is None:
            return [endpoint.row(now) for endpoint in self.endpoints[:8]]
        rows = [chooser.first.row(now), chooser.second.row(now)]
        rows[0]["cost"] = round(chooser.first_cost, 6)
        rows[1]["cost"] = round(chooser.second_cost, 6)
        return rows

    def state(self, now: float) -> dict[str, Any]:
        """What `admit` looks at, in full, for an explanation."""
        calls, failures, slow = self.breaker.rates(now)
        return {
            "requests_max": self.service.limits.requests_max,
            "breaker_calls": calls,
            "breaker_failures": failures,
            "breaker_slow_calls": slow,
            "concurrency_shortest_ms": round(self.limit.shortest_s * 1000, 3),
            "retry_budget": max(self.budget.at_least, int(self.budget.share * self.in_flight)),
            "panic": self.panic,
        }

    def tick(self, now: float) -> None:
        """All work that only time asks for; to be called every tenth of a second or so."""
        self.limit.tick(now)
        if now >= self._turn_at:
            self._turn_at = now + 10.0
            self.latency.turn()
        self.tick_endpoints(now)

    # -- retries

    def backoff(self, retries: Retries, attempt: int) -> float:
        """Seconds to wait before retry number `attempt`."""
        return full_jitter_s(retries.backoff_base, retries.backoff_max, attempt, self._random.u32())

    def hedge_delay(self, now: float) -> float:
        """Seconds after which a second try is worth it; 0.0 while too little is known."""
        hedge = self.service.hedge
        percentile = self.latency.percentile(hedge.percentile)
        return max(percentile, hedge.delay_min) if percentile > 0.0 else 0.0

    # -- for people

    def snapshot(self, now: float) -> dict[str, Any]:
        """Everything that `/clusters` shows."""
        return {
            "name": self.name,
            "policy": self.service.balance.policy,
            "in_flight": self.in_flight,
            "panic": self.panic,
            "breaker": STATE_NAMES[self.breaker.state],
            "concurrency_limit": round(self.limit.limit, 1),
            "retries_under_way": self.budget.spent,
            "refused": {"requests_max": self.refused[1], "breaker": self.refused[2], "concurrency": self.refused[3]},
            "endpoints": [endpoint.row(now) for endpoint in self.endpoints],
        }
