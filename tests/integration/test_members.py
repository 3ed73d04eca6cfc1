"""Members of ours, whole: discovery, joiner, core, driver, codec, keys, on sockets (with mTLS) and in memory."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.core.swim.config import LAN
from agent.core.swim.core import Swim
from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Broadcast, Deliver, Effect, JoinEnded, SendUser
from agent.core.swim.keyring import KeyRing
from agent.core.swim.members import place_of
from agent.core.swim.messages import DEAD, STATE_NAMES, NodeState, Place
from agent.core.swim.wire import encoded_size
from agent.runtime.discovery import Discovery
from agent.runtime.discovery.joiner import Joiner
from agent.runtime.discovery.sources import AddressFile
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.transport import Transport
from agent.runtime.transport.memory import MemoryNetwork, MemoryTransport
from agent.runtime.transport.sockets import SocketTransport
from agent.runtime.transport.tls import MutualTls
from tests.contract.transports import run, until
from tests.harness.authority import Authority
from tests.harness.serf import loopback_address

KEY = bytes(range(32))
PORT = 17947
CONFIG = replace(LAN, push_pull_interval_s=1.0)


class Member:
    """One member, its seeds in a file."""

    def __init__(self, name: str, host: str, transport: Transport, seeds: Path) -> None:
        self.name = name
        self.place = (host, PORT)
        self.delivered: list[bytes] = []
        address = bytes(int(part) for part in host.split("."))
        chance = random.Random(name).random
        self.core = Swim(CONFIG, NodeState(name, address, PORT, 1, 0), chance, time.monotonic(), encoded_size)
        log = Logger("error")
        self.driver = Driver(self.core, transport, Envelope("blue", KeyRing([KEY], os.urandom)), self._tell, log)
        self.joiner = Joiner(self.driver.join, self._live, time.monotonic, chance)
        self.discovery = Discovery([AddressFile(str(seeds), PORT, 0.1)], self.joiner.on_found, log, chance)

    def _live(self) -> list[Place]:
        return [place_of(node.address, node.port) for node in self.core.members() if node.state < DEAD]

    def _tell(self, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            self.delivered.append(effect.payload)
        elif isinstance(effect, JoinEnded):
            self.joiner.on_ended(effect)

    async def start(self) -> None:
        await self.driver.start()
        loop = asyncio.get_running_loop()
        self.tasks = [loop.create_task(self.joiner.run()), loop.create_task(self.discovery.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.driver.stop()

    def sees(self) -> dict[str, str]:
        return {node.name: STATE_NAMES[node.state] for node in self.core.members()}


def all_see(members: list[Member], state: str, names: str) -> bool:
    return all(member.sees().get(name) == state for member in members for name in names)


@pytest.mark.parametrize("kind", ["memory", "sockets"])
def test_members_find_each_other_speak_and_see_one_die(kind: str, tmp_path: Path) -> None:
    authority = Authority()
    seeds = tmp_path / "seeds"

    async def work() -> None:
        network = MemoryNetwork()
        members = []
        for name in "abcde":
            host = loopback_address()
            transport: Transport = MemoryTransport(network, (host, PORT))
            if kind == "sockets":
                tls = MutualTls(authority.write(tmp_path / name, f"spiffe://fish.test/{name}"), "fish.test")
                transport = SocketTransport((host, PORT), tls)
            members.append(Member(name, host, transport, seeds))
        for member in members:
            await member.start()
        assert all(member.sees() == {member.name: "alive"} for member in members), "no seeds yet: the file is missing"
        seeds.write_text(f"# one is enough\n{members[0].place[0]}\n")
        await until(lambda: all_see(members, "alive", "abcde"), "all to see all")
        members[1].driver.feed(Broadcast(b"to all"))
        members[1].driver.feed(SendUser("e", bytes(100_000)))
        await until(lambda: any(b"to all" in member.delivered for member in members), "the broadcast to reach the first")
        await until(lambda: bytes(100_000) in members[4].delivered, "the large message")
        await members[4].stop()
        await until(lambda: all_see(members[:4], "dead", "e"), "the death")
        assert all_see(members[:4], "alive", "abcd")
        for member in members[:4]:
            await member.stop()
            assert (member.driver.links.dropped, member.driver.links.faults) == ({}, 0)

    run(work)


def test_clusters_that_forgot_each_other_grow_together(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"

    async def work() -> None:
        network = MemoryNetwork()
        members = []
        for name in "abcd":
            host = loopback_address()
            members.append(Member(name, host, MemoryTransport(network, (host, PORT)), seeds))
        left, right = members[:2], members[2:]
        network.cut = {frozenset((one.place, other.place)) for one in left for other in right}
        seeds.write_text(f"{left[0].place[0]}\n{right[0].place[0]}\n")
        for member in members:
            await member.start()
        await until(lambda: all_see(left, "alive", "ab") and all_see(right, "alive", "cd"), "two clusters")
        assert all(member.joiner.failures for member in (left[0], right[0]))
        assert not any(name in left[0].sees() for name in "cd")
        network.cut.clear()
        await until(lambda: all_see(members, "alive", "abcd"), "one cluster")
        for member in members:
            await member.stop()

    run(work)
