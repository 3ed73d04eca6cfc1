"""One agent's part in the cluster: membership, gossip and what they need, put together, beside the data path and never in its way."""

import asyncio
import time
import traceback
from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from agent.cluster import carry, questions
from agent.cluster.asks import Acting, Asks
from agent.cluster.config import ClusterConfig
from agent.cluster.events import Event, Events
from agent.cluster.far import Regions, not_known, said, waited
from agent.cluster.figures import Figures
from agent.cluster.frame import Stamps
from agent.cluster.gossiper import Gossiper
from agent.cluster.identity import address_octets, advertised, encode_profile, own_profile
from agent.cluster.inlet import Inlet
from agent.cluster.keyorders import KeyOrders
from agent.cluster.keys import Keys
from agent.cluster.peers import Endpoints, Peers
from agent.cluster.publisher import Publisher
from agent.cluster.purges import Purges
from agent.cluster.snapshot import Row, row, snapshot
from agent.cluster.sources import sources
from agent.cluster.validate import key_octets
from agent.cluster.wellbeing import Crowd, Wellbeing
from agent.core.gossip.across import renamed
from agent.core.gossip.contexts import decode_context, encode_context
from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.face import LocalFacts, PurgeResult, Reported
from agent.core.gossip.facts import CacheUse, Fact, Judgements, Load, readable
from agent.core.gossip.invalidation import FENCE
from agent.core.gossip.messages import Invalidation, Stream
from agent.core.swim.config import PRESETS
from agent.core.swim.core import Swim
from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Leave, UpdateMeta
from agent.core.swim.members import place_of
from agent.core.swim.messages import DEAD, NodeState, Place
from agent.core.swim.serf import leave_intent
from agent.core.swim.wire import encoded_size
from agent.runtime.discovery import Discovery, parse_place
from agent.runtime.discovery.joiner import Joiner
from agent.runtime.driver import Driver
from agent.runtime.garbage import give_back
from agent.runtime.log import Logger
from agent.runtime.throttle import Throttle
from agent.runtime.transport.sockets import SocketTransport
from agent.runtime.transport.tls import MutualTls, TlsFiles

if TYPE_CHECKING:
    from agent.cluster.gateway import Gateway

SECOND_S: Final = 1.0
LEAVE_SLACK_S: Final = 0.5
TOGETHER_S: Final = 0.02
"""New endpoints that come within this time are told together."""
DATAGRAM_BYTES: Final = 1400
INCARNATION_EPOCH: Final = 1_704_067_200
"""Incarnations of a life begin at its seconds since 2024: a restarted member is heard at once. One whose clock went back refutes."""


