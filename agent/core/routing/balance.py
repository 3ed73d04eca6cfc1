"""Choosing one of the usable endpoints: one small class a policy, all with the same face.

A chooser is made anew when the set of usable endpoints changes, so that a choice itself never walks over all of them.
"""

from bisect import bisect_left
from hashlib import blake2b
from struct import Struct
from typing import Final

from agent.core.routing.endpoint import Endpoint, hash_of

VNODES: Final = 160
"""Points on the ring for the smallest weight…"""
VNODES_FACTOR_MAX: Final = 64
"""…and at most so many times as many for a larger one."""
MAGLEV_SIZE: Final = 2039
MAGLEV_SIZE_LARGE: Final = 65_537
"""Prime table sizes (Eisenbud et al., NSDI 2016); the large one from 20 endpoints on."""


_EIGHT: Final = Struct("<8Q")


class Random:
    """xorshift32 plus a Weyl sequence, as in Marsaglia's xorwow: period nearly 2⁶⁴, the same for the same seed. Nothing in it
    passes 45 bits, so that compiled code never makes an integer object of it."""

    def __init__(self, seed: int) -> None:
        self._x = (seed & 0xFFFFFFFF) or 0x9E3779B9
        self._weyl = (seed >> 32) & 0xFFFFFFFF

    def u32(self) -> int:
        """32 random bits."""
        x = self._x
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self._x = x
        self._weyl = (self._weyl + 362_437) & 0xFFFFFFFF
        return (x + self._weyl) & 0xFFFFFFFF


class Chooser:
    """Random by weight; the base of the others."""

    def __init__(self, endpoints: list[Endpoint], random: Random) -> None:
        self.endpoints = endpoints
        self.random = random
        self.weighted: list[Endpoint] = []
        """Each endpoint as often as its share of the weights says; itself where all weights are the same."""
        least = min((endpoint.weight for endpoint in endpoints), default=1)
        if all(endpoint.weight == least for endpoint in endpoints):
            self.weighted = endpoints
        else:
            total = sum(endpoint.weight for endpoint in endpoints)
            scale = min(1.0, 4096.0 / total)
            for endpoint in endpoints:
                self.weighted.extend([endpoint] * max(1, round(endpoint.weight * scale)))
        self.first: Endpoint | None = None
        """The two that the last choice compared, where it compared two, and what they cost."""
        self.second: Endpoint | None = None
        self.first_cost = 0.0
        self.second_cost = 0.0

    def choose(self, now: float, hash_key: int) -> Endpoint:
        return self.weighted[(self.random.u32() * len(self.weighted)) >> 32]

    def cheaper(self, a: Endpoint, a_cost: float, b: Endpoint, b_cost: float) -> Endpoint:
        """The one that costs less, and the comparison remembered for whoever asks why."""
        self.first = a
        self.second = b
        self.first_cost = a_cost
        self.second_cost = b_cost
        return a if a_cost <= b_cost else b


class TwoChoices(Chooser):
    """Power of two choices (Mitzenmacher): two at random, the cheaper by peak-EWMA × outstanding.

    With equal weights the two are different ones. With unequal weights each is drawn by weight, perhaps the same twice: where
    costs are equal, the shares are then exactly the weights', and cost moves them from there.
    """

    def choose(self, now: float, hash_key: int) -> Endpoint:
        endpoints = self.endpoints
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        number = self.random.u32()
        weighted = self.weighted
        if weighted is not endpoints:
            a = weighted[(number * len(weighted)) >> 32]
            b = weighted[(self.random.u32() * len(weighted)) >> 32]
            if a is b:
                self.first = None
                return a
            return self.cheaper(a, self.cost(a, now), b, self.cost(b, now))
        first = (number & 0xFFFF) * count >> 16
        second = (number >> 16) * (count - 1) >> 16
        if second >= first:
            second += 1
        a = endpoints[first]
        b = endpoints[second]
        return self.cheaper(a, self.cost(a, now), b, self.cost(b, now))

    def cost(self, endpoint: Endpoint, now: float) -> float:
        return endpoint.cost(now)


class LeastRequest(TwoChoices):
    """Two at random, the one with fewer requests outstanding for its weight."""

    def cost(self, endpoint: Endpoint, now: float) -> float:
        return endpoint.load(now)


