"""What is said to be hot: held, fresh, used again, the most used first, whatever the policy."""

import pytest

from agent.app.hot_keys import ADDED_A_SECOND, KEYS, LOOK_EVERY, HotDigest
from agent.core.cache.entry import Entry
from agent.core.cache.hot import LOOKED_AT_MAX, hottest
from agent.core.cache.store import CacheStore
from agent.core.gossip.bloom import may_hold
from agent.core.gossip.facts import encode
from agent.core.gossip.messages import PACKET_BYTES

POLICIES = ("lru", "s3fifo", "sieve", "wtinylfu")
NOW = 2_000_000_000.0


def put(store: CacheStore, name: str, hits: int, fresh_s: float = 60.0, age_s: float = 10.0) -> Entry:
    entry = Entry(name.encode(), "web", b"web", b"/" + name.encode(), 200, b"OK")
    entry.stored_at, entry.fresh_until = NOW - age_s, NOW + fresh_s
    assert store.put(entry)
    use(store, entry, hits)
    return entry


def use(store: CacheStore, entry: Entry, hits: int) -> None:
    for _ in range(hits):
        entry.hits += 1
        store.on_hit(entry)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_most_used_come_first_and_the_stale_and_the_unused_not_at_all(policy: str) -> None:
    store = CacheStore(10_000_000, policy)
    put(store, "often", 9)
    put(store, "long-ago", 12, age_s=1_000.0)
    put(store, "twice", 2)
    put(store, "once", 1)
    put(store, "stale", 50, fresh_s=-1.0)
    gone = put(store, "gone", 40)
    store.remove(gone)
    assert hottest(store, NOW, 10) == [b"often", b"twice", b"long-ago"]
    assert hottest(store, NOW, 1) == [b"often"]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_more_are_looked_at_than_the_bound_and_those_in_use_are_among_them(policy: str) -> None:
    store = CacheStore(50_000_000, policy)
    hot = [put(store, f"hot-{number}", 3) for number in range(20)]
    for number in range(LOOKED_AT_MAX + 500):
        put(store, f"cold-{number}", 0)
        if number % 100 == 0:
            for entry in hot:
                use(store, entry, 1)
    found = hottest(store, NOW, KEYS)
    assert all(key.startswith(b"hot-") for key in found)
    assert len(found) == 20


def test_a_digest_is_made_a_little_at_a_time_and_fits_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.app.hot_keys.time", lambda: NOW)
    store = CacheStore(50_000_000)
    digest = HotDigest()
    digest.tick(store)
    assert digest.value is None
    for number in range(KEYS + 50):
        put(store, f"k{number}", 2)
    for _ in range(LOOK_EVERY + KEYS // ADDED_A_SECOND + 2):
        digest.tick(store)
    assert digest.value is not None and digest.value.keys == KEYS
    assert len(encode(digest.value)) < PACKET_BYTES - 200
    held = sum(may_hold(digest.value, b"k%d" % number) for number in range(KEYS + 50))
    assert KEYS <= held <= KEYS + 50
    assert sum(may_hold(digest.value, b"other %d" % number) for number in range(1_000)) < 30
    before = digest.value
    put(store, "new", 5)
    for _ in range(2 * LOOK_EVERY):
        digest.tick(store)
    assert digest.value is before  # too little changed to tell a kilobyte again
    store.purge_all()
    for _ in range(2 * LOOK_EVERY):
        digest.tick(store)
    assert digest.value is None
