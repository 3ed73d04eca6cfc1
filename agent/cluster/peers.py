"""What the other members say of themselves, decoded, and which of them are there to be believed."""

from collections.abc import Callable

from agent.cluster.identity import Profile
from agent.core.gossip.face import AnnouncedEndpoint
from agent.core.gossip.facts import Announced, Fact, Health, Judgements, Load, decode
from agent.core.gossip.messages import UnreadableError

Endpoints = dict[str, tuple[AnnouncedEndpoint, ...]]


class Peers:
    """Facts by member. Those of members that are not live are kept (they may be back) and not used."""

    def __init__(self, tell_endpoints: Callable[[Endpoints], None]) -> None:
        self._tell_endpoints = tell_endpoints
        self._facts: dict[str, dict[str, Fact]] = {}
        self._live: dict[str, Profile] = {}
        self._announcing: dict[str, int] = {}
        self._told: Endpoints = {}
        self.unreadable = 0
        """Values that did not fit their type or bounds."""

    @property
    def live(self) -> dict[str, Profile]:
        """Members of ours that are there (alive or suspect), without this one."""
        return self._live

    def facts(self, member: str) -> dict[str, Fact]:
        """All that a member says, by key; empty where nothing is known."""
        return self._facts.get(member, {})

    def up(self, member: str, profile: Profile) -> None:
        """It is there."""
        new = member not in self._live
        self._live[member] = profile
        if new and self._announcing.get(member):
            self._refresh()

    def gone(self, member: str) -> None:
        """It left or died: out of use at once."""
        if self._live.pop(member, None) is not None and self._announcing.get(member):
            self._refresh()

    def changed(self, member: str, key: str, value: bytes | None) -> None:
        """A key has another value, or (None) is gone."""
        fact = None
        if value is not None:
            try:
                fact = decode(key, value)
            except UnreadableError:
                self.unreadable += 1
        held = self._facts.setdefault(member, {})
        before = held.pop(key, None)
        if fact is not None:
            held[key] = fact
        if isinstance(before, Announced) or isinstance(fact, Announced):
            self._announcing[member] = self._announcing.get(member, 0) + isinstance(fact, Announced) - isinstance(before, Announced)
            if member in self._live:
                self._refresh()

    def forgot(self, member: str) -> None:
        """Nothing is known of it any more."""
        self._facts.pop(member, None)
        if self._announcing.pop(member, 0) and member in self._live:
            self._refresh()

    def loads(self) -> dict[str, Load]:
        """Of live peers."""
        found = {}
        for member in self._live:
            load = self.facts(member).get("load")
            if isinstance(load, Load):
                found[member] = load
        return found

    def health(self, member: str) -> Health:
        said = self.facts(member).get("health")
        return said if isinstance(said, Health) else Health()

    def judgements(self) -> dict[str, dict[str, Judgements]]:
        """Member → service → its judgements, of live peers."""
        found = {}
        for member in self._live:
            said = {key.partition(":")[2]: fact for key, fact in self.facts(member).items() if isinstance(fact, Judgements)}
            if said:
                found[member] = said
        return found

    def endpoints(self) -> Endpoints:
        """Service → its endpoints, as live peers announce them, sorted."""
        found: dict[str, list[AnnouncedEndpoint]] = {}
        for member in sorted(self._live):
            if self._announcing.get(member):
                for _, fact in sorted(self.facts(member).items(), key=lambda item: item[0]):
                    if isinstance(fact, Announced):
                        found.setdefault(fact.service, []).append(AnnouncedEndpoint(member, fact))
        return {service: tuple(each) for service, each in found.items()}

    def _refresh(self) -> None:
        endpoints = self.endpoints()
        if endpoints != self._told:
            self._told = endpoints
            self._tell_endpoints(endpoints)
