"""Introduces the parts of an agent to one another, swaps them at a reload, and takes them down in order."""

import asyncio
import os
import socket
import threading
from collections import OrderedDict, deque
from time import time
from typing import TYPE_CHECKING, Any

from agent.app.config import Settings
from agent.app.validate import announced_specs, endpoint_specs, listen_addresses, parse_address
from agent.core.cache.store import CacheStore
from agent.core.http.errors import BadMessage
from agent.core.http.head import RequestHead, parse_request_head
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Service
from agent.core.routing.endpoint import EndpointSpec
from agent.core.routing.table import RouteTable
from agent.proxy.accesslog import AccessLogger
from agent.proxy.counters import ListenerCounters
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.explain import told
from agent.proxy.gate import EGRESS, INGRESS, KIND_NAMES, TRANSPARENT, Gate
from agent.proxy.health import check_health, is_name, keep_resolved
from agent.proxy.listener import Listener
from agent.proxy.plugins import PluginHost
from agent.proxy.pool import Pool
from agent.proxy.sources import Sources
from agent.runtime.garbage import Collector
from agent.runtime.log import Logger
from agent.runtime.places import own_places
from agent.runtime.wheel import TimerWheel

if TYPE_CHECKING:
    from agent.app.mesh import Mesh
    from agent.cluster.consensus.service import Consensus
    from agent.cluster.fabric import Fabric
    from agent.state.api import StateApi

TICK_S = 0.1
PASSTHROUGH_MAX = 1024


class Passthrough:
    """Policies for destinations that no service claims, one cluster each, the least recently used dropped."""

    def __init__(self, path: DataPath, zone: str) -> None:
        self._path = path
        self._zone = zone
        self._service = Service(endpoints=())
        self._policies: OrderedDict[tuple[str, int], RoutePolicy] = OrderedDict()
        table = RouteTable({"passthrough": self._service})
        self._target = table.services["passthrough"].default

    def policy(self, host: str, port: int) -> RoutePolicy:
        known = self._policies.get((host, port))
        if known is not None:
            self._policies.move_to_end((host, port))
            return known
        cluster = Cluster("passthrough", self._service, self._zone, self._path.random_u32())
        cluster.update([EndpointSpec(host, port)], self._path.loop.time())
        policy = RoutePolicy(self._target, cluster, self._path.service_counters("passthrough"))
        if len(self._policies) >= PASSTHROUGH_MAX:
            _, old = self._policies.popitem(last=False)
            for endpoint in old.cluster.endpoints:
                if isinstance(endpoint.pool, Pool):
                    endpoint.pool.close()
        self._policies[(host, port)] = policy
        return policy


