"""The endpoints of one service, and every decision about them: who gets a request, who is put aside, what is let in.

A choice looks at two endpoints, never at all. The set of usable ones is worked out anew only when something changed:
an endpoint wrote on the board, a time came, or addresses changed.
"""

from collections import deque
from typing import Any, Final

from agent.core.routing.balance import Chooser, Random, make_chooser
from agent.core.routing.breaker import CLOSED, STATE_NAMES, CircuitBreaker
from agent.core.routing.budget import RetryBudget, full_jitter_s
from agent.core.routing.concurrency import AdaptiveLimit
from agent.core.routing.config import Retries, Service
from agent.core.routing.endpoint import CANCELLED, LOCAL, OK, OVERLOADED, Board, Endpoint, EndpointSpec
from agent.core.routing.latency import LatencyWindow
from agent.core.routing.outlier import OutlierDetector

ADMITTED: Final = 0
REQUESTS_MAX: Final = 1
BREAKER_OPEN: Final = 2
CONCURRENCY_LIMIT: Final = 3

EVENTS_MAX: Final = 256
OVERPROVISION: Final = 1.4
"""A zone keeps all its traffic while so many times its usable share reaches 1 (Envoy's overprovisioning factor)."""
SPILL_FACTOR: Final = 3.0
"""A local endpoint this many times as costly as a remote one lets the remote one have the request."""
PICKS_MAX: Final = 4
RAMP_LEAST: Final = 0.1
"""Share of its weight that slow start begins with (Envoy's min_weight_percent)."""


def reason_text(reason: int) -> tuple[str, str]:
    """Reason flag and words for a refusal of `Cluster.admit`."""
    if reason == BREAKER_OPEN:
        return "CB", "the service's circuit breaker is open"
    if reason == CONCURRENCY_LIMIT:
        return "LS", "more requests are under way than the adaptive concurrency limit allows"
    return "UO", "as many requests are under way as limits.requests_max allows"


