"""What the parts of the core share: who we are, what is known, what is to be sent, and the timers of one member each."""

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, inf, log10
from typing import Final

from agent.core.swim.awareness import Awareness
from agent.core.swim.broadcasts import Broadcasts
from agent.core.swim.config import SwimConfig
from agent.core.swim.io import Effect, MemberEvent, OpenStream, SendPacket
from agent.core.swim.members import Member, Members
from agent.core.swim.messages import Message, NodeState, Place
from agent.core.swim.sizes import PACKED_BYTES, size_of

SUSPICION: Final = 0
QUIET: Final = 1
"""The dead are no longer told the news."""
REAP: Final = 2
NACK: Final = 3
RELAY: Final = 4


class Counters:
    """Plain numbers for the metrics, all since the start."""

    __slots__ = (
        "ignored",
        "lag_s",
        "lags",
        "nacks_missed",
        "probes",
        "probes_failed",
        "probes_indirect",
        "probes_stream",
        "refutations",
        "suspicions",
        "unknown_members",
    )

    def __init__(self) -> None:
        self.probes = 0
        self.probes_indirect = 0
        """Probes that the direct ping did not answer in time."""
        self.probes_stream = 0
        """Probes that only the stream answered."""
        self.probes_failed = 0
        self.nacks_missed = 0
        self.suspicions = 0
        self.refutations = 0
        """Accusations of this member that it answered."""
        self.lags = 0
        self.lag_s = 0.0
        """Time that this process lost and its timers forgave."""
        self.ignored = 0
        """Messages that no rule takes: for another member, of a protocol that we do not speak, beyond a bound."""
        self.unknown_members = 0
        """Messages about members that we do not know."""


class Desk:
    """`now` is the member's own time: the host's without what lag took."""

    def __init__(
        self, config: SwimConfig, own: NodeState, uniform: Callable[[], float], now: float, sizer: Callable[[Message], int] = size_of
    ) -> None:
        self.config = config
        self.uniform = uniform
        """The next random number in [0, 1)."""
        self.now = now
        self.name = own.name
        self.own = Member(own, now)
        self.members = Members(self.own, uniform)
        self.awareness = Awareness(config)
        self.broadcasts = Broadcasts(config, sizer)
        self.counters = Counters()
        self.out: list[Effect] = []
        self.timers: list[tuple[float, int, int, str, int]] = []
        """When, order of asking, what for, whom of, which one."""
        self.leaving = False
        self.gossip_at = inf
        self.gossiped_at = -inf
        self._order = 0
        self._number = int(uniform() * 0x7FFFFFFF)
        self._stream = 0

    def number(self) -> int:
        """A sequence number that has not been used for long."""
        self._number = self._number % 0xFFFFFFFF + 1
        return self._number

    def remind(self, when: float, kind: int, name: str, number: int = 0) -> None:
        self._order += 1
        heappush(self.timers, (when, self._order, kind, name, number))

    def due(self) -> tuple[float, int, int, str, int] | None:
        """The next timer whose time has come."""
        timers = self.timers
        return heappop(timers) if timers and timers[0][0] <= self.now else None

    def tell(self, kind: str, node: NodeState, detail: str = "") -> None:
        self.out.append(MemberEvent(kind, node, detail))

    def post(self, to: Place, *head: Message) -> None:
        """One packet: what is asked, and as much news as fits."""
        broadcasts = self.broadcasts
        if broadcasts.members.count or broadcasts.users.count:
            room = self.config.packet_bytes
            for message in head:
                room -= size_of(message) + PACKED_BYTES
            news = broadcasts.fill(room, self.retransmit_limit())
            if news:
                self.out.append(SendPacket(to, (*head, *news)))
                return
        self.out.append(SendPacket(to, head))

    def open_stream(self, to: Place, message: Message, *, answered: bool = True, timeout_s: float = 0.0) -> int:
        self._stream += 1
        self.out.append(OpenStream(self._stream, to, message, answered, timeout_s or self.config.stream_timeout_s))
        return self._stream

    def spread(self, name: str, message: Message) -> None:
        """Queue news of a member."""
        self.broadcasts.about(name, message)
        self.wake_gossip()

    def wake_gossip(self) -> None:
        """There is something to spread: the first round soon, the next no sooner than an interval after the last."""
        if self.gossip_at == inf:
            config = self.config
            self.gossip_at = max(self.now + config.gossip_delay_s, self.gossiped_at + config.gossip_interval_s)

    def retransmit_limit(self) -> int:
        return max(1, int(self.config.retransmit_mult * ceil(log10(self.members.count + 1))))
