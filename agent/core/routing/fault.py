"""Faults made on purpose: which requests, how long, and with what status."""

from agent.core.http.head import RequestHead
from agent.core.routing.config import Fault

_U32 = 4_294_967_296.0


class FaultRule:
    """A `Fault` made ready. The random numbers are the caller's, so that a seed replays a run."""

    def __init__(self, config: Fault) -> None:
        self._header = config.header.lower().encode("latin-1")
        self._delay_s = config.delay
        self._delay_below = int(config.delay_share * _U32)
        self._status = config.abort_status
        self._abort_below = int(config.abort_share * _U32)

    def applies(self, head: RequestHead) -> bool:
        """Whether the rule looks at this request at all."""
        return not self._header or head.get(self._header) is not None

    def delay(self, random_u32: int) -> float:
        """Seconds to hold the request back; 0.0 for none."""
        return self._delay_s if random_u32 < self._delay_below else 0.0

    def abort(self, random_u32: int) -> int:
        """The status to answer with; 0 for none."""
        return self._status if random_u32 < self._abort_below else 0
