"""Which stored responses are asked for most, for the digest that other agents get. Beside the data path, within a bound."""

from heapq import nlargest
from typing import Final

from agent.core.cache.entry import Entry
from agent.core.cache.store import CacheStore

LOOKED_AT_MAX: Final = 4_096
"""Entries that are looked at: half a millisecond. The policy's own order says where the hot ones are."""
HITS_LEAST: Final = 2
"""Who was used once since it was stored may never be again."""


def hottest(store: CacheStore, now: float, limit: int) -> list[bytes]:
    """Keys of up to `limit` responses that are fresh at `now` (wall seconds) and were used again, the most often used a second first."""
    found: dict[bytes, float] = {}
    lists = store.policy.lists()
    # A queue that moves only for want of room has what was there first, used or not, at its oldest end.
    for left, oldest_first in ((LOOKED_AT_MAX * 3 // 4, False), (LOOKED_AT_MAX // 4, True)):
        for nodes in lists:
            node = nodes.oldest if oldest_first else nodes.newest
            while node is not None and left:
                left -= 1
                if isinstance(node, Entry) and node.hits >= HITS_LEAST and node.first < 0 and now < node.fresh_until:
                    found[node.key] = max(found.get(node.key, 0.0), node.hits / max(now - node.stored_at, 1.0))
                node = node.before if oldest_first else node.after
    return nlargest(limit, found, key=lambda key: (found[key], key))