class Fabric:
    """Made where `cluster` is configured. What others set before `start`: the callables below. Everything runs on the agent's loop."""

    def __init__(self, config: ClusterConfig, name: str, region: str, zone: str, log: Logger, keys: Keys | None = None) -> None:
        self.config = config
        self.name = name
        self.region = region
        self.zone = zone
        self.log = log
        self.on_endpoints: Callable[[Endpoints], None] = lambda endpoints: None
        """Service → its endpoints, as live members announce them; called when they change, at once when a member dies or leaves."""
        self.on_invalidation: Callable[[Invalidation], None] = lambda invalidation: None
        self.passes_fences = False
        """Whether it hears of fences too, which name nothing."""
        self.on_mark_stale: Callable[[float, tuple[bytes, ...]], None] = lambda older_than, hosts: None
        """What was asked of an upstream before then (`time.perf_counter`), of these hosts or (none) of all, is to be validated first."""
        self.on_judgements: Callable[[dict[str, dict[str, Judgements]]], None] = lambda judgements: None
        self.on_loads: Callable[[dict[str, Reported]], None] = lambda loads: None
        self.facts: Callable[[], LocalFacts] = LocalFacts
        """Asked each second, and at `publish`."""
        self.cache_use: Callable[[], CacheUse | None] = lambda: None
        self.figures = Figures(self)
        self.events = Events(self._count_fault)
        self.peers = Peers(self._on_peers, _soon)
        self.gateway: Gateway | None = None
        """Set before `start` where this agent speaks for its region to others."""
        self.act: Callable[[str, tuple[str, ...]], Acting] = not_known
        """Answers other questions than those about this member: a gateway's part."""
        self.regions = Regions(self)
        self._keys_given = keys
        self.stamps = Stamps(lambda: int(time.time() * 1000))
        self.wellbeing = Wellbeing(Throttle())
        self.crowd = Crowd(give_back)
        self.since: dict[str, float] = {}
        """Member → when its state changed last, of the monotonic clock."""
        self.left = asyncio.Event()
        """Set once the others have been told that we leave."""
        self._profile = own_profile(region, zone, "", config.tags)
        self._load = Load()
        self._leaving = False
        self._tasks: list[asyncio.Task[None]] = []
        self.running = False
        self.tls: MutualTls | None = None
        """What proves streams between members, where certificates are configured."""

    # -- life

    async def start(self) -> None:
        """Listen and begin to look for others. Raises OSError where the place is taken, or keys or certificates cannot be read."""
        config, log = self.config, self.log
        chance = SystemRandom()
        try:
            self.keys = self._keys_given or Keys(config)
        except ValueError as error:
            raise OSError(f"cluster.keyring_file: {error}") from None
        tls = self.tls = self._tls()
        self.envelope = Envelope(config.name, self.keys.ring)
        self.inlet = Inlet(SocketTransport(parse_place(config.bind, 0) if not config.bind.endswith(":0") else _any_port(config.bind), tls))
        await self.inlet.listen()
        try:
            own = self._own()
        except (OSError, ValueError) as error:
            await self.inlet.close()
            raise OSError(f"cluster.advertise: {error}") from None
        swim_config = PRESETS[config.preset]
        swim_config = replace(swim_config, packet_bytes=min(swim_config.packet_bytes, DATAGRAM_BYTES - self.envelope.overhead_bytes))
        now = time.monotonic()
        core = GossipCore(self.name, int(time.time() * 1000), GossipConfig(), chance, now)
        self.gossiper = Gossiper(core, lambda effect: carry.gossip_effect(self, effect), log)
        self.swim = Swim(swim_config, own, chance.random, now, encoded_size, lambda join: carry.state(self))
        self.driver = Driver(self.swim, self.inlet, self.envelope, lambda effect: carry.member_effect(self, effect), log)
        self.asks = Asks(self.name, lambda *what: carry.send_ask(self, *what), self._act)
        self.key_orders = KeyOrders(self)
        self.publisher = Publisher(self.gossiper.order, self._refuse)
        self.purges = Purges(self.gossiper.order, self._issued, self._context)
        self.joiner = Joiner(self.driver.join, self._live_places, time.monotonic, chance.random)
        self.discovery = Discovery(sources(config, self.name, place_of(own.address, own.port)), self.joiner.on_found, log, chance.random)
        self.since[self.name] = now
        await self.driver.start()
        self.gossiper.start()
        self.running = True
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self.joiner.run(), self.discovery.run(), self._each_second())]
        if tls is not None:
            self._tasks.append(loop.create_task(tls.watch(log)))
        if self.gateway is not None:
            try:
                await self.gateway.start()
            except OSError:
                await self._end()
                raise

    def _tls(self) -> MutualTls | None:
        tls = self.config.tls
        return MutualTls(TlsFiles(tls.certificate, tls.key, tls.authorities), tls.trust_domain, tls.paths) if tls is not None else None

    def _own(self) -> NodeState:
        seeds = [parse_place(seed, 1)[0] for seed in self.config.seeds]
        towards = next((host for host in seeds if host.replace(".", "").isdecimal() or ":" in host), "")
        host, port = advertised(self.config.advertise, self.inlet.place, towards)
        incarnation = max(int(time.time()) - INCARNATION_EPOCH, 1)
        return NodeState(self.name, address_octets(host), port, incarnation, 0, encode_profile(self._profile))

    async def leave(self) -> None:
        """Tell the others, and fall silent; what the agent does locally goes on. Within the preset's bound."""
        if not self.running or self._leaving:
            return
        self._leaving = True
        across = asyncio.ensure_future(self.gateway.leave()) if self.gateway is not None else None
        self.driver.feed(leave_intent(self.name, int(time.time())))
        self.driver.feed(Leave())
        try:
            async with asyncio.timeout(PRESETS[self.config.preset].leave_timeout_s + LEAVE_SLACK_S):
                await self.left.wait()
        except TimeoutError:
            self.log.warning("cluster_leave_unheard", text="the others may take this agent for failed")
        if across is not None:
            await across
        await self._end()

    async def stop(self) -> None:
        """Leave, if that has not been done."""
        await self.leave()
        await self._end()

    async def _end(self) -> None:
        if not self.running:
            return
        self.running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.gossiper.stop()
        self.asks.stop()
        await self.driver.stop()
        if self.gateway is not None:
            await self.gateway.stop()
        for name in list(self.peers.live):
            self.peers.gone(name)

    # -- what is known

    def members(self) -> list[Row]:
        """Everybody that is remembered, ourselves first."""
        now = time.monotonic()
        return [row(node, now - self.since.get(node.name, now), self.swim.rtt_s(node.name)) for node in self.swim.members()]

    def facts_of(self, name: str) -> dict[str, Fact]:
        """What a member, or this one, says of itself, by key; nothing where it is not there."""
        state = self.gossiper.core.nodes.by_name.get(name)
        if state is None or (name != self.name and name not in self.peers.live):
            return {}
        facts = {key: readable(key, value) for key, value in state.live()}
        return {key: fact for key, fact in facts.items() if fact is not None}

    def fact_of(self, name: str, key: str) -> Fact | None:
        """One of these; None where it is not there."""
        state = self.gossiper.core.nodes.by_name.get(name)
        value = state.value(key) if state is not None and (name == self.name or name in self.peers.live) else None
        return readable(key, value) if value is not None else None

    def holders(self, keys: tuple[bytes, ...]) -> tuple[list[str], int]:
        """Which members seem to have one of these keys of the cache among their hot ones, and how many say which theirs are."""
        return questions.holders(self, keys)

    def snapshot(self) -> dict[str, Any]:
        """All that the admin API shows."""
        return snapshot(self)

    async def wan(self) -> dict[str, Any]:
        """Other regions, and the gateways of all."""
        return await self.regions.shown()

    def subscribe(self, watcher: Callable[[Event], None]) -> Callable[[], None]:
        """Call `watcher` with each event from now on; the result ends it. It must not block."""
        return self.events.subscribe(watcher)

    # -- what the agent tells

    def publish(self) -> None:
        """Ask `facts` now and tell what changed; what is urgent goes at once."""
        if self.running and not self._leaving:
            facts = self.facts()
            self._load = facts.load
            self.publisher.tell(facts, time.monotonic(), self.swim.live_count)
            if self.gateway is not None:
                self.gateway.on_own(facts.endpoints)

    def admin_at(self, address: str) -> None:
        """Tell the others where our admin API is."""
        self._profile = replace(self._profile, admin=address[:64])
        self._update_meta()

    def reconfigure(self, config: ClusterConfig) -> None:
        """Take what changes while running: keys, tags."""
        before, self.config = self.config, config
        if config.keys != before.keys and self.keys.take(tuple(key_octets(key) for key in config.keys)):
            self.note_keys("the configuration")
        if config.tags != before.tags:
            self._profile = replace(self._profile, tags=config.tags)
            self._update_meta()

    def _update_meta(self) -> None:
        if self.running and not self._leaving:
            self.driver.feed(UpdateMeta(encode_profile(self._profile)))

    def invalidate(self, kind: str, host: bytes, value: bytes, soft: bool) -> str:
        """Tell everyone to drop what is named; it has been dropped here. The context for a later one's `after`. Never waits.

        ValueError: it cannot be said.
        """
        return self.purges.issue(kind, host, value, soft) if self.running else ""

    async def invalidate_and_wait(self, kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: str = "") -> PurgeResult:
        """The same, and how many have it within the time. ValueError also for an `after` that is no context."""
        if not self.running:
            return PurgeResult(1, 1)
        return await waited(self, kind, host, value, soft, wait_s, self._positions(after))

    def _context(self, positions: tuple[Stream, ...]) -> str:
        """What a caller carries names streams as other regions do, where there are any."""
        return encode_context(renamed(positions, self.regions.own, out=True))

    def _positions(self, context: str) -> tuple[Stream, ...]:
        return renamed(decode_context(context), self.regions.own or self.region, out=False) if context else ()

    def region_round_trips(self) -> dict[str, float]:
        """To other regions, seconds between the nearest gateways; those that can be reached."""
        return self.regions.round_trips()

    # -- questions

    async def ping(self, name: str) -> float:
        """Seconds to a member and back. LookupError: no such member. TimeoutError: no answer."""
        return await questions.ping(self, name)

    async def ask_load(self, name: str, wait_s: float) -> Load:
        """How busy a member is now. TimeoutError: no answer. ValueError: none that can be read."""
        return await questions.load_of(self, name, wait_s)

    async def change_keys(self, operation: str, key: str = "") -> dict[str, Any]:
        """list, install, use or remove, on every member. ValueError says what is wrong, and never holds the key."""
        return await self.key_orders.give(operation, key)

    def _act(self, what: str, arguments: tuple[str, ...]) -> tuple[str, ...] | Acting:
        if what == "echo":
            return ()
        if what == "keys":
            return self.key_orders.obey(*arguments[:2])
        if what == "load":
            return (said(self._load),)
        return self.act(what, arguments)

    # -- each second

    async def _each_second(self) -> None:
        while True:
            await asyncio.sleep(SECOND_S)
            for work in (self._look, self.publish, self._tell_path):
                try:
                    work()
                except Exception:
                    self._fault(work.__name__)

    def _look(self) -> None:
        now = time.monotonic()
        self.stamps.next_second()
        self.swim.note_local_health(self.wellbeing.look(now, self.swim.counters.lag_s))
        if self.keys.refresh():
            self.note_keys(self.keys.path)
        self.publisher.tell_round_trips({name: self.swim.rtt_s(name) for name in self.peers.live}, self.peers.place_of, now)
        self.publisher.tell_cache(self.cache_use(), now, self.swim.live_count)
        if self.gateway is not None:
            self.gateway.look(now)
        self.regions.look()
        self.crowd.look(self.swim.live_count, self.swim.queued[0])

    def _tell_path(self) -> None:
        self.on_judgements(self.peers.judgements())
        self.on_loads(self.peers.loads(time.monotonic()))

    # -- for the parts

    def tell_endpoints(self) -> None:
        """Tell what is to be used now, of other regions too."""
        endpoints = self.peers.endpoints
        self.on_endpoints(dict(endpoints) if self.gateway is None else self.gateway.beside(endpoints))

    def take_invalidation(self, invalidation: Invalidation) -> None:
        """Another agent issued it."""
        if invalidation.kind != FENCE or self.passes_fences:
            self.on_invalidation(invalidation)
        if self.gateway is not None:
            self.gateway.on_lan_invalidation(invalidation)

    def _on_peers(self, endpoints: Endpoints) -> None:
        self.tell_endpoints()
        if self.gateway is not None:
            self.gateway.export()

    def _issued(self, sequence: int, kind: str, host: bytes, value: bytes, soft: bool) -> None:
        if self.gateway is not None:
            generation = self.gossiper.core.invalidations.own.generation
            self.gateway.on_lan_invalidation(Invalidation(self.name, generation, sequence, kind, soft, host, value))

    def note_keys(self, why: str) -> None:
        """The ring has changed."""
        names = ", ".join(str(each["fingerprint"]) for each in self.keys.fingerprints())
        self.log.info("cluster_keys", why=why, keys=names)
        self.events.tell("key", self.name, f"{why}: {names}")

    def _live_places(self) -> list[Place]:
        return [place_of(node.address, node.port) for node in self.swim.members() if node.state < DEAD]

    def _refuse(self, text: str) -> None:
        self.figures.refused += 1
        self.log.warning("cluster_fact_refused", text=text)

    def _count_fault(self) -> None:
        self.figures.faults += 1

    def _fault(self, where: str) -> None:
        self.figures.faults += 1
        self.log.error("cluster_fault", where=where, text=traceback.format_exc(limit=-4))


def _soon(what: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(TOGETHER_S, what)


def _any_port(bind: str) -> Place:
    host = bind.rpartition(":")[0]
    return host.strip("[]"), 0
