"""Spreading the news on their own packets, and looking after the dead: one of them may only have been cut off."""

from math import inf

from agent.core.swim.desk import Desk
from agent.core.swim.io import SendPacket
from agent.core.swim.messages import Dead, Ping, Place
from agent.core.swim.pushpull import Exchange


class Gossip:
    def __init__(self, desk: Desk, exchange: Exchange) -> None:
        self._desk = desk
        self._exchange = exchange
        self.reconnect_at = inf
        self._asked_seq = 0
        self._asked_place: Place = ("", 0)

    def on_wake(self) -> None:
        """A round of gossip: packets full of news for some members, the recently dead among them."""
        desk = self._desk
        config = desk.config
        broadcasts = desk.broadcasts
        limit = desk.retransmit_limit()
        desk.gossiped_at = desk.now
        for member in desk.members.some(config.gossip_nodes, None, dead_too=True):
            news = broadcasts.fill(config.packet_bytes, limit)
            if not news:
                break
            desk.out.append(SendPacket(member.place, tuple(news)))
        more = broadcasts.members.count or broadcasts.users.count
        desk.gossip_at = desk.now + config.gossip_interval_s if more and (desk.members.live or desk.members.recent) else inf

    def watch_the_dead(self) -> None:
        """Members died, or none are dead any more: whether to look after them."""
        desk = self._desk
        if not desk.members.dead or desk.leaving:
            self.reconnect_at = inf
        elif self.reconnect_at == inf:
            self.reconnect_at = desk.now + desk.config.reconnect_interval_s * (0.5 + desk.uniform())

    def on_reconnect_due(self) -> None:
        """Ask one of the dead, telling it first what is said of it."""
        desk = self._desk
        self.reconnect_at = desk.now + desk.config.reconnect_interval_s
        member = desk.members.any_dead()
        if member is None:
            return
        node = member.node
        self._asked_seq = desk.number()
        self._asked_place = member.place
        desk.post(member.place, Dead(node.incarnation, node.name, desk.name), Ping(self._asked_seq, node.name, b"", 0, desk.name))

    def on_ack(self, seq: int) -> bool:
        """One of the dead answered: tell each other all that we know. It refutes for itself; whoever is with it is found so."""
        if not self._asked_seq or seq != self._asked_seq:
            return False
        self._asked_seq = 0
        self._exchange.sync(self._asked_place)
        return True
