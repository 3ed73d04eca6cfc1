"""What the mesh makes of its cluster's words, on stand-ins for the agent and for the fabric."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from agent.app.config import AgentIdentity, Settings
from agent.app.load_probes import PROBES_A_SECOND, LoadProbes
from agent.app.mesh import Mesh
from agent.core.cache.config import CachePolicy
from agent.core.cache.entry import Entry
from agent.core.cache.outbox import QUEUE_MAX
from agent.core.cache.store import CacheStore
from agent.core.gossip.face import LocalFacts, Reported
from agent.core.gossip.facts import Announced, EndpointState, Judgements, Load
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Service
from agent.core.routing.table import RouteTable
from agent.core.routing.zones import latency_class
from agent.proxy.sources import Sources
from tests.harness.fabric_pair import FakeFabric, FakeNet

PEERS = ("b", "c", "d", "e")


class Rig:
    """An agent `a` with a service `web`, and peers that announce an endpoint each."""

    def __init__(self) -> None:
        self.service = Service(hosts=("web",), discovered=True, cache=CachePolicy(enabled=True))
        self.cluster = Cluster("web", self.service, "", 1)
        self.net = FakeNet()
        path = SimpleNamespace(
            clusters={"web": self.cluster},
            counters={},
            store=CacheStore(1_000_000),
            table=RouteTable({"web": self.service}),
            tell=None,
        )
        self.agent = SimpleNamespace(
            agent_id="a",
            loop=asyncio.get_running_loop(),
            settings=Settings(agent=AgentIdentity(id="a")),
            path=path,
            sources={"web": Sources(self.cluster, [])},
            share=lambda: 0.5,
            application=None,
            loop_lag_s=0.0,
            draining=False,
            ready=lambda: (True, ""),
        )
        self.mesh = Mesh(self.agent, 300.0)
        self.fabric = self.net.make("a")
        self.mesh.attach(self.fabric)
        self.peers: dict[str, FakeFabric] = {}
        self.said: dict[str, LocalFacts] = {}

    async def start(self) -> None:
        await self.fabric.start()
        for number, name in enumerate(PEERS):
            peer = self.peers[name] = self.net.make(name)
            self.said[name] = LocalFacts(endpoints=(Announced("web", f"10.0.0.{number}", 80),))
            peer.facts = lambda name=name: self.said[name]
            await peer.start()
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.mesh.stop()
        for fabric in [self.fabric, *self.peers.values()]:
            await fabric.stop()

    def endpoint(self, name: str) -> Any:
        return next(one for one in self.cluster.endpoints if one.origin == f"member {name}")


def with_rig(work: Callable[[Rig], Any]) -> None:
    async def run() -> None:
        rig = Rig()
        await rig.start()
        try:
            await work(rig)
        finally:
            await rig.stop()

    asyncio.run(run())


def test_many_changes_in_one_turn_are_one_assignment() -> None:
    async def work(rig: Rig) -> None:
        assert len(rig.cluster.endpoints) == 4
        counts: list[int] = []
        update = rig.cluster.update

        def counted(specs: Any, now: float) -> Any:
            counts.append(len(specs))
            return update(specs, now)

        rig.cluster.update = counted  # type: ignore[method-assign]
        kept = rig.endpoint("b")
        for name in ("c", "d", "e"):
            rig.net.fail(name)
        await asyncio.sleep(0)
        assert counts == [1] and rig.cluster.endpoints == [kept]

    with_rig(work)


def test_a_busy_member_costs_more_and_says_so_no_longer_when_it_is_gone() -> None:
    async def work(rig: Rig) -> None:
        now = rig.agent.loop.time()
        loads = {"b": Load(in_flight=40), "c": Load(cpu=1.0), "d": Load(ai=1.0), "e": Load(in_flight=2)}
        rig.mesh.on_loads({name: Reported(load) for name, load in loads.items()})
        rig.mesh.tick(now)
        assert rig.endpoint("e").resting == 1.0
        assert all(rig.endpoint(name).resting > 1.5 for name in "bcd")
        rig.mesh.tick(now + 60.0)
        assert rig.endpoint("b").resting == 1.0

    with_rig(work)


def test_a_quorum_of_open_breakers_puts_an_endpoint_under_caution() -> None:
    async def work(rig: Rig) -> None:
        now = rig.agent.loop.time()
        opened = {"web": Judgements({"10.0.0.0:80": EndpointState(1)})}
        rig.mesh.tick(now)
        rig.mesh.on_judgements({"c": opened})
        rig.mesh.tick(now)
        assert rig.endpoint("b").breaker.state == 0
        rig.mesh.on_judgements({"c": opened, "d": opened})
        rig.mesh.tick(now)
        assert rig.endpoint("b").breaker.state == 2
        assert rig.mesh.facts().judgements["web"].endpoints["10.0.0.0:80"].breaker == 2  # and not open: nobody takes our word for theirs

    with_rig(work)


def test_a_flood_of_unsafe_requests_becomes_a_bounded_number_of_messages() -> None:
    async def work(rig: Rig) -> None:
        told: list[tuple[str, bool]] = []
        rig.peers["b"].on_invalidation = lambda item: told.append((item.kind, item.soft))
        for number in range(10 * QUEUE_MAX):
            rig.mesh.tell("web", b"web", b"/%d" % number)
        await asyncio.sleep(0)
        assert told == [("service", True)] and rig.mesh.outbox.widened == 1
        rig.mesh.tell("web", b"web", b"/after")
        await asyncio.sleep(0)
        assert told[1:] == [("url", False)]

    with_rig(work)


def test_a_service_that_caches_nothing_tells_nothing() -> None:
    async def work(rig: Rig) -> None:
        rig.cluster.service = Service(hosts=("web",), discovered=True)
        rig.mesh.tell("web", b"web", b"/x")
        assert len(rig.mesh.outbox) == 0

    with_rig(work)


def test_what_cannot_be_dialled_is_refused_and_counted() -> None:
    async def work(rig: Rig) -> None:
        rig.said["b"] = LocalFacts(endpoints=(Announced("web", "name.test", 80), Announced("web", "10.9.9.9", 80, weight=0)))
        rig.peers["b"].publish()
        await asyncio.sleep(0)
        assert len(rig.cluster.endpoints) == 3 and rig.mesh.refused == 2

    with_rig(work)


def test_other_regions_are_as_far_as_the_gateways_say() -> None:
    async def work(rig: Rig) -> None:
        rig.fabric.regions = {"us": 0.09, "ap": 0.2, "eu-2": 0.0}  # the last was not measured yet
        rig.mesh._look_at = 0.0
        rig.mesh.tick(rig.agent.loop.time())
        assert rig.mesh._classes == {"us": latency_class(0.09), "ap": latency_class(0.2)}
        assert rig.mesh._classes["us"] < rig.mesh._classes["ap"]

    with_rig(work)


def test_whoever_gets_requests_and_was_silent_is_asked_and_nobody_else() -> None:
    async def work(rig: Rig) -> None:
        now = rig.agent.loop.time()
        rig.said["b"] = LocalFacts(load=Load(in_flight=40), endpoints=rig.said["b"].endpoints)
        rig.peers["b"].publish()
        rig.mesh.on_loads({name: Reported(Load(in_flight=1), 20.0 if name in "bc" else 0.0) for name in PEERS})
        rig.endpoint("b").requests += 1
        rig.endpoint("d").requests += 1
        rig.mesh.tick(now)
        for _ in range(5):
            await asyncio.sleep(0)
        # c has no requests; what d said is new.
        assert (rig.mesh.probes.sent, rig.mesh.probes.answered) == (1, 1)
        rig.mesh.tick(now + 0.5)
        assert rig.endpoint("b").resting > 1.5 and rig.mesh.probes.sent == 1
        rig.mesh.tick(now + 30.0)  # no requests since: nobody is asked, and what was said counts no more
        await asyncio.sleep(0)
        assert rig.endpoint("b").resting == 1.0 and rig.mesh.probes.sent == 1

    with_rig(work)


def test_probes_have_a_rate_whatever_number_is_silent() -> None:
    async def work() -> None:
        asked: list[str] = []

        async def ask(member: str, wait_s: float) -> Load:
            asked.append(member)
            raise TimeoutError

        probes = LoadProbes(ask, lambda member, load, now: None)
        members = {f"m{number:02}": [f"10.0.0.{number}:80"] for number in range(40)}
        endpoints = [SimpleNamespace(address=each[0], requests=0) for each in members.values()]
        for second in range(5):
            for endpoint in endpoints:
                endpoint.requests += 1
            probes.tick([SimpleNamespace(endpoints=endpoints)], members, lambda address: float("-inf"), 100.0 + second)  # type: ignore[list-item]
            await asyncio.sleep(0)
        assert len(asked) == probes.sent == 5 * PROBES_A_SECOND
        assert probes.answered == 0

    asyncio.run(work())


def test_lost_invalidations_of_known_hosts_make_stale_what_is_of_these_alone() -> None:
    async def work(rig: Rig) -> None:
        store = rig.agent.path.store
        now = time.time()
        for host in (b"a.example", b"b.example"):
            entry = Entry(b"web " + host, "web", host, b"/", 200, b"OK")
            entry.fresh_until, entry.asked_at = now + 60.0, 1.0
            assert store.put(entry)
        rig.mesh.on_mark_stale(2.0, (b"a.example",))
        fresh = {entry.host: entry.fresh_until > now for entry in store.entries()}
        assert fresh == {b"a.example": False, b"b.example": True}
        assert store.stale_before == 0.0 and rig.mesh.stale_marks == 1
        rig.mesh.on_mark_stale(2.0, ())
        assert store.stale_before == 2.0

    with_rig(work)
