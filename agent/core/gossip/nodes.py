"""Every node's state as one agent has it, and the exchange that keeps it in step: digest, deltas, wants.

An exchange: A sends a random peer what it has of the nodes that changed of late (newest first) and of a rotating slice of the others;
the peer sends what A lacks, and asks for what A has more of. A node that is gone is passed on no more after half of its grace and
forgotten after the whole of it, and what was forgotten is not taken back from those who have yet to forget it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from sys import intern

from msgspec import Struct

from agent.core.gossip.messages import NUMBER_MAX, NodeDelta, Position, item_bytes
from agent.core.gossip.state import NodeState

COLD_BYTES = 300
"""What a digest gives to nodes that have not changed of late: some ten of them. At 1,000 nodes each is named about every 50 s by each."""


class Limits(Struct, frozen=True):
    """Bounds of gossiped state. Seconds and octets."""

    nodes_max: int = 5_000
    """Nodes that are held; further ones are refused and counted."""
    keys_max: int = 256
    """Keys of one node, tombstones included."""
    value_bytes_max: int = 4_096
    key_bytes_max: int = 200
    tombstone_grace: float = 600.0
    """A deleted key is remembered so long. Who is away longer is refilled from the start of that node's state."""
    node_grace: float = 120.0
    """A node that is gone is forgotten after so long."""
    hot: float = 6.0
    """A node that changed within this time is named in every digest."""


NodeChange = tuple[str, str, bytes | None]
"""Node, key, new value (None: gone)."""


