"""Eviction policies: which entry goes when room is needed. One face (`base.Policy`), one file a policy."""

from agent.core.cache.eviction.base import Node, Policy
from agent.core.cache.eviction.lru import Lru
from agent.core.cache.eviction.s3fifo import S3Fifo
from agent.core.cache.eviction.sieve import Sieve
from agent.core.cache.eviction.wtinylfu import WTinyLfu

NAMES = ("s3fifo", "wtinylfu", "lru", "sieve")


def make_policy(name: str, capacity: int) -> Policy:
    """The policy of that name for a cache of `capacity` (in the unit of the nodes' sizes)."""
    if name == "wtinylfu":
        return WTinyLfu(capacity)
    if name == "lru":
        return Lru(capacity)
    if name == "sieve":
        return Sieve(capacity)
    if name == "s3fifo":
        return S3Fifo(capacity)
    raise ValueError(f"no eviction policy {name!r}; there are {', '.join(NAMES)}")


__all__ = ["NAMES", "Lru", "Node", "Policy", "S3Fifo", "Sieve", "WTinyLfu", "make_policy"]
