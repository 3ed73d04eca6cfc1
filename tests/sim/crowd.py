"""Memory and processor time that members cost one real agent: ``python -m tests.sim.crowd --members 100 1000``.

A process stands for all the others: it lets the agent join, hands it the members and what each says of itself (health, load of two
services, an endpoint, cache, round trips), and answers for every one of them. What is measured is the agent's proportional set size, and
how it grows from the first number of members to the last; and the processor time of an idle agent, which is pinged and told digests
as often as by so many.
"""

import argparse
import asyncio
import random
import socket
import threading
import time

import psutil
import uvloop
from msgspec import Struct

from agent.cluster.frame import GOSSIP, Stamps
from agent.cluster.identity import encode_profile, own_profile
from agent.cluster.publisher import PEERS_MAX, PEERS_OF_MANY
from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.facts import Announced, CacheUse, Fact, Health, Latency, Load, RoundTrips, encode
from agent.core.gossip.io import Effect as GossipEffect
from agent.core.gossip.io import MemberUp, Received, SendPacket, SendStream
from agent.core.gossip.messages import Delta, Digest, Item, NodeDelta
from agent.core.gossip.messages import encode as encode_gossip
from agent.core.swim.config import LAN, LOCAL
from agent.core.swim.core import Swim
from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Deliver, Effect, Input, MergeState, PacketIn, SendUser
from agent.core.swim.io import SendPacket as SwimPacket
from agent.core.swim.members import place_of
from agent.core.swim.messages import ALIVE, VERSIONS, NodeState, Ping, Place
from agent.core.swim.wire import encoded_size
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.transport.sockets import SocketTransport
from tests.harness.agent import AgentProcess
from tests.harness.mesh import PORT
from tests.harness.serf import loopback_address
from tests.harness.wait import wait_until

SETTLE_S = 5.0
IDLE_S = 20.0


def name_of(number: int) -> str:
    return f"web-{number:04d}-7d9f"


def facts(number: int, members: int) -> dict[str, Fact]:
    """What an agent of that many tells by default."""
    chance = random.Random(number)
    told = {name_of(other): round(chance.uniform(0.0002, 0.004), 5) for other in range(members if members <= PEERS_MAX else PEERS_OF_MANY)}
    load = Load(0.31, 0.42, 0.0, 4, 0, 0.0, {"web": Latency(0.0042, 0.031), "api": Latency(0.0021, 0.012)})
    return {
        "health": Health(),
        "load": load,
        "endpoint:web:8080": Announced("web", f"10.{number >> 8}.{number & 255}.7", 8080, "a", "eu", {"track": "stable"}),
        "cache": CacheUse(1_200 + number, 48_000_000 + number, 90_000, 120_000),
        "peers": RoundTrips(told),
    }


class Tell(Struct, frozen=True):
    """An input of ours: this message goes there."""

    to: Place
    message: Ping


class Everybody(Swim):
    """A core that answers for all."""

    def step(self, now: float, event: Input | Tell) -> tuple[Effect, ...]:  # type: ignore[override]
        if isinstance(event, Tell):
            return (SwimPacket(event.to, (event.message,)),)
        if isinstance(event, PacketIn) and isinstance(event.message, Ping):
            event = PacketIn(event.source, Ping(event.message.seq, self.own.name))
        return super().step(now, event)


