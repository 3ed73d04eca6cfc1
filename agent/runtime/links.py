"""What passed between this member and its peers, and what was dropped and why: counted always, logged seldom."""

from collections.abc import Callable
from typing import Final

from agent.core.swim.messages import Place
from agent.runtime.log import Logger

LOG_INTERVAL_S: Final = 10.0
"""One line a reason in so long; it says how many there were."""


class Links:
    """Plain counters, which others collect. `dropped` is by reason: `core.swim.errors.REASONS`, and `too_many_streams`,
    `stream_timeout`, `stream_broken`, `tls`."""

    def __init__(self, log: Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._unsaid: dict[str, int] = {}
        self._said_at: dict[str, float] = {}
        self.packets_in = 0
        self.packets_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.streams_in = 0
        self.streams_out = 0
        self.stream_failures = 0
        self.foreign = 0
        """User messages that were not ours (Serf's events and queries)."""
        self.faults = 0
        """Inputs on which the core failed: each is a bug of ours."""
        self.dropped: dict[str, int] = {}

    def drop(self, reason: str, source: Place, text: str) -> None:
        """Count something that was not taken, and say so now and then."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        unsaid = self._unsaid.get(reason, 0) + 1
        now = self._clock()
        if now < self._said_at.get(reason, -LOG_INTERVAL_S) + LOG_INTERVAL_S:
            self._unsaid[reason] = unsaid
            return
        self._unsaid[reason] = 0
        self._said_at[reason] = now
        self._log.warning("peer_dropped", reason=reason, source=f"{source[0]}:{source[1]}", text=text, count=unsaid)
