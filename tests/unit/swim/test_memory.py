"""What a member costs in memory: membership's record of it, the gossiped state, and what of it the agent keeps decoded.

A whole agent is measured by ``python -m tests.sim.crowd``.
"""

import gc
import tracemalloc
from random import Random

from agent.cluster.identity import decode_profile, encode_profile, own_profile
from agent.cluster.peers import Peers
from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.facts import encode as encode_fact
from agent.core.gossip.io import Changed, MemberUp, Received
from agent.core.gossip.messages import Delta, Item, NodeDelta
from agent.core.gossip.messages import encode as encode_gossip
from agent.core.swim.config import LAN
from agent.core.swim.core import Swim
from agent.core.swim.io import PacketIn
from agent.core.swim.messages import ALIVE, VERSIONS, Alive, NodeState
from agent.core.swim.wire import decode_packet, encode
from tests.sim.crowd import facts, name_of

MEMBERS = 2_000
META_BYTES = 200
STATE = (("health", 12), ("load", 120), ("judgements", 200), ("announced", 200), ("use", 60))
"""What an agent with a few services says of itself: keys and octets."""


def packets(number: int) -> tuple[bytes, bytes]:
    """One member's announcement, and its state."""
    name = f"agent-{number:05d}.zone-{number % 3}"
    alive = Alive(1_000_000 + number, name, bytes((10, 1, number >> 8, number & 255)), 7946, Random(number).randbytes(META_BYTES), VERSIONS)
    items = tuple(Item(key, at + 1, Random(f"{number}/{key}").randbytes(size)) for at, (key, size) in enumerate(STATE))
    return encode(alive), encode_gossip(Delta((NodeDelta(name, 1_700_000_000_000 + number, 0, 0, len(STATE), len(STATE), items),)))


def test_a_member_takes_less_than_4_kb() -> None:
    swim = Swim(LAN, NodeState("self", bytes((10, 1, 255, 255)), 7946, 1, ALIVE), Random(1).random, 0.0)
    gossip = GossipCore("self", 1, GossipConfig(), Random(2), 0.0)
    wire = [packets(number) for number in range(MEMBERS)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        now = 0.0
        for alive, state in wire:
            now += 0.001
            for message in decode_packet(alive):
                for effect in swim.step(now, PacketIn(("10.1.0.1", 7946), message)):
                    gossip.step(now, MemberUp(effect.member.name))
            gossip.step(now, Received(state))
        gc.collect()
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert swim.live_count == MEMBERS + 1
    assert len(gossip.nodes.by_name) == MEMBERS + 1
    print(f"{took / MEMBERS:.0f} octets a member")
    assert took / MEMBERS < 4096


def told(number: int) -> tuple[bytes, bytes]:
    """The same of an agent that tells what agents tell by default in a cluster of so many."""
    address = bytes((10, 1, number >> 8, number & 255))
    meta = encode_profile(own_profile("eu", f"zone-{number % 3}", "127.0.0.1:15020", {}))
    items = tuple(Item(key, at, encode_fact(fact)) for at, (key, fact) in enumerate(facts(number, MEMBERS).items(), 1))
    delta = NodeDelta(name_of(number), 1_700_000_000_000 + number, 0, 0, len(items), len(items), items)
    return encode(Alive(1_000_000 + number, name_of(number), address, 7946, meta, VERSIONS)), encode_gossip(Delta((delta,)))


def test_a_member_takes_less_than_4_kb_with_what_the_data_path_is_told_of_it() -> None:
    swim = Swim(LAN, NodeState("self", bytes((10, 1, 255, 255)), 7946, 1, ALIVE), Random(1).random, 0.0)
    gossip = GossipCore("self", 1, GossipConfig(), Random(2), 0.0)
    peers = Peers(lambda endpoints: None, lambda what: None)
    wire = [told(number) for number in range(MEMBERS)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, (alive, state) in enumerate(wire):
            now = 0.001 * number
            for message in decode_packet(alive):
                for effect in swim.step(now, PacketIn(("10.1.0.1", 7946), message)):
                    gossip.step(now, MemberUp(effect.member.name))
                    peers.up(effect.member.name, decode_profile(effect.member.meta))
            for effect in gossip.step(now, Received(state)):
                if isinstance(effect, Changed):
                    peers.changed(effect.node, effect.key, effect.value, now)
        gc.collect()
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(peers.live) == len(peers.loads(0.0)) == MEMBERS
    print(f"{took / MEMBERS:.0f} octets a member")
    assert took / MEMBERS < 4096
