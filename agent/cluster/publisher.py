"""Turns what this agent knows of itself into keys of its gossiped state: what changed, no more often than it is worth."""

from collections.abc import Callable
from typing import Final

from agent.core.gossip.damper import Damper
from agent.core.gossip.face import LocalFacts
from agent.core.gossip.facts import CacheUse, FarRegions, RoundTrips, encode
from agent.core.gossip.io import Publish

HOT_S: Final = 30.0
"""Least time between two filters of hot keys: each is up to 1 kB to every member."""
HOT_CLUSTER_A_SECOND: Final = 2.0
"""Filters that all members together make: 2 kB a second to each of them at most."""
CACHE_S: Final = 5.0
CACHE_CLUSTER_A_SECOND: Final = 10.0
PEERS_S: Final = 10.0
PEERS_MAX: Final = 24
"""Members whose round trips are told: all of a cluster whose latency matrix is shown member by member…"""
PEERS_OF_MANY: Final = 8
"""…and so many of a larger one, from all its zones in turn: the matrix is by zone then."""
PEERS_STEP: Final = 0.25
"""A round trip that moved by less is not told again."""


class Publisher:
    """`publish` gives the core its orders; ValueErrors of what cannot be said are `refuse`d, and the rest is said all the same."""

    def __init__(self, publish: Callable[[Publish], object], refuse: Callable[[str], None]) -> None:
        self._publish = publish
        self._refuse = refuse
        self._damper = Damper()
        self._said: dict[str, bytes] = {}
        self._hot_at = float("-inf")
        self._peers_at = float("-inf")
        self._cache_at = float("-inf")
        self._peers: dict[str, float] = {}
        self._regions: FarRegions | None = None

    def tell(self, facts: LocalFacts, now: float, members: int) -> None:
        """The difference to what was told before. members: how many the cluster has."""
        urgent = {"health": encode(facts.health)}
        for service, judgements in facts.judgements.items():
            urgent[f"judge:{service}"] = encode(judgements)
        for endpoint in facts.endpoints:
            urgent[f"endpoint:{endpoint.service}:{endpoint.port}"] = encode(endpoint)
        items: list[tuple[str, bytes | None]] = [(key, value) for key, value in urgent.items() if self._said.get(key) != value]
        withdrawn = [key for key in self._said if key not in urgent and key.startswith(("judge:", "endpoint:"))]
        items.extend((key, None) for key in withdrawn)
        self._say(items, urgent=True)
        self._say(self._in_time(facts, now, members), urgent=False)

    def _in_time(self, facts: LocalFacts, now: float, members: int) -> list[tuple[str, bytes | None]]:
        items: list[tuple[str, bytes | None]] = []
        load = self._damper.report(now, facts.load, members)
        if load is not None:
            items.append(("load", encode(load)))
        if facts.hot is None and "hot" in self._said:
            items.append(("hot", None))
        if facts.hot is not None and now - self._hot_at >= max(HOT_S, members / HOT_CLUSTER_A_SECOND):
            value = encode(facts.hot)
            if value != self._said.get("hot"):
                self._hot_at = now
                items.append(("hot", value))
        return items

    def tell_seat(self, group: str, value: bytes) -> None:
        """Our place in a consensus group, a `Seat`."""
        if self._said.get(f"seat:{group}") != value:
            self._say([(f"seat:{group}", value)], urgent=True)

    def tell_far(self, parts: dict[str, bytes]) -> None:
        """Endpoints of regions, by key, each a `Far`; what was told and is not among them any more is withdrawn."""
        items: list[tuple[str, bytes | None]] = [(key, value) for key, value in parts.items() if self._said.get(key) != value]
        items.extend((key, None) for key in self._said if key.startswith("far:") and key not in parts)
        self._say(items, urgent=True)

    def tell_regions(self, regions: FarRegions) -> None:
        """Which other regions there are; where one came or went, or its round trip moved."""
        before = self._regions
        steady = before is not None and before.own == regions.own and before.seconds.keys() == regions.seconds.keys()
        if before is None or not steady or any(_moved(before.seconds[name], now) for name, now in regions.seconds.items()):
            self._regions = regions
            self._say([("regions", encode(regions))], urgent=True)

    def tell_round_trips(self, seconds: dict[str, float], places: Callable[[str], tuple[str, str]], now: float) -> None:
        """Our probes' smoothed round trips; a few members' at most, now and then, where they moved. places: region and zone of one."""
        if now - self._peers_at < PEERS_S:
            return
        self._peers_at = now
        names = sorted(seconds) if len(seconds) <= PEERS_MAX else _sample(sorted(seconds), places)
        chosen = {name: round(seconds[name], 5) for name in names if seconds[name] > 0.0}
        moved = chosen.keys() != self._peers.keys() or any(_moved(self._peers[name], value) for name, value in chosen.items())
        if moved:
            self._peers = chosen
            self._say([("peers", encode(RoundTrips(chosen)))], urgent=False)

    def tell_cache(self, use: CacheUse | None, now: float, members: int) -> None:
        """What the store holds and does; for people, so seldom."""
        if use is not None and now - self._cache_at >= max(CACHE_S, members / CACHE_CLUSTER_A_SECOND):
            value = encode(use)
            if value != self._said.get("cache"):
                self._cache_at = now
                self._say([("cache", value)], urgent=False)

    def _say(self, items: list[tuple[str, bytes | None]], *, urgent: bool) -> None:
        if not items:
            return
        try:
            self._publish(Publish(tuple(items), urgent))
        except ValueError:
            for item in items:  # one by one: what can be said is said
                try:
                    self._publish(Publish((item,), urgent))
                except ValueError as error:
                    self._refuse(str(error))
        for key, value in items:
            if value is None:
                self._said.pop(key, None)
            else:
                self._said[key] = value


def _moved(before: float, now: float) -> bool:
    """Whether a round trip is worth telling again."""
    return abs(now - before) > PEERS_STEP * before


def _sample(names: list[str], places: Callable[[str], tuple[str, str]]) -> list[str]:
    """The first of each zone, then the second, and so on; the same at every member."""
    by_place: dict[tuple[str, str], list[str]] = {}
    for name in names:
        by_place.setdefault(places(name), []).append(name)
    groups = [by_place[place] for place in sorted(by_place)]
    return [group[turn] for turn in range(PEERS_OF_MANY) for group in groups if turn < len(group)][:PEERS_OF_MANY]