class Nodes:
    """The table. The host's own node is in it like the others."""

    def __init__(self, name: str, generation: int, limits: Limits, now: float) -> None:
        self.name = name
        self.limits = limits
        self.own = NodeState(name, generation, now)
        self.by_name: dict[str, NodeState] = {name: self.own}
        self.refused = 0
        """Deltas refused for a bound, and nodes beyond the table's."""
        self._live: set[str] = {name}
        self._forgotten: dict[str, tuple[int, float]] = {}
        self._cursor = ""
        self._by_change: dict[str, NodeState] = {name: self.own}
        """In the order in which they changed, the newest last."""
        self._names = [name]
        """Sorted, for the rotating slice."""

    # -- members

    def member_up(self, name: str) -> None:
        """Membership says that it is there."""
        self._live.add(name)
        state = self.by_name.get(name)
        if state is not None:
            state.absent_since = -1.0

    def member_gone(self, name: str, now: float) -> None:
        """It left or died."""
        self._live.discard(name)
        state = self.by_name.get(name)
        if state is not None and state.absent_since < 0.0 and state is not self.own:
            state.absent_since = now

    def housekeep(self, now: float) -> list[str]:
        """Collect tombstones, forget nodes; the names of the forgotten."""
        forgotten: list[str] = []
        for name, state in sorted(self.by_name.items()):
            state.collect(now - self.limits.tombstone_grace)
            if state.absent_since >= 0.0 and now - state.absent_since > self.limits.node_grace:
                forgotten.append(name)
                self._forgotten[name] = (state.generation, now)
        for name in forgotten:
            del self.by_name[name], self._by_change[name], self._names[bisect_left(self._names, name)]
        for name, (_, at) in list(self._forgotten.items()):
            if now - at > 2 * self.limits.node_grace or len(self._forgotten) > self.limits.nodes_max:
                del self._forgotten[name]
        return forgotten

    # -- sending

    def _shareable(self, state: NodeState, now: float) -> bool:
        return state.absent_since < 0.0 or now - state.absent_since < self.limits.node_grace / 2

    def _newest_first(self, now: float) -> Iterator[NodeState]:
        for state in reversed(self._by_change.values()):
            if self._shareable(state, now):
                yield state

    def _touch(self, state: NodeState) -> None:
        self._by_change[state.name] = self._by_change.pop(state.name)

    def digest(self, now: float, budget: int) -> tuple[Position, ...]:
        """The positions to open an exchange with: our own, what changed of late (newest first), then a slice of the others."""
        named = {self.name: self.own.position()}
        budget -= position_bytes(self.name)
        for state in self._newest_first(now):
            budget_after = budget - position_bytes(state.name)
            if now - state.changed_at > self.limits.hot or budget_after < COLD_BYTES:
                break
            if state is not self.own:
                named[state.name] = state.position()
                budget = budget_after
        budget = min(budget, COLD_BYTES)
        start = bisect_right(self._names, self._cursor)
        for index in range(len(self._names)):
            name = self._names[(start + index) % len(self._names)]
            state = self.by_name[name]
            if name not in named and self._shareable(state, now):
                budget -= position_bytes(name)
                if budget < 0:
                    break
                named[name] = state.position()
                self._cursor = name
        return tuple(named.values())

    def unnamed(self, theirs: Iterable[Position], now: float, budget: int) -> tuple[Position, ...]:
        """The positions of what changed of late and a digest does not name; newest first."""
        named = {position.node for position in theirs}
        positions: list[Position] = []
        for state in self._newest_first(now):
            if now - state.changed_at > self.limits.hot:
                break
            if state.name not in named:
                budget -= position_bytes(state.name)
                if budget < 0:
                    break
                positions.append(state.position())
        return tuple(positions)

    def positions(self, now: float) -> tuple[Position, ...]:
        """All of them, for a stream."""
        return tuple(state.position() for state in self._newest_first(now))

    def lacking(self, theirs: Iterable[Position], now: float) -> list[tuple[NodeState, Position | None]]:
        """Of the nodes that a digest names, those of which we have more; newest first."""
        found: list[tuple[NodeState, Position | None]] = []
        for position in theirs:
            state = self.by_name.get(position.node)
            if state is not None and self._shareable(state, now):
                if (position.generation, position.floor) < (state.generation, state.floor):
                    found.append((state, position))
        found.sort(key=lambda pair: (-pair[0].changed_at, pair[0].name))
        return found

    def unknown_to(self, theirs: Iterable[Position], now: float) -> list[tuple[NodeState, Position | None]]:
        """The nodes that a digest of everything does not name; newest first."""
        named = {position.node for position in theirs}
        return [(state, None) for state in self._newest_first(now) if state.name not in named]

    def wanted(self, theirs: Iterable[Position]) -> tuple[Position, ...]:
        """Of the nodes that a digest names, where we are, wherever that is less."""
        wants: list[Position] = []
        for position in theirs:
            state = self.by_name.get(position.node)
            if state is None:
                if self._may_add(position.node, position.generation):
                    wants.append(Position(position.node, 0, 0, 0))
            elif state is not self.own and (state.generation, state.floor) < (position.generation, position.floor):
                wants.append(state.position())
        return tuple(wants)

    # -- receiving

    def apply(self, delta: NodeDelta, now: float) -> list[NodeChange]:
        """Take a delta within the bounds."""
        if delta.node == self.own.name:
            self.meet_self(delta.generation, delta.have, now)
            return []
        state = self.by_name.get(delta.node)
        if not self._within_bounds(state, delta):
            self.refused += 1
            return []
        if state is None:
            if not self._may_add(delta.node, delta.generation):
                return []
            name = intern(delta.node)  # membership has it too, and its place in three tables here
            state = self.by_name[name] = self._by_change[name] = NodeState(name, delta.generation, now)
            insort(self._names, name)
            if delta.node not in self._live:
                state.absent_since = now
        floor = state.floor
        changes = [(delta.node, key, value) for key, value in state.apply(delta, now)]
        if changes or state.floor != floor:
            self._touch(state)
        return changes

    def put(self, key: str, value: bytes | None, now: float) -> bool:
        """Set or delete a key of our own; False: it was so already."""
        if not self.own.put(key, value, now):
            return False
        self._touch(self.own)
        return True

    def meet_self(self, generation: int, floor: int, now: float) -> bool:
        """Others know more of us than we do: we restarted and our generation did not rise. Take one that does."""
        if (generation, floor) <= (self.own.generation, self.own.floor) or generation >= NUMBER_MAX:
            return False
        self.own.reborn(generation + 1, now)
        return True

    def _may_add(self, name: str, generation: int) -> bool:
        if len(self.by_name) >= self.limits.nodes_max:
            self.refused += 1
            return False
        forgotten = self._forgotten.get(name)
        return forgotten is None or generation > forgotten[0] or name in self._live

    def _within_bounds(self, state: NodeState | None, delta: NodeDelta) -> bool:
        limits = self.limits
        for item in delta.items:
            if len(item.key.encode()) > limits.key_bytes_max or (item.value is not None and len(item.value) > limits.value_bytes_max):
                return False
            if not delta.after < item.version <= delta.upto:
                return False
        if delta.upto > delta.have or len(delta.node) > 255:
            return False
        held = state.items.keys() if state is not None and state.generation == delta.generation else set()
        return len(held | {item.key for item in delta.items}) <= limits.keys_max


def position_bytes(name: str) -> int:
    """An upper bound of what a position takes on the wire."""
    return 20 + len(name.encode())


def positions_bytes(positions: Iterable[Position]) -> int:
    """The same, of several."""
    return sum(position_bytes(position.node) for position in positions)


def pack(found: list[tuple[NodeState, Position | None]], budget: int, packets_max: int) -> tuple[list[list[NodeDelta]], list[NodeState]]:
    """Deltas in packets' worth, and the nodes that are left: too many, or with an item that fits no packet."""
    packets: list[list[NodeDelta]] = []
    left: list[NodeState] = []
    room = 0
    for state, position in found:
        delta = state.delta_for(position, room) if packets else None
        if delta is None or delta.upto < state.floor:
            if len(packets) >= packets_max:
                if delta is None:
                    left.append(state)
                    continue
            else:
                delta = state.delta_for(position, budget)
                if delta is None:
                    if not state.refilling:
                        left.append(state)
                    continue
                packets.append([])
                room = budget
        if delta is not None:
            packets[-1].append(delta)
            room -= delta_bytes(delta)
    return packets, left


def delta_bytes(delta: NodeDelta) -> int:
    """An upper bound of what a delta takes on the wire."""
    return 48 + len(delta.node.encode()) + sum(item_bytes(item) for item in delta.items)
