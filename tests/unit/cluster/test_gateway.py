"""What gateways tell across regions, by itself: endpoints in bounded parts, invalidations under marks that end in no loop."""

from types import SimpleNamespace
from typing import Any

from agent.cluster.config import ClusterWan
from agent.cluster.gateway import MARKS_MAX, PART_BYTES_MAX, PARTS, Gateway, mark_of, parts
from agent.cluster.identity import own_profile
from agent.cluster.peers import Endpoints, Peers
from agent.core.gossip.facts import Announced, Far, decode, encode
from agent.core.gossip.messages import Invalidation


def endpoints(count: int) -> list[Announced]:
    return [Announced("web", f"10.0.{number // 250}.{number % 250}", 9000, region="us") for number in range(count)]


def told(values: dict[str, bytes]) -> list[Announced]:
    found = [decode(key, value) for key, value in values.items()]
    return [one for each in found if isinstance(each, Far) for one in each.endpoints]


def test_gateways_that_know_the_same_say_the_same_whatever_the_order() -> None:
    some = endpoints(40)
    first, left_out = parts("us", some)
    assert parts("us", [*reversed(some), *some]) == (first, 0) and left_out == 0
    assert sorted(each.address for each in told(first)) == sorted(each.address for each in some)
    assert set(first) <= {f"far:us:{part}" for part in range(PARTS)}


def test_a_change_of_one_endpoint_tells_one_part_again() -> None:
    some = endpoints(40)
    before, _ = parts("us", some)
    after, _ = parts("us", some[1:])
    assert len([key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]) == 1


def test_what_a_region_tells_is_bounded_and_what_finds_no_room_is_counted() -> None:
    values, left_out = parts("us", endpoints(5_000))
    assert len(values) == PARTS and all(len(value) <= PART_BYTES_MAX + 96 for value in values.values())
    assert len(told(values)) + left_out == 5_000 and len(told(values)) > 500


def test_what_two_gateways_say_counts_while_one_of_them_is_there() -> None:
    said: list[Endpoints] = []
    peers = Peers(said.append, lambda what: what())
    web, api = Announced("web", "10.0.0.1", 9000, region="us"), Announced("api", "10.0.0.2", 9000, region="us")
    for name in ("b1", "b2"):
        peers.up(name, own_profile("eu", "", "", {}))
        peers.changed(name, "far:us:0", encode(Far((web, api))))
    assert [(one.member, one.far) for one in said[-1]["web"]] == [("b1", True), ("b2", True)]
    peers.gone("b1")
    assert {service: [one.member for one in each] for service, each in said[-1].items()} == {"web": ["b2"], "api": ["b2"]}
    peers.changed("b2", "far:us:0", encode(Far((api,))))
    assert set(said[-1]) == {"api"}
    peers.forgot("b2")
    assert said[-1] == {}


class FakeLevel:
    """Of a fabric, what a gateway uses to pass invalidations on."""

    def __init__(self, name: str, region: str) -> None:
        self.name, self.region, self.running = name, region, True
        self.applied: list[Invalidation] = []
        self.issued: list[Invalidation] = []
        self.on_invalidation = self.applied.append
        self.purges = SimpleNamespace(issue=self._issue)

    def _issue(self, kind: str, host: bytes, value: bytes, soft: bool, mark: bytes = b"") -> None:
        if kind == "newer":
            raise ValueError(kind)
        self.issued.append(Invalidation(self.name, 1, len(self.issued) + 1, kind, soft, host, value, mark=mark))


def gateway(name: str, region: str) -> tuple[Any, FakeLevel, FakeLevel]:
    lan, wan = FakeLevel(name, region), FakeLevel(f"{name}.{region}", region)
    made: Any = Gateway(lan, ClusterWan())  # type: ignore[arg-type]
    made.wan = wan
    return made, lan, wan


def test_an_invalidation_goes_across_once_and_never_back() -> None:
    a, _, a_wan = gateway("a", "eu")
    b, b_lan, b_wan = gateway("b", "us")
    c, c_lan, c_wan = gateway("c", "us")
    item = Invalidation("web-1", 7, 3, "url", False, b"web", b"/x")
    for _ in range(2):
        a.on_lan_invalidation(item)
    (across,) = a_wan.issued
    assert across.mark == mark_of("eu", item) and (across.kind, across.host, across.value) == ("url", b"web", b"/x")
    for _ in range(2):  # as a second gateway of `eu` says the same
        b._on_invalidation(across)
    (again,) = b_lan.issued
    assert again.mark == across.mark and len(b_lan.applied) == 1
    c.on_lan_invalidation(again)  # another gateway of `us` hears it there first
    c._on_invalidation(across)
    assert not c_wan.issued and not c_lan.issued and not b_wan.issued
    a._on_invalidation(across)
    assert len(a_wan.issued) == 1


def test_what_this_version_cannot_say_goes_as_what_drops_more() -> None:
    b, b_lan, _ = gateway("b", "us")
    b._on_invalidation(Invalidation("a.eu", 1, 1, "newer", mark=b"m"))
    assert [(item.kind, item.soft) for item in b_lan.issued] == [("all", True)]


def test_the_same_number_in_two_regions_are_two_and_marks_are_bounded() -> None:
    item = Invalidation("web-1", 7, 3, "all")
    assert mark_of("eu", item) != mark_of("us", item)
    a, _, a_wan = gateway("a", "eu")
    for number in range(MARKS_MAX + 10):
        a.on_lan_invalidation(Invalidation("web-1", 7, number, "all"))
    assert len(a._marks) == MARKS_MAX and len(a_wan.issued) == MARKS_MAX + 10
