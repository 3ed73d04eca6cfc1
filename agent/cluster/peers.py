"""What the data path needs of what other members say, decoded, and which of them are there to be believed.

All else that they say stays as the octets that the gossip core has, until somebody asks (`Fabric.facts_of`): a table of round
trips is three times as large decoded.
"""

from collections.abc import Callable, Iterable

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
        self._facts: dict[str, dict[str, Fact]] = {}
        self._loads_at: dict[str, float] = {}
        self._live: dict[str, Profile] = {}
        self._announcing: dict[str, dict[str, tuple[Announced, ...]]] = {}
        """Member → key → what it announces, or tells of other regions."""
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
        """Load, judgements, endpoints and seats of a member, by key; empty where nothing is known."""
        return self._facts.get(member, {})

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
        held = self._facts.setdefault(member, {})
        before = held.pop(key, None)
        if isinstance(fact, Load):
            self._loads_at[member] = now
        if isinstance(fact, Load | Judgements | Announced | Far | FarRegions | Seat):
            held[key] = fact
        old, new = _announced(before), _announced(fact)
        if old or new:
            announcing = self._announcing.setdefault(member, {})
            announcing.pop(key, None)
            if new:
                announcing[key] = new
            if not announcing:
                del self._announcing[member]
            if member in self._live:
                self._touch(old + new, at_once=bool(old))

    def forgot(self, member: str) -> None:
        """Nothing is known of it any more."""
        self._facts.pop(member, None)
        self._loads_at.pop(member, None)
        announced = self._of(member)
        self._announcing.pop(member, None)
        if announced and member in self._live:
            self._touch(announced, at_once=True)

    def loads(self, now: float) -> dict[str, Reported]:
        """Of live peers, as told last."""
        found = {}
        for member in self._live:
            load = self.facts(member).get("load")
            if isinstance(load, Load):
                found[member] = Reported(load, now - self._loads_at.get(member, now))
        return found

    def judgements(self) -> dict[str, dict[str, Judgements]]:
        """Member → service → its judgements, of live peers."""
        found = {}
        for member in self._live:
            said = {key.partition(":")[2]: fact for key, fact in self.facts(member).items() if isinstance(fact, Judgements)}
            if said:
                found[member] = said
        return found

    def far_regions(self) -> dict[str, FarRegions]:
        """Gateway → what it says of other regions, of live peers."""
        said = {member: self.facts(member).get("regions") for member in self._live}
        return {member: fact for member, fact in said.items() if isinstance(fact, FarRegions)}

    @property
    def endpoints(self) -> Endpoints:
        """As told last."""
        return self._endpoints

    def _of(self, member: str) -> list[Announced]:
        return [each for several in self._announcing.get(member, {}).values() for each in several]

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
        for member in sorted(self._announcing.keys() & self._live.keys()) if services else ():
            for key, facts in sorted(self._announcing[member].items()):
                for fact in facts:
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
