"""What the data path takes from the cluster and gives to it: endpoints, loads, judgements, purges.

Everything here happens beside the requests. They see new endpoints, a cost, a breaker, an older store, and never wait for any of it.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from agent.app.hot_keys import HotDigest
from agent.app.load_probes import LoadProbes
from agent.app.loads import AppReport, LoadMeter
from agent.core.cache.config import CachePolicy
from agent.core.cache.outbox import Outbox
from agent.core.cache.rules import key_of
from agent.core.gossip.face import AnnouncedEndpoint, LocalFacts, PurgeResult, Reported
from agent.core.gossip.facts import Announced, EndpointState, Health, Judgements, Load
from agent.core.gossip.messages import Invalidation
from agent.core.routing.advice import Advice, RemoteLoads
from agent.core.routing.breaker import CLOSED, OPEN
from agent.core.routing.cluster import Cluster
from agent.core.routing.directory import FAILED, PRESENT, Directory
from agent.core.routing.endpoint import EndpointSpec
from agent.core.routing.zones import latency_class
from agent.proxy.announcer import Announcer
from agent.proxy.config import Announcement
from agent.proxy.health import is_name
from agent.proxy.purging import KINDS, purge

LAG_DEGRADED_S: Final = 0.25
"""An agent whose event loop is so late says that it is degraded."""
JUDGED_MAX: Final = 64
LOOK_MEMBERS_A_SECOND: Final = 200
"""Members are looked over each second, more seldom where there are more: what is urgent comes by itself."""
DEFAULT_POLICY: Final = CachePolicy()
WITHDRAW_S: Final = 0.5
"""The least between withdrawing an announcement and closing listeners: rumour reaches a thousand members in less."""


class FabricFace(Protocol):
    """What is used of `agent.cluster.fabric.Fabric`; tests bring one of their own."""

    on_endpoints: Callable[[dict[str, tuple[AnnouncedEndpoint, ...]]], None]
    on_invalidation: Callable[[Invalidation], None]
    on_mark_stale: Callable[[float, tuple[bytes, ...]], None]
    on_loads: Callable[[dict[str, Reported]], None]
    on_judgements: Callable[[dict[str, dict[str, Judgements]]], None]
    facts: Callable[[], LocalFacts]
    running: bool

    def members(self) -> list[Any]: ...
    def region_round_trips(self) -> dict[str, float]: ...
    async def ask_load(self, name: str, wait_s: float) -> Load: ...
    def holders(self, keys: tuple[bytes, ...]) -> tuple[list[str], int]: ...
    def publish(self) -> None: ...
    def invalidate(self, kind: str, host: bytes, value: bytes, soft: bool) -> str: ...
    async def invalidate_and_wait(
        self, kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: str = ""
    ) -> PurgeResult: ...


class Mesh:
    """Between one agent's data path and its fabric. agent: of agent.app.wiring."""

    def __init__(self, agent: Any, keep_s: float) -> None:
        self.agent = agent
        self.fabric: FabricFace | None = None
        self.directory = Directory(keep_s)
        self.advice = Advice()
        self.remote = RemoteLoads()
        self.probes = LoadProbes(self._ask_load, self._heard_load)
        self.outbox = Outbox()
        self.meter = LoadMeter()
        self.hot = HotDigest()
        self.announcer = Announcer(self._changed, agent.share)
        self.sent: dict[str, int] = {}
        """Invalidations by kind."""
        self.received: dict[str, int] = {}
        self.stale_marks = 0
        self.refused = 0
        """Announcements that no request could be sent to: no IP address, or no weight."""
        self._found: dict[str, tuple[AnnouncedEndpoint, ...]] = {}
        self._members: dict[str, list[str]] = {}
        """Addresses that each member announces."""
        self._opened: dict[str, set[str]] = {}
        self._started = False
        """Whether the fabric has ever run: before, it has no members to ask for."""
        self._look_at = 0.0
        self._classes: dict[str, int] = {}
        """Regions by class of latency."""
        self._applying = False
        self._flushing = False
        self._timer: Any = None

    def attach(self, fabric: FabricFace) -> None:
        """Take part; to be called before the fabric starts."""
        self.fabric = fabric
        fabric.on_endpoints = self.on_endpoints
        fabric.on_invalidation = self.on_invalidation
        fabric.on_mark_stale = self.on_mark_stale
        fabric.on_loads = self.on_loads
        fabric.on_judgements = self.on_judgements
        fabric.facts = self.facts
        self.agent.path.tell = self.tell

    def install(self, wanted: list[tuple[Announcement, EndpointSpec]]) -> None:
        """Take what the configuration announces."""
        self.announcer.install(wanted)

    def stop(self) -> None:
        self.agent.path.tell = None
        self.announcer.stop()
        self.probes.stop()
        if self._timer is not None:
            self._timer.cancel()

    # -- endpoints

    def announced(self, service: str) -> list[EndpointSpec]:
        """The endpoints of a service that members announce, ourselves included."""
        return self.directory.endpoints().get(service, [])

    def on_endpoints(self, found: dict[str, tuple[AnnouncedEndpoint, ...]]) -> None:
        """Members announce these now."""
        self._found = found
        self._schedule()

    def _changed(self) -> None:
        """Our own announcements changed."""
        if self.fabric is not None:
            self.fabric.publish()
        self._schedule()

    def _schedule(self) -> None:
        """Once each turn of the loop, however many members came and went in it."""
        if not self._applying:
            self._applying = True
            self.agent.loop.call_soon(self._apply)

    def _apply(self) -> None:
        self._applying = False
        self._started = self._started or self._running
        rows: dict[str, list[tuple[str, EndpointSpec]]] = {}
        self._members = {}
        own = self.agent.agent_id
        announced = [AnnouncedEndpoint(own, fact) for fact in self._own()]
        for found in self._found.values():
            announced.extend(one for one in found if one.member != own)
        for one in announced:
            spec = _spec(one)
            if spec is None:
                self.refused += 1
                continue
            rows.setdefault(one.fact.service, []).append((one.member, spec))
            if not one.far:  # what a gateway reports is its own load, not that of other regions' endpoints
                self._members.setdefault(one.member, []).append(spec.address)
        self.directory.update(rows, self._states(self._others()), self.agent.loop.time())
        self._install()

    def _install(self) -> None:
        endpoints = self.directory.endpoints()
        for name, sources in self.agent.sources.items():
            if sources.cluster.service.discovered:
                sources.take_announced(endpoints.get(name, []))

    def _states(self, others: list[Any]) -> dict[str, str]:
        """Of the other members. Once we have left, we know of none whether it is there: what they announced last is kept for a while."""
        states = {row.name: row.state for row in others}
        return states if self._running else dict.fromkeys(states, FAILED)

    @property
    def _running(self) -> bool:
        return self.fabric is not None and self.fabric.running

    def _others(self) -> list[Any]:
        rows = self.fabric.members() if self._started and self.fabric is not None else []
        return [row for row in rows if row.name != self.agent.agent_id]

    # -- what this agent says

    def _own(self) -> list[Announced]:
        identity = self.agent.settings.agent
        return [
            Announced(one.service, spec.host, spec.port, one.zone or identity.zone, identity.region, one.tags, one.weight)
            for one, spec in self.announcer.healthy()
        ]

    def facts(self) -> LocalFacts:
        """Asked by the fabric about each second."""
        agent = self.agent
        load = self.meter.read(agent.path, agent.application, agent.loop_lag_s)
        return LocalFacts(self._health(), load, self._judgements(), tuple(self._own()), self.hot.value)

    def report(self, ai: float | None, in_flight: int | None, queue: int | None, ttl_s: float) -> None:
        """The application reports its load; what is None it does not say."""
        self.meter.app = AppReport(ai, in_flight, queue, ttl_s)

    def _health(self) -> Health:
        agent = self.agent
        if agent.draining:
            return Health(3, "draining")
        ready, why = agent.ready()
        if not ready:
            return Health(2, why[:256])
        if agent.loop_lag_s > LAG_DEGRADED_S:
            return Health(1, f"the event loop is {agent.loop_lag_s * 1000:.0f} ms late")
        return Health()

    def _judgements(self) -> dict[str, Judgements]:
        now = self.agent.loop.time()
        found: dict[str, Judgements] = {}
        for name, cluster in self.agent.path.clusters.items():
            judged = _judged(cluster, now)
            if judged and name != "application" and len(name) <= 128:
                found[name] = Judgements(judged)
        return found

    def holders(self, service: str, host: bytes, target: bytes) -> tuple[list[str], int]:
        """Which other members seem to hold a response as one that is asked for much, and how many tell of theirs at all."""
        table = self.agent.path.table
        keys = {key_of(service, host.lower(), target, DEFAULT_POLICY)}
        keys.update(key_of(shaped, host.lower(), target, policy) for shaped, policy in table.shaped if shaped.startswith(service))
        return self.fabric.holders(tuple(sorted(keys))) if self.fabric is not None else ([], 0)

    def withdraw(self) -> float:
        """Announce nothing any more; how long others need to see it."""
        return WITHDRAW_S if self.announcer.withdraw() and self.fabric is not None else 0.0

    # -- what others say

    def on_loads(self, loads: dict[str, Reported]) -> None:
        """Loads of live members, each as last reported."""
        now = self.agent.loop.time()
        for member, reported in loads.items():
            self._heard_load(member, reported.load, now - reported.age_s)

    def _heard_load(self, member: str, load: Load, now: float) -> None:
        for address in self._members.get(member, ()):
            self.remote.report(address, float(load.in_flight + load.queue), max(load.cpu, load.ai), now)

    async def _ask_load(self, member: str, wait_s: float) -> Load:
        if self.fabric is None:
            raise LookupError(member)
        return await self.fabric.ask_load(member, wait_s)

    def on_judgements(self, judgements: dict[str, dict[str, Judgements]]) -> None:
        """Live members' judgements, by service."""
        now = self.agent.loop.time()
        for peer in self._opened.keys() - judgements.keys():
            self.advice.forget(peer)
            del self._opened[peer]
        for peer, services in judgements.items():
            if peer == self.agent.agent_id:
                continue
            opened = {
                address
                for judged in services.values()
                for address, state in judged.endpoints.items()
                if state.breaker == OPEN or state.ejected
            }
            for address in self._opened.get(peer, set()) - opened:
                self.advice.report(peer, address, False, now)
            for address in opened:
                self.advice.report(peer, address, True, now)
            self._opened[peer] = opened

    def tick(self, now: float) -> None:
        """To be called about each second."""
        self._started = self._started or self._running
        self.hot.tick(self.agent.path.store)
        if now >= self._look_at:
            self._look(now)
        if self._running:
            others = {member: addresses for member, addresses in self._members.items() if member != self.agent.agent_id}
            self.probes.tick(self.agent.path.clusters.values(), others, self.remote.reported_at, now)
        for cluster in self.agent.path.clusters.values():
            cluster.set_distances(self._classes)
            self.remote.refresh(cluster.endpoints, now)
            for endpoint in self.advice.apply(cluster.endpoints, now):
                cluster.note(now, "cautious", endpoint=endpoint.address)

    def _look(self, now: float) -> None:
        """See who is there, and how far."""
        rows = self._others()
        self._look_at = now + len(rows) / LOOK_MEMBERS_A_SECOND
        states = self._states(rows)
        self.advice.members(sum(state in PRESENT for state in states.values()), sum(state == FAILED for state in states.values()))
        far = self.fabric.region_round_trips() if self.fabric is not None else {}
        nearest = {region: rtt_s * 1000.0 for region, rtt_s in far.items() if rtt_s}
        for row in rows:
            if row.state in PRESENT and row.rtt_ms and row.region:
                nearest[row.region] = min(nearest.get(row.region, row.rtt_ms), row.rtt_ms)
        self._classes = {region: latency_class(rtt_ms / 1000.0) for region, rtt_ms in nearest.items()}
        isolated, kept = self.directory.isolated, self.directory.kept
        self.directory.look(states, now)
        if (isolated, kept) != (self.directory.isolated, self.directory.kept):
            self._install()

    # -- purges

    def on_invalidation(self, item: Invalidation) -> None:
        """Another agent purged this."""
        kind = item.kind if item.kind in KINDS else "all"
        self.received[kind] = self.received.get(kind, 0) + 1
        purge(self.agent.path, item.kind, item.host, item.value, item.soft)

    def on_mark_stale(self, older_than: float, hosts: tuple[bytes, ...]) -> None:
        """Purges were missed, and cannot be had any more."""
        self.stale_marks += 1
        if hosts:
            for host in hosts:
                purge(self.agent.path, "host", host, b"", True)
        else:
            self.agent.path.store.mark_stale(older_than)

    def tell(self, service: str, host: bytes, target: bytes) -> None:
        """An unsafe request made a URL stale here."""
        cluster = self.agent.path.clusters.get(service)
        if cluster is not None and not caches(cluster):
            return
        self.outbox.add(service, host, target, self.agent.loop.time())
        if not self._flushing:
            self._flushing = True
            self.agent.loop.call_soon(self._flush)

    def _flush(self) -> None:
        now = self.agent.loop.time()
        for order in self.outbox.due(now):
            try:
                if order.wide:
                    self.purge("service", b"", order.service.encode(), True)
                else:
                    self.purge("url", order.host, order.target, False)
            except ValueError:  # a name that no packet holds
                self.purge("all", b"", b"", True)
        wait_s = self.outbox.wait_s(now)
        self._flushing = wait_s >= 0.0
        if self._flushing:
            self._timer = self.agent.loop.call_later(max(wait_s, 0.005), self._flush)

    def purge(self, kind: str, host: bytes, value: bytes, soft: bool) -> str:
        """Tell everyone what was purged here; the context. ValueError: it cannot be said."""
        assert self.fabric is not None, "attached"
        context = self.fabric.invalidate(kind, host, value, soft)
        self.sent[kind] = self.sent.get(kind, 0) + 1
        return context

    async def purge_and_wait(self, kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: str) -> PurgeResult:
        """The same, and wait for who acknowledges. ValueError also where `after` is no context."""
        assert self.fabric is not None, "attached"
        self.sent[kind] = self.sent.get(kind, 0) + 1
        return await self.fabric.invalidate_and_wait(kind, host, value, soft, wait_s, after)


def caches(cluster: Cluster) -> bool:
    """Whether anything of the service may be stored anywhere."""
    service = cluster.service
    return service.cache.enabled or any(route.cache is not None and route.cache.enabled for route in service.routes)


def _spec(one: AnnouncedEndpoint) -> EndpointSpec | None:
    fact = one.fact
    if is_name(fact.address) or fact.address.startswith("/") or fact.weight < 1 or not fact.healthy:
        return None
    origin = f"region {fact.region}" if one.far else f"member {one.member}"
    return EndpointSpec(fact.address, fact.port, fact.weight, fact.zone, fact.region, origin)


def _judged(cluster: Cluster, now: float) -> dict[str, EndpointState]:
    """The endpoints that are not as they should be."""
    found: dict[str, EndpointState] = {}
    for endpoint in cluster.endpoints:
        ejected = endpoint.ejected_until > now
        state = endpoint.breaker.state
        if (state != CLOSED or ejected) and len(endpoint.address) <= 128 and len(found) < JUDGED_MAX:
            found[endpoint.address] = EndpointState(state, ejected)
    return found
