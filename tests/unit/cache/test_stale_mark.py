"""A mark makes what was asked for before it stale at its next use, whatever the store holds, and nothing else."""

from agent.core.cache.entry import Entry
from agent.core.cache.store import CacheStore


def entry(name: bytes, asked_at: float) -> Entry:
    one = Entry(b"web " + name, "web", b"h", name, 200, b"OK")
    one.asked_at = asked_at
    one.fresh_until = 1e10
    one.stale_while_revalidate_until = 2e10
    one.stale_if_error_until = 3e10
    return one


def test_what_is_older_is_stale_once_and_may_still_stand_in_for_a_failing_upstream() -> None:
    store = CacheStore(1_000_000)
    old, new = entry(b"/old", 10.0), entry(b"/new", 20.0)
    store.put(old)
    store.put(new)
    store.mark_stale(15.0)
    store.mark_stale(12.0)  # an older one takes nothing back
    for one in (old, new, old):
        store.judge(one)
    assert (old.fresh_until, old.stale_while_revalidate_until, old.stale_if_error_until) == (0.0, 0.0, 3e10)
    assert new.fresh_until == 1e10
    assert store.demoted == 1 and store.count == 2


def test_without_a_mark_nothing_is_older() -> None:
    store = CacheStore(1_000_000)
    one = entry(b"/x", 0.0)
    store.judge(one)
    assert one.fresh_until == 1e10
