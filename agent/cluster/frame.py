"""What our user data begin with: what they are, and when they were said.

    frame = kind(1) stamp(8) body        stamp: of the hybrid logical clock

A stamp that is too far ahead of our wall clock is refused and counted, so that one wrong clock drags no other along. What it stamped
is heard all the same: gossip numbers its own versions, and an invalidation must not be lost to somebody's clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from agent.core.clocks.hybrid import STAMP_BYTES, ClockTooFarAheadError, HybridClock, decode, encode, physical_ms

GOSSIP: Final = 0
ASK: Final = 1
ANSWER: Final = 2
HEAD_BYTES: Final = 1 + STAMP_BYTES
SKEW_WINDOW: Final = 60
"""Seconds."""


class Stamps:
    """Frames with this agent's clock. `wall_ms`: milliseconds since 1970."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.clock = HybridClock()
        self.wall_ms = wall_ms
        self._ahead: deque[int] = deque([0], maxlen=SKEW_WINDOW)
        self.last_error = ""

    def now(self) -> int:
        """A stamp for an event here."""
        return self.clock.tick(self.wall_ms())

    def close(self, kind: int, body: bytes) -> bytes:
        """The frame of a body."""
        return bytes((kind,)) + encode(self.now()) + body

    def open(self, frame: bytes, source: str) -> tuple[int, bytes]:
        """Kind and body. Raises ValueError for what is too short to be one."""
        if len(frame) < HEAD_BYTES:
            raise ValueError("a frame ends early")
        stamp, wall = decode(frame[1:HEAD_BYTES]), self.wall_ms()
        try:
            self.clock.receive(stamp, wall, source)
        except ClockTooFarAheadError as error:
            self.last_error = str(error)
        self._ahead[-1] = max(self._ahead[-1], physical_ms(stamp) - wall)
        return frame[0], frame[HEAD_BYTES:]

    def next_second(self) -> None:
        """To be called each second."""
        self._ahead.append(0)

    @property
    def skew_s(self) -> float:
        """The furthest that a peer's stamp was ahead of our wall clock within the last minute, refused ones too."""
        return max(self._ahead) / 1000