class Crowd:
    """The others, in a thread. A context manager."""

    def __init__(self, members: int) -> None:
        self.host = loopback_address()
        self.members = members
        self.stamps = Stamps(lambda: int(time.time() * 1000))
        self._started = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._live()), daemon=True)

    async def _live(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        now = time.monotonic()
        address, meta = socket.inet_aton(self.host), encode_profile(own_profile("eu", "a", "127.0.0.1:15020", {}))
        nodes = [NodeState(name_of(number), address, PORT, 1, ALIVE, meta, VERSIONS) for number in range(self.members)]
        self.gossip = GossipCore(nodes[0].name, 1, GossipConfig(), random.Random(1), now)
        for number, node in enumerate(nodes[1:], 1):
            items = tuple(Item(key, at, encode(fact)) for at, (key, fact) in enumerate(facts(number, self.members).items(), 1))
            self.gossip.step(now, MemberUp(node.name))
            self.gossip.step(now, Received(encode_gossip(Delta((NodeDelta(node.name, 1, 0, 0, len(items), len(items), items),)))))
        own = nodes[0]
        core = Everybody(
            LOCAL, own, random.Random(2).random, now, encoded_size, lambda _: self._framed(self.gossip.push_pull(time.monotonic()))
        )
        core.load(nodes)
        self.core = core
        self.driver = Driver(core, SocketTransport((self.host, PORT)), Envelope("blue"), self._tell, Logger("error"))
        await self.driver.start()
        self._started.set()
        talking = asyncio.ensure_future(self._talk())
        await self._stopping.wait()
        talking.cancel()
        await self.driver.stop()

    async def _talk(self) -> None:
        """What each member gets from all the others together, whatever their number: a ping an interval, a digest each half second."""
        chance, wait_s = random.Random(3), LAN.probe_interval_s
        owed = 0.0
        while True:
            await asyncio.sleep(wait_s)
            node = self.core.member("self")
            if node is None:
                continue
            here = (socket.inet_aton(self.host), PORT)
            self.driver.feed(Tell(place_of(node.address, node.port), Ping(chance.randrange(1 << 31), "self", *here, name_of(1))))
            owed += wait_s / 0.5
            while owed >= 1.0:
                owed -= 1.0
                name = name_of(chance.randrange(1, self.members))
                positions = self.gossip.nodes.digest(time.monotonic(), 1_100)
                self.driver.feed(SendUser("self", self._framed(encode_gossip(Digest(name, 2, positions)))))

    def _framed(self, payload: bytes) -> bytes:
        return self.stamps.close(GOSSIP, payload)

    def _tell(self, effect: Effect) -> None:
        payload = effect.payload if isinstance(effect, Deliver | MergeState) else b""
        if payload and payload[0] == GOSSIP:
            self._gossip(self.gossip.step(time.monotonic(), Received(payload[9:])))

    def _gossip(self, effects: tuple[GossipEffect, ...]) -> None:
        for effect in effects:
            names = effect.to if isinstance(effect, SendPacket) else (effect.to,) if isinstance(effect, SendStream) else ()
            for name in names:
                if name == "self":
                    self.driver.feed(SendUser(name, self._framed(effect.payload), reliable=isinstance(effect, SendStream)))  # type: ignore[union-attr]

    def __enter__(self) -> "Crowd":
        self._thread.start()
        assert self._started.wait(60), "the crowd did not gather"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)


def pss(agent: AgentProcess) -> int:
    assert agent.process is not None
    return int(psutil.Process(agent.process.pid).memory_full_info().pss)


def measure(members: int) -> int:
    """Octets of a real agent that knows so many."""
    with Crowd(members) as crowd:
        section = {"bind": f"{loopback_address()}:{PORT}", "name": "blue", "preset": "lan", "plaintext": True}
        alone = {"agent": {"id": "self", "region": "eu", "zone": "a"}, "cluster": section}
        with AgentProcess(alone) as agent:
            time.sleep(SETTLE_S)
            before = pss(agent)
        with AgentProcess({**alone, "cluster": {**section, "seeds": [f"{crowd.host}:{PORT}"]}}) as agent:
            wait_until(lambda: agent.metric("pilotfish_cluster_members", state="alive") >= members, "all members", 60.0)
            wait_until(lambda: agent.metric("pilotfish_cluster_nodes") >= members, "what they say", 120.0)
            # Who joins tells everybody's arrival on, which takes a minute at a thousand.
            wait_until(lambda: agent.metric("pilotfish_cluster_queue", queue="members") == 0, "news to be told", 180.0)
            time.sleep(SETTLE_S)
            states = {state: agent.metric("pilotfish_cluster_members", state=state) for state in ("alive", "suspect", "dead")}
            after = pss(agent)
            assert agent.process is not None
            process = psutil.Process(agent.process.pid)
            began, used = time.monotonic(), sum(process.cpu_times()[:2])
            time.sleep(IDLE_S)
            share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
    print(f"{members} members {states}: {before / 1e6:.1f} MB alone, {after / 1e6:.1f} MB with them; idle, {share:.2%} of a core")
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[250, 1000])
    args = parser.parse_args()
    sizes = [measure(members) for members in args.members]
    if len(sizes) > 1:
        print(f"{(sizes[-1] - sizes[0]) / (args.members[-1] - args.members[0]):.0f} octets for each more")


if __name__ == "__main__":
    main()
