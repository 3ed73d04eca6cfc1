"""Who the endpoints of one service are, and which of them may be used: health, ejection, breakers, waiting, slow start, zones.

That is worked out anew only when something changed: an endpoint wrote on the board, a time came, or addresses changed.
"""

from collections import deque
from typing import Any, Final

from agent.core.routing.balance import Chooser, Random, make_chooser
from agent.core.routing.breaker import OPEN
from agent.core.routing.config import Service
from agent.core.routing.endpoint import Board, Endpoint, EndpointSpec
from agent.core.routing.outlier import OutlierDetector
from agent.core.routing.zones import rings_of

EVENTS_MAX: Final = 256
OVERPROVISION: Final = 1.4
"""A zone keeps all its traffic while so many times its usable share reaches 1 (Envoy's overprovisioning factor)."""
LOOK_WHOLE: Final = 32
"""With more endpoints than this, looks are kept apart by…"""
LOOK_APART_S: Final = 0.00002
"""…so many seconds for each endpoint, so that a fleet that keeps changing costs a tenth of the time or so, not all of it. What
a choice must not miss (an endpoint's own breaker) it sees without a look."""
RAMP_LEAST: Final = 0.1
"""Share of its weight that slow start begins with (Envoy's min_weight_percent)."""


class Roster:
    """`Cluster` without its requests. `now` is monotonic seconds everywhere."""

    def __init__(self, name: str, service: Service, zone: str, seed: int, region: str = "") -> None:
        self.name = name
        self.service = service
        self.zone = zone
        self.region = region
        self.endpoints: list[Endpoint] = []
        self.outlier = OutlierDetector(service.outlier)
        self.panic = False
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._random = Random(seed)
        self._board = Board()
        self._hashing = service.balance.policy in ("ring_hash", "maglev")
        self._usable: list[Endpoint] = []
        self._all_busy = False
        """Everyone usable has asked us to wait."""
        self._all: Chooser | None = None
        self._local: Chooser | None = None
        self._far: list[Endpoint] = []
        """The usable ones outside the agent's zone, where `_local` is those inside."""
        self._local_share = 0.0
        self._wider: list[Chooser] = []
        """Where what does not stay in the zone goes, where there are other regions: this region, then the others by latency class."""
        self._wider_shares: list[float] = []
        self._distances: dict[str, int] = {}
        self._look_at = 0.0
        self._look_after = 0.0

    def update(self, specs: list[EndpointSpec], now: float) -> list[Endpoint]:
        """Take these addresses; endpoints that stay keep their state. Returns those that left."""
        known = {endpoint.address: endpoint for endpoint in self.endpoints}
        wanted = {spec.address: (spec.weight, spec.zone, spec.region, spec.origin) for spec in specs}
        if wanted == {e.address: (e.weight, e.zone, e.region, e.origin) for e in self.endpoints}:
            return []
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
            endpoint.region = spec.region
            endpoint.origin = spec.origin
            kept.append(endpoint)
        self.endpoints = kept
        mean = sum(endpoint.weight for endpoint in kept) / len(kept) if kept else 1.0
        for endpoint in kept:
            endpoint.share = endpoint.weight / mean
        self._all = None
        self._look_after = 0.0
        self._board.dirty = True
        return list(known.values())

    def set_distances(self, classes: dict[str, int]) -> None:
        """How far other regions are, as classes of latency (`zones.latency_class`); one that is not named counts as the farthest."""
        if classes != self._distances:
            self._distances = classes
            self._board.dirty = True

    def set_health(self, address: str, healthy: bool, now: float) -> None:
        """What an active check says."""
        for endpoint in self.endpoints:
            if endpoint.address == address and endpoint.healthy != healthy:
                endpoint.healthy = healthy
                self._board.dirty = True
                self.note(now, "healthy" if healthy else "unhealthy", endpoint=address)
                if healthy:
                    self._back(endpoint, now)

    def _back(self, endpoint: Endpoint, now: float) -> None:
        """It was out and takes part again."""
        endpoint.forget_latency()
        self._begin_ramp(endpoint, now)

    def _begin_ramp(self, endpoint: Endpoint, now: float) -> None:
        """Slow start, where there is one."""
        if self.service.balance.slow_start > 0.0:
            endpoint.ramp_from = now
            endpoint.ramp = RAMP_LEAST

    # -- looking again

    def _look_if_due(self, now: float) -> None:
        if (self._board.dirty and now >= self._look_after) or now >= self._look_at:
            self._look(now)

    def _look(self, now: float) -> None:
        """Work out who is usable, and until when that holds."""
        self._board.dirty = False
        count = len(self.endpoints)
        self._look_after = now + LOOK_APART_S * count if count > LOOK_WHOLE else 0.0
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
                self.note(now, "returned", endpoint=endpoint.address)
                self._back(endpoint, now)
            if not endpoint.healthy or endpoint.ejected_until > now:
                continue
            well += 1
            if not endpoint.breaker.could_allow(now):
                continue
            if endpoint.breaker.state == OPEN:
                endpoint.forget_latency()  # its probes are to be sent, not to lose every comparison to what it once took
            if endpoint.busy_until > now:
                busy.append(endpoint)
            else:
                usable.append(endpoint)
        self._all_busy = not usable and bool(busy)
        if self._all_busy:
            usable = busy  # all asked us to wait: better late than never
        panic = bool(self.endpoints) and well < self.service.balance.panic_threshold * len(self.endpoints)
        if panic != self.panic:
            self.panic = panic
            self.note(now, "panic" if panic else "panic over", usable=well, endpoints=len(self.endpoints))
        if panic:
            usable = [endpoint for endpoint in self.endpoints if endpoint.breaker.could_allow(now)]
        for endpoint in usable:
            endpoint.usable = True
        self._usable = usable
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
        self._wider = []
        self._wider_shares = []
        if not self.service.balance.zone_preference:
            return
        rings = rings_of(self.endpoints, self.zone, self.region, self._distances)
        near = [endpoint for endpoint in rings[0] if endpoint.usable]
        if near and len(near) < len(usable):
            self._local = make_chooser(policy, near, self._random)
            self._local_share = min(1.0, OVERPROVISION * len(near) / len(rings[0]))
            self._far = [endpoint for ring in rings[1:] for endpoint in ring if endpoint.usable]
        if len(rings) > 2:
            for ring in rings[1:]:
                some = [endpoint for endpoint in ring if endpoint.usable]
                if some:
                    self._wider.append(make_chooser(policy, some, self._random))
                    self._wider_shares.append(min(1.0, OVERPROVISION * len(some) / len(ring)))
            if self._wider:
                self._far = self._wider[0].endpoints

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
            self.note(now, "ejection capped", endpoint=endpoint.address, rule=rule)
            endpoint.consecutive_5xx = 0
            endpoint.consecutive_gateway = 0
            return
        seconds = self.outlier.eject(endpoint, now)
        self.note(now, "ejected", endpoint=endpoint.address, rule=rule, seconds=seconds)

    def tick_endpoints(self, now: float) -> None:
        """What only time asks for: comparisons of success rates, and slow start."""
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

    # -- for people

    def note(self, now: float, what: str, **details: Any) -> None:
        self.events.append({"at": now, "service": self.name, "event": what, **details})

    def drain_events(self) -> list[dict[str, Any]]:
        """What happened since the last call, oldest first."""
        events = list(self.events)
        self.events.clear()
        return events