class Cluster:
    """One service's endpoints and protection. `now` is monotonic seconds everywhere."""

    def __init__(self, name: str, service: Service, zone: str, seed: int) -> None:
        self.name = name
        self.service = service
        self.zone = zone
        self.endpoints: list[Endpoint] = []
        self.in_flight = 0
        self.budget = RetryBudget(service.retries.budget, service.retries.budget_min)
        self.breaker = CircuitBreaker(service.breaker)
        self.limit = AdaptiveLimit(service.concurrency)
        self.latency = LatencyWindow()
        self.outlier = OutlierDetector(service.outlier)
        self.panic = False
        self.refused = [0, 0, 0, 0]
        """Refusals by reason."""
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._random = Random(seed)
        self._board = Board()
        self._hashing = service.balance.policy in ("ring_hash", "maglev")
        self._all: Chooser | None = None
        self._local: Chooser | None = None
        self._chose: Chooser | None = None
        """Who made the last choice."""
        self._local_share = 0.0
        self._look_at = 0.0
        self._turn_at = 0.0

    # -- membership

    def update(self, specs: list[EndpointSpec], now: float) -> list[Endpoint]:
        """Take these addresses; endpoints that stay keep their state. Returns those that left."""
        known = {endpoint.address: endpoint for endpoint in self.endpoints}
        first = not self.endpoints
        kept: list[Endpoint] = []
        for spec in sorted(specs, key=lambda spec: spec.address):
            endpoint = known.pop(spec.address, None)
            if endpoint is None:
                service = self.service
                endpoint = Endpoint(spec, service.balance, service.breaker, service.outlier, self._board, now)
                if not first:
                    self._begin_ramp(endpoint, now)
            endpoint.weight = spec.weight
            endpoint.zone = spec.zone
            kept.append(endpoint)
        self.endpoints = kept
        self._all = None
        self._board.dirty = True
        return list(known.values())

    def inherit(self, old: "Cluster", now: float) -> None:
        """After a reload: take over the running state of the cluster that this one stands in for."""
        self.in_flight = 0
        self.breaker.state = old.breaker.state
        self.breaker.open_until = old.breaker.open_until
        self.limit.limit = min(max(old.limit.limit, self.limit.config.limit_min), self.limit.config.limit_max)
        self.latency = old.latency
        earlier = {endpoint.address: endpoint for endpoint in old.endpoints}
        for endpoint in self.endpoints:
            before = earlier.get(endpoint.address)
            if before is not None:
                endpoint.pool = before.pool
                endpoint.ewma_s = before.ewma_s
                endpoint.ewma_at = before.ewma_at
                endpoint.healthy = before.healthy
                endpoint.ejected_until = before.ejected_until
                endpoint.ejections = before.ejections
                endpoint.requests = before.requests
                endpoint.failures = before.failures

    def set_health(self, address: str, healthy: bool, now: float) -> None:
        """What an active check says."""
        for endpoint in self.endpoints:
            if endpoint.address == address and endpoint.healthy != healthy:
                endpoint.healthy = healthy
                self._board.dirty = True
                self._event(now, "healthy" if healthy else "unhealthy", endpoint=address)
                if healthy:
                    self._begin_ramp(endpoint, now)

    def _begin_ramp(self, endpoint: Endpoint, now: float) -> None:
        """It is new or back: slow start, where there is one."""
        if self.service.balance.slow_start > 0.0:
            endpoint.ramp_from = now
            endpoint.ramp = RAMP_LEAST

    # -- admission

    def admit(self, now: float, priority: int) -> int:
        """ADMITTED, or why not. Each admission is to be followed by `done`."""
        reason = ADMITTED
        if self.in_flight >= self.service.limits.requests_max:
            reason = REQUESTS_MAX
        elif self.in_flight >= self.limit.bound(priority) and self.limit.config.enabled:
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
        if outcome == OK:
            self.limit.record(latency_s, self.in_flight + 1)
            self.latency.record(latency_s)
            changed = self.breaker.record(now, True, latency_s)
        elif outcome == CANCELLED or outcome == LOCAL:
            self.breaker.release()
            return
        else:
            changed = self.breaker.record(now, outcome == OVERLOADED, latency_s)
        if changed:
            self._event(now, "service breaker " + STATE_NAMES[self.breaker.state])

    # -- choice

    def pick(self, now: float, hash_key: int = -1, avoid: Endpoint | None = None) -> Endpoint | None:
        """The endpoint for a request; None where there is none to be had. avoid: where a try has just failed."""
        if self._board.dirty or now >= self._look_at:
            self._look(now)
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
            if endpoint is avoid or (endpoint.ramp < 1.0 and self._random.u32() > endpoint.ramp * 4_294_967_295.0):
                continue
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
            self._chose = local
            near = local.choose(now, hash_key)
            far = everyone.endpoints[(self._random.u32() * len(everyone.endpoints)) >> 32]
            if near.in_flight and far is not near:
                cost = near.cost(now)
                if cost > SPILL_FACTOR * far.cost(now):
                    return local.cheaper(far, far.cost(now), near, cost)
            return near
        self._chose = everyone
        return everyone.choose(now, hash_key)

    def _any_usable(self, now: float, avoid: Endpoint | None) -> Endpoint | None:
        """The rare case that a few choices found nobody: take whoever there is."""
        for endpoint in self.endpoints:
            if endpoint is not avoid and (endpoint.usable or self.panic) and endpoint.breaker.could_allow(now):
                return endpoint
        return None

    def has_other(self, avoid: Endpoint, now: float) -> bool:
        """Whether a retry has anywhere else to go: an endpoint that is usable and has not asked us to wait."""
        return any(endpoint is not avoid and endpoint.usable and endpoint.busy_until <= now for endpoint in self.endpoints)

    def explain_none(self, now: float) -> tuple[str, str]:
        """Reason flag and words for a `pick` that found nobody."""
        if not self.endpoints:
            return "UH", f"{self.name} has no endpoints"
        if not any(endpoint.breaker.could_allow(now) for endpoint in self.endpoints):
            return "CB", f"the circuit breakers of all {len(self.endpoints)} endpoints of {self.name} are open"
        return "UH", f"{self.name} has no healthy endpoint among {len(self.endpoints)}"

    def compared(self) -> tuple[str, float, str, float] | None:
        """The two addresses that the last `pick` compared, each with what it cost; None where it compared none."""
        chooser = self._chose
        if chooser is None or chooser.first is None or chooser.second is None:
            return None
        return chooser.first.address, chooser.first_cost, chooser.second.address, chooser.second_cost

    def explain(self, now: float) -> list[dict[str, Any]]:
        """All about the endpoints that the last `pick` compared; a sample of all where it compared none."""
        chooser = self._chose
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

    # -- looking again

    def _look(self, now: float) -> None:
        """Work out who is usable, and until when that holds."""
        self._board.dirty = False
        look_at = now + 3600.0
        self._eject_consecutive(now)
        usable: list[Endpoint] = []
        busy: list[Endpoint] = []
        well = 0
        for endpoint in self.endpoints:
            look_at = min(look_at, self._next_change(endpoint, now))
            endpoint.usable = False
            if endpoint.ejected_until and endpoint.ejected_until <= now:
                endpoint.ejected_until = 0.0
                self._event(now, "returned", endpoint=endpoint.address)
                self._begin_ramp(endpoint, now)
            if not endpoint.healthy or endpoint.ejected_until > now:
                continue
            well += 1
            if not endpoint.breaker.could_allow(now):
                continue
            if endpoint.busy_until > now:
                busy.append(endpoint)
            else:
                usable.append(endpoint)
        if not usable:
            usable = busy  # all asked us to wait: better late than never
        panic = bool(self.endpoints) and well < self.service.balance.panic_threshold * len(self.endpoints)
        if panic != self.panic:
            self.panic = panic
            self._event(now, "panic" if panic else "panic over", usable=well, endpoints=len(self.endpoints))
        if panic:
            usable = [endpoint for endpoint in self.endpoints if endpoint.breaker.could_allow(now)]
        for endpoint in usable:
            endpoint.usable = True
        self._set_choosers(usable)
        self._look_at = look_at

    def _next_change(self, endpoint: Endpoint, now: float) -> float:
        """When time alone changes what an endpoint is."""
        at = now + 3600.0
        for moment in (endpoint.ejected_until, endpoint.busy_until, endpoint.breaker.open_until):
            if moment > now:
                at = min(at, moment)
        return at

    def _set_choosers(self, usable: list[Endpoint]) -> None:
        policy = self.service.balance.policy
        if self._hashing:
            if self._all is None and self.endpoints:
                self._all = make_chooser(policy, self.endpoints, self._random)
            return
        self._all = make_chooser(policy, usable, self._random) if usable else None
        self._local = None
        self._local_share = 0.0
        if self.zone and self.service.balance.zone_preference:
            near = [endpoint for endpoint in usable if endpoint.zone == self.zone]
            total = sum(1 for endpoint in self.endpoints if endpoint.zone == self.zone)
            if near and len(near) < len(usable):
                self._local = make_chooser(policy, near, self._random)
                self._local_share = min(1.0, OVERPROVISION * len(near) / total)

    def _eject_consecutive(self, now: float) -> None:
        if not self.service.outlier.enabled:
            return
        for endpoint in self.endpoints:
            rule = self.outlier.consecutive(endpoint)
            if rule:
                self._eject(endpoint, rule, now)

    def _eject(self, endpoint: Endpoint, rule: str, now: float) -> None:
        if endpoint.ejected_until > now:
            return
        if self.outlier.ejectable(self.endpoints, now) <= 0:
            self._event(now, "ejection capped", endpoint=endpoint.address, rule=rule)
            endpoint.consecutive_5xx = 0
            endpoint.consecutive_gateway = 0
            return
        seconds = self.outlier.eject(endpoint, now)
        self._event(now, "ejected", endpoint=endpoint.address, rule=rule, seconds=seconds)

    def tick(self, now: float) -> None:
        """All work that only time asks for; to be called every tenth of a second or so."""
        self.limit.tick(now)
        if now >= self._turn_at:
            self._turn_at = now + 10.0
            self.latency.turn()
        if self.service.outlier.enabled:
            for endpoint, rule in self.outlier.interval(self.endpoints, now):
                self._eject(endpoint, rule, now)
                self._board.dirty = True
        slow_start_s = self.service.balance.slow_start
        if slow_start_s > 0.0:
            for endpoint in self.endpoints:
                if endpoint.ramp_from:
                    share = (now - endpoint.ramp_from) / slow_start_s
                    endpoint.ramp = min(max(share, RAMP_LEAST), 1.0)
                    if share >= 1.0:
                        endpoint.ramp_from = 0.0
        if now >= self._look_at:
            self._board.dirty = True

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

    def _event(self, now: float, what: str, **details: Any) -> None:
        self.events.append({"at": now, "service": self.name, "event": what, **details})

    def drain_events(self) -> list[dict[str, Any]]:
        """What happened since the last call, oldest first."""
        events = list(self.events)
        self.events.clear()
        return events

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