class Agent:
    """A running agent."""

    def __init__(self, settings: Settings, log: Logger) -> None:
        self.settings = settings
        self.log = log
        self.collector = Collector()
        self.loop = asyncio.get_running_loop()
        self.started_at = time()
        self.agent_id = settings.agent.id or socket.gethostname()
        self.plugins = PluginHost(log.warning, log.info)
        store = CacheStore(settings.cache.size, settings.cache.policy, settings.cache.object_bytes_max)
        self.path = DataPath(self.loop, TimerWheel(self.loop), store, self.plugins)
        self.path.seed(int.from_bytes(os.urandom(8), "big"))
        self.gates: list[Gate] = []
        self.listeners: list[Listener] = []
        self.addresses: dict[str, list[str]] = {}
        self.draining = False
        self.drained = asyncio.Event()
        self.loop_lag_s = 0.0
        self.loop_lag_max_s = 0.0
        self.application: Cluster | None = None
        self.fabric: Fabric | None = None
        """The cluster, where one is configured."""
        self.consensus: Consensus | None = None
        """This agent's part in a group that agrees, where one is configured,"""
        self.state_api: StateApi | None = None
        """and what applications see of it."""
        self.sources: dict[str, Sources] = {}
        """Where the endpoints of each service come from."""
        self.mesh: Mesh | None = None
        """There where a cluster is configured."""
        self.reload: dict[str, Any] = {"generation": 1, "result": "ok", "at": self.started_at, "problems": []}
        self.reload["counts"] = dict.fromkeys(("ok", "unchanged", "refused", "invalid", "failed"), 0)
        self._ingress = RouteTable({})
        self._background: dict[str, list[asyncio.Task[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Build, bind and begin. Raises PluginError or ListenError."""
        settings = self.settings
        self.plugins.load(settings.plugins)
        self.path.agent_id = self.agent_id
        self.path.zone = settings.agent.zone
        self._make_gates(settings)
        self.path.passthrough = Passthrough(self.path, settings.agent.zone)
        fabric: Fabric | None = None
        if settings.cluster is not None:
            from agent.app.fabric_wiring import make_fabric  # and with it all that only a cluster needs
            from agent.app.mesh import Mesh

            self.mesh = Mesh(self, settings.cluster.keep_endpoints)
            fabric = self.fabric = make_fabric(self, settings)
            self.mesh.attach(fabric)
        self.install(settings)
        if settings.plugins:
            from agent.proxy.aside import Asides

            self.plugins.sender = Asides(self.path).send
        self.plugins.start(self.agent_id)
        own: set[tuple[str, int]] = set()
        for listener in self.listeners:
            await listener.open(self.loop)
            own.update(own_places(listener.host, listener.port))
            self.addresses.setdefault(KIND_NAMES[listener.gate.kind], []).append(listener.address())
        for gate in self.gates:
            gate.own_addresses = frozenset(own)
        if fabric is not None:
            await fabric.start()
        if fabric is not None and settings.consensus is not None:
            from agent.app.consensus_wiring import start_consensus

            self.consensus, self.state_api = await start_consensus(self, settings.consensus, fabric)
            self.addresses["state"] = [self.state_api.address]
        self._tasks.append(self.loop.create_task(self._tick()))

    def _make_gates(self, settings: Settings) -> None:
        listen = settings.listen
        for kind, value in ((EGRESS, listen.egress), (INGRESS, listen.ingress), (TRANSPARENT, listen.transparent)):
            addresses = listen_addresses(value)
            if not addresses:
                continue
            counters = ListenerCounters(KIND_NAMES[kind])
            gate = Gate(self.path, kind, self.path.table, counters)
            self.path.listeners.append(counters)
            self.gates.append(gate)
            for address in addresses:
                place = parse_address(address, 0)
                assert place is not None, "validated"
                self.listeners.append(Listener(gate, place[0], place[1], listen.reuse_port, listen.backlog))

    # -- configuration

    def install(self, settings: Settings) -> None:
        """Swap every cell to what the (valid) settings say."""
        path = self.path
        now = self.loop.time()
        self._install_logs(settings)
        path.http = settings.http
        path.client_timeouts = settings.timeouts
        path.headers = settings.headers
        path.why = settings.why
        path.tells = settings.why.recent > 0
        if path.recent.maxlen != settings.why.recent:
            path.recent = deque(path.recent, settings.why.recent)
        path.explain = told
        path.unmatched_pass = settings.egress.unmatched == "pass"
        path.store.resize(settings.cache.size, settings.cache.object_bytes_max)
        services = dict(settings.services)
        clusters: dict[str, Cluster] = {}
        for name, service in services.items():
            clusters[name] = self._cluster(name, service, path.clusters.get(name), now)
        if settings.application is not None:
            name = "application"
            clusters[name] = self._cluster(name, settings.application, path.clusters.get(name), now)
            self.application = clusters[name]
        for name, old in path.clusters.items():
            if clusters.get(name) is not old:
                kept = {endpoint.address for endpoint in clusters[name].endpoints} if name in clusters else set()
                for endpoint in old.endpoints:
                    if endpoint.address not in kept and isinstance(endpoint.pool, Pool):
                        endpoint.pool.close()
                if name not in clusters:
                    self._stop_background(name)
        for name in list(path.counters):
            if name not in clusters and name != "passthrough":
                del path.counters[name]  # the series of a service that is gone go with it
        table = RouteTable(services, path.table)
        path.install(table, clusters)
        application = {"application": _catch_all(settings.application)} if settings.application is not None else {}
        ingress = RouteTable(application, self._ingress)
        self._ingress = ingress
        for gate in self.gates:
            gate.table = ingress if gate.kind == INGRESS else table
        if self.fabric is not None and settings.cluster is not None:
            self.fabric.reconfigure(settings.cluster)
        self.sources = {name: source for name, source in self.sources.items() if name in clusters}
        self.settings = settings
        if self.mesh is not None and settings.cluster is not None:
            self.mesh.directory.keep_s = settings.cluster.keep_endpoints
            self.mesh.install(announced_specs(settings))

    def _install_logs(self, settings: Settings) -> None:
        self.log.configure(settings.log.level, settings.log.format)
        old = self.path.access_log
        config = settings.log.access
        if old is not None and old.config != config:
            threading.Thread(target=old.close, daemon=True).start()  # it may wait for its disk
            self.path.access_log = None
        if config.path and self.path.access_log is None:
            self.path.access_log = AccessLogger(config)

    def _cluster(self, name: str, service: Service, old: Cluster | None, now: float) -> Cluster:
        if old is not None and old.service == service:
            return old
        identity = self.settings.agent
        cluster = Cluster(name, service, identity.zone, self.path.random_u32(), identity.region)
        specs = endpoint_specs(service)
        ready = [spec for spec in specs if spec.port == 0 or not is_name(spec.host)]
        before = self.sources.get(name)
        known = ready if len(ready) == len(specs) else before.fixed if before is not None else []
        sources = self.sources[name] = Sources(cluster, known)
        if service.discovered and self.mesh is not None:
            sources.announced = self.mesh.announced(name)
        sources.install()
        if old is not None:
            cluster.inherit(old, now)
            for endpoint in cluster.endpoints:
                if isinstance(endpoint.pool, Pool):
                    endpoint.pool.limits = self.path.pool_limits(cluster)
        self._stop_background(name)
        tasks = self._background.setdefault(name, [])
        if len(ready) != len(specs):
            tasks.append(self.loop.create_task(keep_resolved(cluster, specs, sources.take_fixed)))
        if service.health.path or service.health.tcp:
            tasks.append(self.loop.create_task(check_health(cluster, self.share)))
        return cluster

    def share(self) -> float:
        """A random number from 0 to 1."""
        return self.path.random_u32() / 4_294_967_296.0

    def _stop_background(self, name: str) -> None:
        for task in self._background.pop(name, []):
            task.cancel()

    # -- running

    async def _tick(self) -> None:
        last_second = 0
        while True:
            before = self.loop.time()
            await asyncio.sleep(TICK_S)
            now = self.loop.time()
            self.path.set_wall()
            self.loop_lag_s = max(now - before - TICK_S, 0.0)
            self.loop_lag_max_s = max(self.loop_lag_max_s, self.loop_lag_s)
            for cluster in self.path.clusters.values():
                cluster.tick(now)
                for event in cluster.drain_events():
                    event.pop("at")
                    self.log.info(event.pop("event"), **event)
            self.path.store.sweep(time(), 50)
            if int(now) != last_second:
                last_second = int(now)
                self._tell_log_errors()
                if self.plugins.tick_hooks:
                    self.plugins.tick(now)
                if self.mesh is not None:
                    self.mesh.tick(now)

    def _tell_log_errors(self) -> None:
        access = self.path.access_log
        if access is not None and access.last_error:
            self.log.warning("access log cannot be written", path=access.config.path, error=access.last_error, lines_lost=access.errors)
            access.last_error = ""

    def ready(self) -> tuple[bool, str]:
        """Whether the agent and the application behind it take requests."""
        ok, why = self.ready_outbound()
        if ok and self.application is not None and not any(endpoint.healthy for endpoint in self.application.endpoints):
            return False, "the application fails its health checks"
        return ok, why

    def ready_outbound(self) -> tuple[bool, str]:
        """Whether the agent alone takes requests."""
        return (False, "draining") if self.draining else (True, "ready")

    def explain_route(self, raw: bytes) -> list[dict[str, Any]]:
        """What the routing rules say of a request head."""
        try:
            head: RequestHead = parse_request_head(raw)
        except BadMessage as error:
            return [{"step": "head", "error": error.reason}]
        return self.path.table.explain(head)

    async def drain(self) -> None:
        """Leave: say so, stop accepting, finish what is under way within the limit."""
        if self.draining:
            await self.drained.wait()
            return
        self.draining = True
        config = self.settings.drain
        self.log.info("draining", delay_s=config.delay, timeout_s=config.timeout, in_flight=self.path.in_flight)
        self.path.draining = True  # from here on every response says that it is its connection's last
        withdraw_s = self.mesh.withdraw() if self.mesh is not None else 0.0
        if self.consensus is not None:
            await self.consensus.hand_over()
        await asyncio.sleep(max(config.delay, withdraw_s))
        await asyncio.gather(*(listener.close() for listener in self.listeners))
        now = self.loop.time()
        deadline = now + config.timeout
        idle_until = now + min(config.idle, config.timeout)
        while self.path.connections and self.loop.time() < deadline:
            if self.loop.time() >= idle_until:
                for connection in list(self.path.connections):
                    connection.begin_drain()
            await asyncio.sleep(0.02)
        for connection in list(self.path.connections):
            connection.transport.abort()
        self.log.info("drained", cut=len(self.path.connections))
        self.drained.set()

    async def stop(self) -> None:
        """End every task; to be called after `drain`."""
        if self.state_api is not None:
            await self.state_api.stop()
        if self.consensus is not None:
            await self.consensus.stop()
        if self.fabric is not None:
            await self.fabric.stop()
        for task in self._tasks:
            task.cancel()
        for name in list(self._background):
            self._stop_background(name)
        if self.mesh is not None:
            self.mesh.stop()
        await self.plugins.stop()
        if self.path.access_log is not None:
            self.path.access_log.close()
        self.collector.close()


def _catch_all(service: Service) -> Service:
    import msgspec

    return service if service.hosts else msgspec.structs.replace(service, hosts=("*",))
