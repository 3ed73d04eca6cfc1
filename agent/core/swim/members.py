"""The member list: who there is, in what state, and the order in which they are probed."""

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

from msgspec import structs

from agent.core.swim.messages import ALIVE, DEAD, SUSPECT, NodeState, Place
from agent.core.swim.suspicion import Suspicion


def place_of(address: bytes, port: int) -> Place:
    """Where packets for an address (4 or 16 octets) go."""
    if len(address) == 4:
        return (f"{address[0]}.{address[1]}.{address[2]}.{address[3]}", port)
    return (str(IPv6Address(address)), port)


class Member:
    """One member as we know it. `node` is what others are told of it; a change makes another one."""

    __slots__ = ("changed_at", "node", "place", "recent_seat", "rtt_s", "seat", "suspicion")

    def __init__(self, node: NodeState, now: float) -> None:
        self.node = node
        self.place = place_of(node.address, node.port)
        self.changed_at = now
        self.suspicion: Suspicion | None = None
        self.rtt_s = 0.0
        """Smoothed round trip of its direct acks; 0 before the first."""
        self.seat = -1
        """Where it is in `live` or in `dead`; -1 in neither."""
        self.recent_seat = -1


class Members:
    def __init__(self, own: Member, uniform: Callable[[], float]) -> None:
        self.own = own
        self.by_name: dict[str, Member] = {own.node.name: own}
        self.live: list[Member] = []
        """Alive or suspect, without ourselves. Those before `_cursor` have been probed in this round."""
        self.dead: list[Member] = []
        """Dead, not left: worth a ping now and then."""
        self.recent: list[Member] = []
        """Dead or left a short while ago: still told the news."""
        self._cursor = 0
        self._uniform = uniform
        self.revision = 0
        """Grows with every change; a view made at one revision holds while it stays."""
        self._view: tuple[NodeState, ...] = ()
        self._view_revision = -1

    @property
    def count(self) -> int:
        """n: live members, ourselves among them."""
        return len(self.live) + 1

    def view(self) -> tuple[NodeState, ...]:
        """Everybody known, in the order in which they were met. The same object until something changes."""
        if self._view_revision != self.revision:
            self._view = tuple([member.node for member in self.by_name.values()])
            self._view_revision = self.revision
        return self._view

    def add(self, node: NodeState, now: float) -> Member:
        """Somebody new, in whatever state."""
        assert node.name not in self.by_name
        member = Member(node, now)
        self.by_name[node.name] = member
        self._seat(member)
        self.revision += 1
        return member

    def load(self, nodes: Iterable[NodeState], now: float) -> None:
        """Many at once, as a snapshot has them; those known already stay as they are."""
        for node in nodes:
            if node.name not in self.by_name:
                self.add(node, now)

    def change(self, member: Member, node: NodeState, now: float) -> None:
        """`member` is as `node` says from now on."""
        before = member.node
        if node.address != before.address or node.port != before.port:
            member.place = place_of(node.address, node.port)
        if node.state != before.state:
            member.changed_at = now
        moves = member is not self.own and (node.state <= SUSPECT) != (before.state <= SUSPECT)
        if moves:
            self._unseat(member)
        member.node = node
        if moves:
            self._seat(member)
            if node.state <= SUSPECT:
                self.drop_recent(member)
            elif member.recent_seat < 0:
                member.recent_seat = len(self.recent)
                self.recent.append(member)
        self.revision += 1

    def set_state(self, member: Member, state: int, incarnation: int, now: float) -> None:
        self.change(member, structs.replace(member.node, state=state, incarnation=incarnation), now)

    def reap(self, member: Member) -> None:
        """Forget one that is dead or has left."""
        assert member.node.state >= DEAD and member is not self.own
        self._unseat(member)
        self.drop_recent(member)
        del self.by_name[member.node.name]
        self.revision += 1

    def drop_recent(self, member: Member) -> None:
        """It is no longer told the news as one of the dead."""
        seat = member.recent_seat
        if seat < 0:
            return
        last = self.recent.pop()
        if last is not member:
            self.recent[seat] = last
            last.recent_seat = seat
        member.recent_seat = -1

    def next_target(self) -> Member | None:
        """Whom to probe: everybody once in a round, in an order shuffled anew each round, a step of the shuffle at a time."""
        live = self.live
        count = len(live)
        if not count:
            return None
        if self._cursor >= count:
            self._cursor = 0
        here = self._cursor
        chosen = here + int(self._uniform() * (count - here))
        member, other = live[chosen], live[here]
        live[here], live[chosen] = member, other
        member.seat, other.seat = here, chosen
        self._cursor = here + 1
        return member

    def some(self, wanted: int, skip: Member | None, *, dead_too: bool = False) -> list[Member]:
        """Up to `wanted` different random members that are not suspected by us; with `dead_too` also suspects and recently dead."""
        live, recent = self.live, self.recent
        count = len(live) + (len(recent) if dead_too else 0)
        chosen: list[Member] = []
        # As memberlist does: so many throws, and be content with fewer (a small cluster, or one of suspects).
        throws = 3 * wanted + 2 * min(count, 8)
        while count and len(chosen) < wanted and throws:
            throws -= 1
            at = int(self._uniform() * count)
            member = live[at] if at < len(live) else recent[at - len(live)]
            if member is not skip and member not in chosen and (dead_too or member.node.state == ALIVE):
                chosen.append(member)
        return chosen

    def any_dead(self) -> Member | None:
        dead = self.dead
        return dead[int(self._uniform() * len(dead))] if dead else None

    def _seat(self, member: Member) -> None:
        state = member.node.state
        if state <= SUSPECT:
            member.seat = len(self.live)
            self.live.append(member)
        elif state == DEAD:
            member.seat = len(self.dead)
            self.dead.append(member)

    def _unseat(self, member: Member) -> None:
        seat = member.seat
        if seat < 0:
            return
        seats = self.live if member.node.state <= SUSPECT else self.dead
        assert seats[seat] is member
        if seats is self.live and seat < self._cursor:
            # The hole must be at the border of those probed already, so that nobody is probed twice or left out.
            self._cursor -= 1
            border = seats[self._cursor]
            seats[seat] = border
            border.seat = seat
            seat = self._cursor
        last = seats.pop()
        if seat < len(seats):
            seats[seat] = last
            last.seat = seat
        member.seat = -1
