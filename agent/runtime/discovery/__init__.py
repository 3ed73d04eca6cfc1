"""Where other members may be: sources that are asked again and again, and whoever wants to hear of it.

A source that fails is counted, logged and asked again, later each time, for ever; it never ends anything. What was found stays
found until a later answer of the same source says otherwise, so that a resolver's bad hour changes nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from agent.core.swim.messages import Place
from agent.runtime.log import Logger

PLACES_MAX: Final = 4096
"""Of one source; more is an error of the source."""
FIND_TIMEOUT_S: Final = 10.0
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0


class Source(Protocol):
    """One place to look. `tests/contract/test_discovery.py` is what every source does."""

    name: str
    """For logs and metrics, such as ``dns:members.example``."""
    interval_s: float
    """When to look again after an answer."""

    async def find(self) -> tuple[Place, ...]:
        """The places now known, sorted, none twice; addresses, not names. Raises OSError or ValueError where it cannot say."""

    async def close(self) -> None:
        """Let go of what it holds. It may be called though `find` never was."""


def parse_place(text: str, default_port: int) -> Place:
    """``host``, ``host:port``, ``address``, ``[IPv6]`` or ``[IPv6]:port``. Raises ValueError saying what was found."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or text.strip().endswith("]"):
        host, port = text.strip(), str(default_port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(character in host for character in "[]/ "):
        raise ValueError(f"found {text!r}, expected host, host:port or [IPv6]:port")
    return host, int(port)


def ordered(places: "Sequence[Place] | set[Place]") -> tuple[Place, ...]:
    """Sorted, none twice. Raises ValueError above the bound."""
    if len(places) > PLACES_MAX:
        raise ValueError(f"found {len(places)} places, expected at most {PLACES_MAX}")
    return tuple(sorted(set(places)))


class Looked:
    """How one source fares: plain numbers for metrics."""

    def __init__(self) -> None:
        self.answers = 0
        self.failures = 0
        self.failures_in_a_row = 0
        self.last_error = ""
        self.places: tuple[Place, ...] = ()


class Discovery:
    """Asks all sources. `found` hears each answer; `uniform` is the next random number in [0, 1)."""

    def __init__(
        self, sources: Sequence[Source], found: Callable[[str, tuple[Place, ...]], None], log: Logger, uniform: Callable[[], float]
    ) -> None:
        self._sources = tuple(sources)
        self._found = found
        self._log = log
        self._uniform = uniform
        self.looked: dict[str, Looked] = {source.name: Looked() for source in sources}

    async def run(self) -> None:
        """For ever, until cancelled; then every source is closed."""
        try:
            await asyncio.gather(*(self._ask_for_ever(source) for source in self._sources))
        finally:
            await asyncio.gather(*(source.close() for source in self._sources), return_exceptions=True)

    async def _ask_for_ever(self, source: Source) -> None:
        looked = self.looked[source.name]
        while True:
            try:
                async with asyncio.timeout(FIND_TIMEOUT_S):
                    places = await source.find()
            except Exception as error:  # a source is other people's code and networks
                self._on_failure(source.name, looked, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
                await asyncio.sleep(backoff_s(looked.failures_in_a_row, self._uniform()))
                continue
            if looked.failures_in_a_row:
                self._log.info("discovery_recovered", source=source.name, failures=looked.failures_in_a_row)
            looked.answers += 1
            looked.failures_in_a_row = 0
            looked.places = places
            self._found(source.name, places)
            await asyncio.sleep(source.interval_s * (0.9 + 0.2 * self._uniform()))

    def _on_failure(self, name: str, looked: Looked, text: str) -> None:
        looked.failures += 1
        looked.failures_in_a_row += 1
        if looked.failures_in_a_row == 1 or text != looked.last_error:
            self._log.warning("discovery_failed", source=name, text=text[:500])
        looked.last_error = text


def backoff_s(failures: int, uniform: float) -> float:
    """Exponential with full jitter (but never less than half a first step), so that agents that failed together do not return together."""
    ceiling = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return max(BACKOFF_FIRST_S / 2, ceiling * uniform)
