"""What the two cores want done, done: membership's word to gossip and to the agent, gossip's payloads to membership."""

import time
from typing import TYPE_CHECKING, Final

from agent.cluster.frame import ANSWER, ASK, GOSSIP
from agent.cluster.identity import decode_profile
from agent.core.gossip import io as gossip
from agent.core.gossip.across import shown
from agent.core.gossip.messages import PACKET_BYTES
from agent.core.swim import io as swim

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric

MOVES: Final = frozenset({"join", "suspect", "refute", "fail", "leave"})
FRAME_BYTES_MAX: Final = 1024 * 1024
"""A larger one would take the loop for too long at once. Positions of 5,000 nodes and 10,000 streams, and 256 KiB of deltas, fit."""
TOLD: Final = {"join": "info", "leave": "info", "suspect": "info", "fail": "warning", "conflict": "warning"}
"""Events that the agent's log has."""


def state(fabric: "Fabric") -> bytes:
    """Our part of a push/pull."""
    return fabric.stamps.close(GOSSIP, fabric.gossiper.core.push_pull(time.monotonic()))


def send_ask(fabric: "Fabric", name: str, is_answer: bool, octets: bytes) -> None:
    """A question, or an answer, in a packet where it fits one."""
    frame = fabric.stamps.close(ANSWER if is_answer else ASK, octets)
    fabric.driver.feed(swim.SendUser(name, frame, reliable=len(frame) > PACKET_BYTES))


def gossip_effect(fabric: "Fabric", effect: gossip.Effect) -> None:
    """Carry out one effect of the gossip core."""
    driver, stamps = fabric.driver, fabric.stamps
    if isinstance(effect, gossip.SendPacket):
        frame = stamps.close(GOSSIP, effect.payload)
        for name in effect.to:
            driver.feed(swim.SendUser(name, frame))
    elif isinstance(effect, gossip.Broadcast):
        driver.feed(swim.Broadcast(stamps.close(GOSSIP, effect.payload)))
    elif isinstance(effect, gossip.SendStream):
        driver.feed(swim.SendUser(effect.to, stamps.close(GOSSIP, effect.payload), reliable=True))
    elif isinstance(effect, gossip.Changed):
        fabric.peers.changed(effect.node, effect.key, effect.value, time.monotonic())
    elif isinstance(effect, gossip.Forgot):
        fabric.peers.forgot(effect.node)
    elif isinstance(effect, gossip.Apply):
        fabric.take_invalidation(effect.invalidation)
    elif isinstance(effect, gossip.MarkStale):
        fabric.figures.marked_stale += 1
        fabric.log.info("cluster_marked_stale", origin=shown(effect.origin), reason=shown(effect.reason))
        fabric.on_mark_stale(effect.older_than + time.perf_counter() - time.monotonic(), effect.hosts)
    elif isinstance(effect, gossip.PurgeAnswer):
        fabric.purges.on_answer(effect)


def member_effect(fabric: "Fabric", effect: swim.Effect) -> None:
    """Take one effect of membership that is not the network's."""
    if isinstance(effect, swim.Deliver):
        _deliver(fabric, f"{effect.source[0]}:{effect.source[1]}", effect.payload)
    elif isinstance(effect, swim.MemberEvent):
        _on_event(fabric, effect)
    elif isinstance(effect, swim.MergeState):
        kind, body = _opened(fabric, "a push/pull", effect.payload)
        if kind == GOSSIP:
            fabric.gossiper.feed(gossip.PushPullIn(body, effect.join and effect.asked))
    elif isinstance(effect, swim.JoinEnded):
        fabric.joiner.on_ended(effect)


def _deliver(fabric: "Fabric", source: str, payload: bytes) -> None:
    kind, body = _opened(fabric, source, payload)
    if kind == GOSSIP:
        fabric.gossiper.feed(gossip.Received(body))
    elif kind == ASK:
        fabric.asks.on_ask(body, fabric.stamps.wall_ms())
    elif kind == ANSWER:
        fabric.asks.on_answer(body)


def _opened(fabric: "Fabric", source: str, payload: bytes) -> tuple[int, bytes]:
    """Kind and body. Kind -1, which is counted: no frame, one that is too large, or a newer agent's."""
    if len(payload) <= FRAME_BYTES_MAX:
        try:
            kind, body = fabric.stamps.open(payload, source)
        except ValueError:
            kind, body = -1, b""
        if kind in (GOSSIP, ASK, ANSWER):
            return kind, body
    fabric.figures.bad_frames += 1
    return -1, b""


def _on_event(fabric: "Fabric", event: swim.MemberEvent) -> None:
    name, kind = event.member.name, event.kind
    if kind in MOVES:
        fabric.since[name] = time.monotonic()
    if name == fabric.name:
        if kind == "leave":
            fabric.left.set()
    elif kind in ("join", "update", "refute"):
        profile = decode_profile(event.member.meta)
        if profile.gossip:
            fabric.peers.up(name, profile)
            fabric.gossiper.feed(gossip.MemberUp(name))
        elif name in fabric.peers.live:  # another program has taken the name
            _gone(fabric, name)
    elif kind in ("fail", "leave", "reap"):
        _gone(fabric, name)
        if kind == "reap":
            fabric.since.pop(name, None)
    level = TOLD.get(kind)
    if level is not None:
        fabric.log.write(level, f"member_{kind}", member=name, detail=event.detail)
    fabric.events.tell(kind, name, event.detail)


def _gone(fabric: "Fabric", name: str) -> None:
    """Its endpoints are out of use before anything else is done."""
    fabric.peers.gone(name)
    fabric.gossiper.feed(gossip.MemberGone(name))
