"""What gateways tell across regions of endpoints, by itself: in bounded parts."""

from agent.cluster.gateway import PART_BYTES_MAX, PARTS, parts
from agent.cluster.identity import own_profile
from agent.cluster.peers import Endpoints, Peers
from agent.core.gossip.facts import Announced, Far, decode, encode


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
