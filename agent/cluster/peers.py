"""What the data path needs of what other members say, decoded, and which of them are there to be believed.

All else that they say stays as the octets that the gossip core has, until somebody asks (`Fabric.facts_of`): a table of round
trips is three times as large decoded.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from sys import intern

from msgspec.structs import replace

from agent.cluster.identity import Profile
from agent.core.gossip.face import AnnouncedEndpoint, Reported
from agent.core.gossip.facts import Announced, Fact, Far, FarRegions, Judgements, Load, Seat, decode
from agent.core.gossip.messages import UnreadableError

Endpoints = dict[str, tuple[AnnouncedEndpoint, ...]]


class Peers:
    """Facts by member. Those of members that are not live are kept (they may be back) and not used.

    What goes is told at once; what comes together within a moment is told together: `defer` calls back after it.
    """

    def __init__(self, tell_endpoints: Callable[[Endpoints], None], defer: Callable[[Callable[[], None]], object]) -> None:
        self._tell_endpoints = tell_endpoints
        self._defer = defer
        self._facts: dict[str, tuple[tuple[str, Fact], ...]] = {}
        """Member → keys and what they say, sorted; a dictionary for each member would be larger than what is in it."""
        self._loads: dict[str, tuple[Load, float]] = {}
        """And when it was told."""
        self._live: dict[str, Profile] = {}
        self._announcing: set[str] = set()
        """Members that announce endpoints, or tell of other regions'."""
        self._endpoints: Endpoints = {}
        self._deferred = False
        self._changed: set[str] = set()
        """Services whose endpoints are to be put together again."""
        self.unreadable = 0
        """Values that did not fit their type or bounds."""

    @property
    def live(self) -> dict[str, Profile]:
        """Members of ours that are there (alive or suspect), without this one."""
        return self._live

    def facts(self, member: str) -> dict[str, Fact]:
        """Judgements, endpoints and seats of a member, by key; empty where nothing is known."""
        return dict(self._facts.get(member, ()))

    def place_of(self, member: str) -> tuple[str, str]:
        """Region and zone of a live member."""
        profile = self._live[member]
        return profile.region, profile.zone

    def up(self, member: str, profile: Profile) -> None:
        """It is there."""
        new = member not in self._live
        self._live[member] = profile
        if new and member in self._announcing:
            self._touch(self._of(member), at_once=False)

    def gone(self, member: str) -> None:
        """It left or died: out of use at once."""
        if self._live.pop(member, None) is not None and member in self._announcing:
            self._touch(self._of(member), at_once=True)

    def changed(self, member: str, key: str, value: bytes | None, now: float = 0.0) -> None:
        """A key has another value, or (None) is gone."""
        fact = None
        if value is not None:
            try:
                fact = decode(key, value)
            except UnreadableError:
                self.unreadable += 1
        if isinstance(fact, Load):
            self._loads[member] = (replace(fact, latency={}), now)
            return
        if key == "load":
            self._loads.pop(member, None)
            return
        held = self._facts.get(member, ())
        old = next((_announced(each) for name, each in held if name == key), ())
        new: tuple[Announced, ...] = ()
        others = [pair for pair in held if pair[0] != key]
        if isinstance(fact, Judgements | Announced | Far | FarRegions | Seat):
            lean = _lean(fact)
            new = _announced(lean)
            others.append((intern(key), lean))
        if others:
            self._facts[member] = tuple(sorted(others, key=_by_key))
        else:
            self._facts.pop(member, None)
        if old or new:
            if self._of(member):
                self._announcing.add(member)
            else:
                self._announcing.discard(member)
            if member in self._live:
                self._touch(old + new, at_once=bool(old))

    def forgot(self, member: str) -> None:
        """Nothing is known of it any more."""
        announced = self._of(member)
        self._facts.pop(member, None)
        self._loads.pop(member, None)
        self._announcing.discard(member)
        if announced and member in self._live:
            self._touch(announced, at_once=True)

    def loads(self, now: float) -> dict[str, Reported]:
        """Of live peers, as told last."""
        return {member: Reported(load, now - at) for member, (load, at) in self._loads.items() if member in self._live}

    def judgements(self) -> dict[str, dict[str, Judgements]]:
        """Member → service → its judgements, of live peers."""
        found = {}
        for member in self._live:
            said = {key.partition(":")[2]: fact for key, fact in self._facts.get(member, ()) if isinstance(fact, Judgements)}
            if said:
                found[member] = said
        return found

    def far_regions(self) -> dict[str, FarRegions]:
        """Gateway → what it says of other regions, of live peers."""
        return {
            member: fact
            for member in self._live
            for key, fact in self._facts.get(member, ())
            if key == "regions" and isinstance(fact, FarRegions)
        }

    @property
    def endpoints(self) -> Endpoints:
        """As told last."""
        return self._endpoints

    def _of(self, member: str) -> list[Announced]:
        return [each for _, fact in self._facts.get(member, ()) for each in _announced(fact)]

    def _touch(self, announced: Iterable[Announced], *, at_once: bool) -> None:
        self._changed.update(each.service for each in announced)
        if at_once:
            self._refresh()
        elif not self._deferred:
            self._deferred = True
            self._defer(self._refresh)

    def _refresh(self) -> None:
        """Put together what changed; tell where it makes a difference."""
        self._deferred = False
        services, self._changed = self._changed, set()
        found: dict[str, list[AnnouncedEndpoint]] = {service: [] for service in services}
        for member in sorted(self._announcing & self._live.keys()) if services else ():
            for key, said in self._facts[member]:
                for fact in _announced(said):
                    if fact.service in services:
                        found[fact.service].append(AnnouncedEndpoint(member, fact, key.startswith("far:")))
        endpoints = {service: each for service, each in self._endpoints.items() if service not in services}
        endpoints.update((service, tuple(each)) for service, each in found.items() if each)
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._tell_endpoints(dict(endpoints))


def _announced(fact: Fact | None) -> tuple[Announced, ...]:
    if isinstance(fact, Announced):
        return (fact,)
    return fact.endpoints if isinstance(fact, Far) else ()


def _lean(fact: Fact) -> Fact:
    """As much of it as is used, with one object for what many members say: of a thousand of them everything is there a thousand times."""
    if isinstance(fact, Announced):
        return _shared(fact)
    if isinstance(fact, Far):
        return Far(tuple(_shared(each) for each in fact.endpoints))
    return fact


def _by_key(pair: tuple[str, Fact]) -> str:
    return pair[0]


def _shared(one: Announced) -> Announced:
    tags = _tags(tuple(sorted(one.tags.items())))
    return replace(one, service=intern(one.service), zone=intern(one.zone), region=intern(one.region), tags=tags)


@lru_cache(maxsize=256)
def _tags(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(pairs)
