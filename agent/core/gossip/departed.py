"""Taking origins that are gone out of the vector of what has been seen, without missing or repeating an invalidation.

An invalidation is a dot (origin, generation, sequence) with a context, and what an agent has seen is a version vector over the lives of
origins (`agent.core.clocks`). A life that has ended still has its entry: it is what tells somebody who missed the last numbers that
they exist, and what keeps those that everybody has from being applied again. It may go when nobody can need either:

1. *It is gone*: its member left or died, or lives on as a later life, and that has been so for `GONE_S`.
2. *It is stable*: every live member has said **since** that it has all of its numbers, the same. Who was started after it was gone need
   not: it holds nothing from before.
3. *What is old is recognised*: the count of what was pruned is kept for a while in a bounded table, so that a late message, or a context
   in a caller's hands, that names it brings nothing back. A higher number than everybody had (of somebody who had been cut off) does.

What members say of this is eight octets a life, under the key `seen` of their state.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from agent.core.gossip.across import BORDER
from agent.core.gossip.streams import StreamKey, StreamState

if TYPE_CHECKING:
    from agent.core.gossip.invalidation import Invalidator

GONE_S: Final = 10.0
TOLD_MAX: Final = 48
"""Lives that a member says it has all of; as many of those that it pruned last it goes on to name, for those who have yet to."""
PRUNED_MAX: Final = 1_024
MARK_BYTES: Final = 8
SKEW_MS: Final = 2_000
"""Generations are times of day of several hosts: 500 ms apart at most, as the hybrid clock has it, and some for starting."""
REPORT_S: Final = 5.0
REPORTS_A_SECOND: Final = 4.0
"""Reports that all members together make: 3 kB a second at most."""


class Member:
    """What a live member has said. generation: milliseconds since 1970 at its start."""

    __slots__ = ("generation", "marks")

    def __init__(self, generation: int, said: bytes) -> None:
        self.generation = generation
        self.marks = {said[at : at + MARK_BYTES] for at in range(0, len(said) - MARK_BYTES + 1, MARK_BYTES)}


class Departed:
    """Of one agent's vector."""

    def __init__(self, core: "Invalidator", started: float) -> None:
        self.core = core
        self.pruned: dict[StreamKey, int] = {}
        """Life → how many it had issued, the latest last."""
        self.count = 0
        self._gone: dict[StreamKey, float] = {}
        """When it was noticed."""
        self._started = started
        self._started_ms = core.own.generation
        self._reported_at = float("-inf")

    def knows(self, origin: str, generation: int, sequence: int) -> bool:
        """Whether that number is one of a life that was pruned with it."""
        return sequence <= self.pruned.get((origin, generation), 0)

    def recall(self, stream: StreamState, now: float) -> None:
        """A stream that was pruned is there again: it goes on from where it was."""
        count = self.pruned.pop((stream.origin, stream.generation), 0)
        if count:
            stream.adopt(count, now)

    def look(self, now: float) -> list[StreamState]:
        """Now and then: the lives that are over, and of which nothing is missing here; the oldest first."""
        core = self.core
        gone: dict[StreamKey, float] = {}
        for key, stream in core.streams.items():
            over = stream.generation < core.newest.get(stream.origin, 0) or stream.origin not in core.live
            if over and stream is not core.own and BORDER not in stream.origin:
                gone[key] = self._gone.get(key, now)
        self._gone = gone
        ripe = [core.streams[key] for key, since in gone.items() if now - since >= GONE_S and not core.streams[key].missing]
        return sorted(ripe, key=lambda stream: (stream.generation, stream.origin))

    def report(self, ripe: list[StreamState], now: float, members: int) -> bytes | None:
        """What to say of them; None: not yet."""
        if now - self._reported_at < max(REPORT_S, members / REPORTS_A_SECOND):
            return None
        self._reported_at = now
        latest = list(self.pruned.items())[-TOLD_MAX:]
        told = [mark_of(stream.origin, stream.generation, stream.highest) for stream in ripe[:TOLD_MAX]]
        return b"".join([*told, *(mark_of(*key, count) for key, count in latest)])

    def prune(self, ripe: list[StreamState], members: Mapping[str, Member], now: float) -> None:
        """Drop those that every live member has, as it says. members: all of them but this one."""
        for stream in ripe:
            key = (stream.origin, stream.generation)
            gone_ms = self._started_ms + (self._gone[key] - self._started) * 1000.0
            if _all_have(members, stream, gone_ms + SKEW_MS):
                self.core.forget(stream)
                del self._gone[key]
                self.count += 1
                self.pruned[key] = stream.highest
                if len(self.pruned) > PRUNED_MAX:
                    del self.pruned[next(iter(self.pruned))]


def _all_have(members: Mapping[str, Member], stream: StreamState, born_after_ms: float) -> bool:
    mark = mark_of(stream.origin, stream.generation, stream.highest)
    for name, member in members.items():
        is_later_life = name == stream.origin and member.generation > stream.generation
        if mark not in member.marks and member.generation <= born_after_ms and not is_later_life:
            return False
    return True


def mark_of(origin: str, generation: int, count: int) -> bytes:
    """What stands for a life with all its numbers."""
    return blake2b(f"{origin}\0{generation}\0{count}".encode(), digest_size=MARK_BYTES).digest()
