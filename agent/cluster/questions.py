"""What one member asks another about itself: whether it is there, and how busy it is."""

import time
from typing import TYPE_CHECKING, Final

from agent.cluster.far import heard
from agent.core.gossip.facts import Load
from agent.core.swim.messages import DEAD

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric

PING_WAIT_S: Final = 2.0


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
