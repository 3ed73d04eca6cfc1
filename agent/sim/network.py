"""The network between simulated hosts: latency by zone and region, loss, duplication, reordering, and cuts of every kind."""

from math import exp
from random import Random

from msgspec import Struct

SAMPLES = 4096
RETRANSMIT_S = 0.2
"""What a lost segment costs a stream: Linux's least retransmission timeout."""
HEADERS_BYTES = 28
"""IPv4 and UDP, counted with each datagram."""


class NetworkConfig(Struct, frozen=True):
    """One-way latencies are lognormal about these medians."""

    same_zone_s: float = 0.0003
    same_region_s: float = 0.001
    across_s: float = 0.04
    spread: float = 0.35
    """Sigma of the logarithm: 0.35 puts the 99th percentile at 2.3 times the median."""
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """Share of the packets that are held up by up to `reordering_s`, so that later ones overtake them."""
    reordering_s: float = 0.05


def spread_factors(spread: float, random: Random) -> list[float]:
    """A sample of what latencies are multiplied with; many short runs may share one."""
    return [exp(spread * random.gauss(0.0, 1.0)) for _ in range(SAMPLES)]


class Network:
    """Hosts are numbers. `zones[i]`: (region, zone) of host i."""

    def __init__(self, config: NetworkConfig, zones: list[tuple[int, int]], random: Random, factors: list[float] | None = None) -> None:
        self.config = config
        self.loss = config.loss
        self._zones = zones
        self._random = random
        self._factors = spread_factors(config.spread, random) if factors is None else factors
        self._groups = [0] * len(zones)
        self._cut_groups: set[tuple[int, int]] = set()
        self._cut_pairs: set[tuple[int, int]] = set()
        self._plain = not (config.duplication or config.reordering)

    def latency_s(self, source: int, target: int) -> float:
        here, there = self._zones[source], self._zones[target]
        config = self.config
        median_s = config.same_zone_s if here == there else config.same_region_s if here[0] == there[0] else config.across_s
        return median_s * self._factors[int(self._random.random() * SAMPLES)]

    def delays(self, source: int, target: int) -> tuple[float, ...]:
        """When copies of a datagram arrive: none when it is lost, two when it is duplicated."""
        if (self._cut_groups or self._cut_pairs) and not self.reaches(source, target):
            return ()
        random = self._random.random
        if self.loss and random() < self.loss:
            return ()
        delay_s = self.latency_s(source, target)
        if self._plain:
            return (delay_s,)
        config = self.config
        if config.reordering and random() < config.reordering:
            delay_s += random() * config.reordering_s
        if config.duplication and random() < config.duplication:
            return (delay_s, delay_s + random() * config.reordering_s)
        return (delay_s,)

    def stream_delay_s(self, source: int, target: int, trips: int) -> float | None:
        """How long `trips` one-way trips on a stream take, with what is lost sent again; None where there is no way."""
        if not (self.reaches(source, target) and self.reaches(target, source)):
            return None
        delay_s = 0.0
        for _ in range(trips):
            delay_s += self.latency_s(source, target)
            while self.loss and self._random.random() < self.loss:
                delay_s += RETRANSMIT_S
        return delay_s

    # -- cuts

    def reaches(self, source: int, target: int) -> bool:
        groups = self._groups
        return (groups[source], groups[target]) not in self._cut_groups and (source, target) not in self._cut_pairs

    def partition(self, sides: list[list[int]], *, one_way: bool = False) -> None:
        """Hosts of different sides do not reach each other; `one_way`: a later side's packets still reach the earlier ones."""
        for number, side in enumerate(sides):
            for host in side:
                self._groups[host] = number
        for i in range(len(sides)):
            for j in range(i + 1, len(sides)):
                self._cut_groups.add((i, j))
                if not one_way:
                    self._cut_groups.add((j, i))

    def cut(self, source: int, target: int) -> None:
        """A partial partition: this way alone is cut."""
        self._cut_pairs.add((source, target))

    def heal(self) -> None:
        self._cut_groups.clear()
        self._cut_pairs.clear()
        self._groups = [0] * len(self._groups)