class RoundRobin(Chooser):
    """In turn; weights are spread smoothly over the turn (nginx's smooth weighted round robin, laid out once)."""

    def __init__(self, endpoints: list[Endpoint], random: Random) -> None:
        super().__init__(endpoints, random)
        self._turn = endpoints if self.weighted is endpoints else _smooth(endpoints)
        self._next = random.u32() % len(self._turn) if self._turn else 0

    def choose(self, now: float, hash_key: int) -> Endpoint:
        index = self._next
        self._next = index + 1 if index + 1 < len(self._turn) else 0
        return self._turn[index]


def _smooth(endpoints: list[Endpoint]) -> list[Endpoint]:
    total = sum(endpoint.weight for endpoint in endpoints)
    scale = min(1.0, 4096.0 / total)
    weights = [max(1, round(endpoint.weight * scale)) for endpoint in endpoints]
    total = sum(weights)
    current = [0] * len(endpoints)
    turn: list[Endpoint] = []
    for _ in range(total):
        best = 0
        for index, weight in enumerate(weights):
            current[index] += weight
            if current[index] > current[best]:
                best = index
        current[best] -= total
        turn.append(endpoints[best])
    return turn


class RingHash(Chooser):
    """Consistent hashing (Karger): an endpoint that leaves gives its keys to its neighbours and moves no others."""

    def __init__(self, endpoints: list[Endpoint], random: Random) -> None:
        super().__init__(endpoints, random)
        least = min(endpoint.weight for endpoint in endpoints)
        owners: dict[int, Endpoint] = {}
        for endpoint in endpoints:
            name = endpoint.address.encode("latin-1")
            for number in range(round(min(endpoint.weight / least, VNODES_FACTOR_MAX) * VNODES / 8)):
                for point in eight_points(b"%b/%d" % (name, number)):
                    owners[point] = endpoint
        self._points = sorted(owners)
        self._owners = [owners[point] for point in self._points]

    def choose(self, now: float, hash_key: int) -> Endpoint:
        if hash_key < 0:
            return self.weighted[(self.random.u32() * len(self.weighted)) >> 32]
        index = bisect_left(self._points, hash_key)
        return self._owners[index if index < len(self._owners) else 0]


def eight_points(value: bytes) -> tuple[int, ...]:
    """Eight 64-bit hashes for the price of one: a ring of 1,000 endpoints is built in a sixth of a second, not in one."""
    return _EIGHT.unpack(blake2b(value).digest())


class Maglev(Chooser):
    """Maglev hashing (Eisenbud et al., NSDI 2016): a table, one look-up, near-even shares."""

    def __init__(self, endpoints: list[Endpoint], random: Random) -> None:
        super().__init__(endpoints, random)
        size = MAGLEV_SIZE if len(endpoints) < 20 else MAGLEV_SIZE_LARGE
        self._size = size
        self._table = [endpoints[index] for index in _maglev_table(endpoints, size)]

    def choose(self, now: float, hash_key: int) -> Endpoint:
        if hash_key < 0:
            return self.weighted[(self.random.u32() * len(self.weighted)) >> 32]
        return self._table[hash_key % self._size]


def _maglev_table(endpoints: list[Endpoint], size: int) -> list[int]:
    offsets: list[int] = []
    skips: list[int] = []
    for endpoint in endpoints:
        name = endpoint.address.encode("latin-1")
        offsets.append(hash_of(name + b"/offset") % size)
        skips.append(hash_of(name + b"/skip") % (size - 1) + 1)
    most = max(endpoint.weight for endpoint in endpoints)
    due = [0.0] * len(endpoints)
    table = [-1] * size
    filled = 0
    while True:
        for index, endpoint in enumerate(endpoints):
            due[index] += endpoint.weight / most
            if due[index] < 1.0:
                continue
            due[index] -= 1.0
            slot = offsets[index]
            while table[slot] >= 0:
                slot = (slot + skips[index]) % size
            table[slot] = index
            offsets[index] = (slot + skips[index]) % size
            filled += 1
            if filled == size:
                return table


def make_chooser(policy: str, endpoints: list[Endpoint], random: Random) -> Chooser:
    """The chooser of a policy by its name in the configuration."""
    if policy == "round_robin":
        return RoundRobin(endpoints, random)
    if policy == "least_request":
        return LeastRequest(endpoints, random)
    if policy == "random":
        return Chooser(endpoints, random)
    if policy == "ring_hash":
        return RingHash(endpoints, random)
    if policy == "maglev":
        return Maglev(endpoints, random)
    return TwoChoices(endpoints, random)
