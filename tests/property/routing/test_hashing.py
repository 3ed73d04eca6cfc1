"""Ring hash and Maglev: even shares, and few keys move."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.routing.balance import Maglev, Random, RingHash, make_chooser
from agent.core.routing.config import Balance
from agent.core.routing.endpoint import Endpoint, hash_of
from tests.unit.routing.support import cluster_of, specs

KEYS = [hash_of(b"key-%d" % number) for number in range(2000)]


def endpoints_of(count: int, weights: tuple[int, ...] = ()) -> list[Endpoint]:
    return cluster_of(specs(count, weights)).endpoints


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 24), st.data())
def test_a_ring_moves_only_the_keys_of_who_left(count: int, data: st.DataObject) -> None:
    endpoints = endpoints_of(count)
    gone = endpoints[data.draw(st.integers(0, count - 1))]
    before = RingHash(endpoints, Random(1))
    after = RingHash([endpoint for endpoint in endpoints if endpoint is not gone], Random(1))
    for key in KEYS:
        home = before.choose(0.0, key)
        assert home is gone or after.choose(0.0, key) is home
        assert after.choose(0.0, key) is not gone


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30))
def test_maglev_slots_are_even_to_one(count: int) -> None:
    chooser = Maglev(endpoints_of(count), Random(1))
    slots = Counter(endpoint.address for endpoint in chooser._table)
    assert len(slots) == count
    assert max(slots.values()) - min(slots.values()) <= 1


def test_maglev_moves_few_keys_of_who_stayed() -> None:
    endpoints = endpoints_of(10)
    before, after = Maglev(endpoints, Random(1)), Maglev(endpoints[1:], Random(1))
    stayed = [key for key in KEYS if before.choose(0.0, key) is not endpoints[0]]
    moved = sum(1 for key in stayed if before.choose(0.0, key) is not after.choose(0.0, key))
    assert moved < 0.15 * len(stayed)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["ring_hash", "maglev"]), st.lists(st.integers(1, 5), min_size=2, max_size=8))
def test_weights_are_shares_of_the_key_space(policy: str, weights: list[int]) -> None:
    endpoints = endpoints_of(len(weights), tuple(weights))
    chooser = make_chooser(policy, endpoints, Random(1))
    shares = Counter(chooser.choose(0.0, key).address for key in KEYS)
    for endpoint in endpoints:
        expected = endpoint.weight / sum(weights)
        assert abs(shares[endpoint.address] / len(KEYS) - expected) < 0.3 * expected + 0.02  # 160 points: about 8 % either way


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["ring_hash", "maglev"]), st.integers(3, 12), st.data())
def test_an_unhealthy_endpoint_hands_over_its_keys_and_no_others_move(policy: str, count: int, data: st.DataObject) -> None:
    cluster = cluster_of(count, balance=Balance(policy=policy, hash_on="path"))  # type: ignore[arg-type]
    homes = {key: cluster.pick(1.0, key) for key in KEYS}
    gone = cluster.endpoints[data.draw(st.integers(0, count - 1))]
    cluster.set_health(gone.address, False, 1.0)
    for key, home in homes.items():
        now_at = cluster.pick(1.0, key)
        assert now_at is home if home is not gone else now_at is not gone
    cluster.set_health(gone.address, True, 2.0)
    assert all(cluster.pick(3.0, key) is home for key, home in homes.items())


def test_no_key_is_random_and_by_weight() -> None:
    cluster = cluster_of(specs(2, (1, 3)), balance=Balance(policy="maglev", hash_on="header:X-User"))
    shares = Counter(cluster.pick(1.0, -1) for _ in range(4000))
    assert abs(shares[cluster.endpoints[1]] - 3000) < 150


def test_a_hash_is_the_same_in_every_process() -> None:
    assert hash_of(b"user-1") == 0x88E1EA21865AAC9A
