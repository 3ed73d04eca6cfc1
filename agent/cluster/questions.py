"""What one member asks another about itself: whether it is there, and how busy it is."""

import time
from typing import TYPE_CHECKING, Final

from agent.cluster.far import heard
from agent.core.gossip.bloom import may_hold
from agent.core.gossip.facts import HotKeys, Load
from agent.core.swim.messages import DEAD

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric

PING_WAIT_S: Final = 2.0


def holders(fabric: "Fabric", keys: tuple[bytes, ...]) -> tuple[list[str], int]:
    """The live members whose digest of hot keys has one of these (0.8 % of the others seem to), and how many have a digest at all."""
    found: list[str] = []
    told = 0
    for name in sorted(fabric.peers.live):
        hot = fabric.fact_of(name, "hot")
        if isinstance(hot, HotKeys):
            told += 1
            if any(may_hold(hot, key) for key in keys):
                found.append(name)
    return found, told


async def ping(fabric: "Fabric", name: str) -> float:
    """Seconds to a member and back. LookupError: no such member. TimeoutError: no answer."""
    node = fabric.swim.member(name)
    if node is None or not fabric.running:
        raise LookupError(f"no member is called {name}")
    if name == fabric.name:
        return 0.0
    if name not in fabric.peers.live and node.state < DEAD and fabric.swim.rtt_s(name) > 0.0:
        return fabric.swim.rtt_s(name)  # a member of another program: what probing measured
    began = time.monotonic()
    answers = await fabric.asks.ask((name,), fabric.stamps.now(), "echo", (), PING_WAIT_S)
    if name not in answers:
        raise TimeoutError(f"{name} has not answered within {PING_WAIT_S:g} s")
    return time.monotonic() - began


async def load_of(fabric: "Fabric", name: str, wait_s: float) -> Load:
    """How busy a member is now. TimeoutError: no answer. ValueError: none that can be read."""
    answers = await fabric.asks.ask((name,), fabric.stamps.now(), "load", (), wait_s) if fabric.running else {}
    if name not in answers:
        raise TimeoutError(f"{name} has not answered within {wait_s:g} s")
    return heard("".join(answers[name].values[:1]), Load)
