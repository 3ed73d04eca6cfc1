"""The digest of what this agent's cache has that is asked for most, made a little at a time."""

from time import time
from typing import Final

from agent.core.cache.hot import hottest
from agent.core.cache.store import CacheStore
from agent.core.gossip.bloom import Builder
from agent.core.gossip.facts import HotKeys

KEYS: Final = 768
"""960 octets: a filter must fit a packet of gossip."""
LOOK_EVERY: Final = 30
"""Seconds between two looks at the cache."""
LOOK_EVERY_NONE: Final = 5
"""While nothing is hot yet."""
ADDED_A_SECOND: Final = 128
"""Half a millisecond."""
CHANGED_LEAST: Final = 0.1
"""Where a smaller share of the keys came or went, the filter that was told stays."""


class HotDigest:
    """`value` is what to tell; None while there is nothing. `tick` each second."""

    def __init__(self) -> None:
        self.value: HotKeys | None = None
        self._keys: frozenset[bytes] = frozenset()
        self._building: Builder | None = None
        self._left: list[bytes] = []
        self._wait = 0

    def tick(self, store: CacheStore) -> None:
        if self._building is not None:
            batch, self._left = self._left[:ADDED_A_SECOND], self._left[ADDED_A_SECOND:]
            for key in batch:
                self._building.add(key)
            if not self._left:
                self.value, self._building = self._building.value, None
            return
        self._wait -= 1
        if self._wait <= 0:
            self._look(store)
            self._wait = LOOK_EVERY if self._keys else LOOK_EVERY_NONE

    def _look(self, store: CacheStore) -> None:
        found = hottest(store, time(), KEYS)
        keys = frozenset(found)
        if len(keys ^ self._keys) <= CHANGED_LEAST * len(self._keys):
            return
        self._keys = keys
        if not keys:
            self.value = None
        else:
            self._building, self._left = Builder(len(found)), found
