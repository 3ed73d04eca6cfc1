"""Seats in consensus groups, told and read through the cluster fabric."""

import time
from typing import TYPE_CHECKING

from agent.cluster.consensus.seats import Seen
from agent.core.gossip.facts import Seat, encode
from agent.core.swim.messages import DEAD, STATE_NAMES

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric


class FabricBoard:
    """A `seats.Board`."""

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self._known: dict[str, dict[str, Seen]] = {}
        """By group: what was seen last of agents that may be gone by now."""

    def tell(self, group: str, seat: Seat) -> None:
        if self._fabric.running:
            self._fabric.publisher.tell_seat(group, encode(seat))

    def seen(self, group: str) -> dict[str, Seen]:
        fabric = self._fabric
        known = self._known.setdefault(group, {})
        key = f"seat:{group}"
        live = fabric.peers.live
        for name, profile in live.items():
            seat = fabric.peers.facts(name).get(key)
            if isinstance(seat, Seat):
                known[name] = Seen(name, seat, True, 0.0, profile.zone, profile.region)
        for name in [name for name in known if name not in live]:
            state, since_s = self.state(name)
            if state == "unknown":
                del known[name]
            else:
                old = known[name]
                known[name] = Seen(name, old.seat, False, since_s, old.zone, old.region)
        return known

    def own_zone(self) -> tuple[str, str]:
        return self._fabric.zone, self._fabric.region

    def state(self, name: str) -> tuple[str, float]:
        fabric = self._fabric
        node = fabric.swim.member(name)
        if node is None:
            return "unknown", 0.0
        since_s = time.monotonic() - fabric.since.get(name, time.monotonic())
        if node.state < DEAD and name not in fabric.peers.live:
            return "unknown", since_s
        return STATE_NAMES[node.state], since_s
