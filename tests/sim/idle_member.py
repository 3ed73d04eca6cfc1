"""CPU of one real member of a large cluster, encrypted, on loopback: ``python -m tests.sim.idle_member --members 2500``.

The others are one process that answers every ping and pings as they all would. `--news`: announcements with 200 octets of metadata
that it hears each second, as in a cluster where so many members come, go or change.
"""

import argparse
import asyncio
import os
import random
import time
from multiprocessing import Process

import uvloop

from agent.core.swim.config import LAN
from agent.core.swim.core import Swim
from agent.core.swim.envelope import Envelope
from agent.core.swim.keyring import KeyRing
from agent.core.swim.messages import ALIVE, VERSIONS, Ack, Alive, Message, NodeState, Ping, Place
from agent.core.swim.wire import decode_packet, pack
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.transport.sockets import SocketTransport

KEY = bytes(range(32))
LOOPBACK = bytes((127, 0, 0, 1))


class Others(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.envelope = Envelope("", KeyRing([KEY], os.urandom))

    def datagram_received(self, data: bytes, source: Place) -> None:
        for message in decode_packet(self.envelope.open_packet(data)):
            if isinstance(message, Ping):
                self.send(source, Ack(message.seq))

    def send(self, to: Place, *messages: Message) -> None:
        self.transport.sendto(self.envelope.close_packet(pack(messages)), to)


async def others(port: int, to: int, members: int, news: float) -> None:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Others, local_addr=("127.0.0.1", port))
    owed, incarnation = 0.0, 2
    while True:
        await asyncio.sleep(LAN.probe_interval_s * random.uniform(0.9, 1.1))
        owed += news * LAN.probe_interval_s
        fresh = []
        while owed >= 1:
            owed -= 1
            incarnation += 1
            name = f"node-{random.randrange(members):05d}"
            fresh.append(Alive(incarnation, name, LOOPBACK, port, random.randbytes(200), VERSIONS))
        for at in range(0, max(1, len(fresh)), 4):
            protocol.send(("127.0.0.1", to), Ping(random.randrange(1 << 31), "self", b"", 0, "node-00001"), *fresh[at : at + 4])


async def member(port: int, to: int, members: int, seconds: float) -> None:
    own = NodeState("self", LOOPBACK, port, 1, ALIVE)
    core = Swim(LAN, own, random.Random(1).random, time.monotonic())
    core.load([NodeState(f"node-{i:05d}", LOOPBACK, to, 1, ALIVE, b"", VERSIONS) for i in range(members)])
    transport = SocketTransport(("127.0.0.1", port))
    driver = Driver(core, transport, Envelope("", KeyRing([KEY], os.urandom)), lambda _: None, Logger("error"))
    await driver.start()
    await asyncio.sleep(2.0)
    cpu_s, began, probes = time.process_time(), time.monotonic(), core.counters.probes
    await asyncio.sleep(seconds)
    cpu_s, took_s = time.process_time() - cpu_s, time.monotonic() - began
    probes = core.counters.probes - probes
    print(
        f"{members} members: {cpu_s / took_s * 100:.2f} % of a core; {probes / took_s:.1f} probes/s, {core.counters.probes_failed} failed"
    )
    await driver.stop()


def run_others(port: int, to: int, members: int, news: float) -> None:
    uvloop.run(others(port, to, members, news))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=2500)
    parser.add_argument("--news", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=17946)
    args = parser.parse_args()
    process = Process(target=run_others, args=(args.port + 1, args.port, args.members, args.news), daemon=True)
    process.start()
    try:
        uvloop.run(member(args.port, args.port + 1, args.members, args.seconds))
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
