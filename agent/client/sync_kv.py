"""The key-value store for programs that wait: `sidecar.kv`."""

from collections.abc import Iterator
from typing import Any

from agent.client import kv as async_kv
from agent.client import watch as async_watch
from agent.client.portal import Portal
from agent.client.types import Consistency, Event, Item, Octets, Page, Written


class Watch:
    """`for event in sidecar.kv.watch("users/")`; `with` closes it. `revision`: everything up to it was given."""

    def __init__(self, portal: Portal, watch: async_watch.Watch) -> None:
        self._portal = portal
        self._watch = watch

    @property
    def revision(self) -> int | None:
        return self._watch.revision

    def open(self) -> int:
        """Connect now, rather than with the first event; the revision after which changes are given."""
        return self._portal.run(self._watch.open())

    def close(self) -> None:
        """End it; a thread that waits in it sees its end."""
        self._portal.run(self._watch.close())

    def __iter__(self) -> Iterator[Event]:
        return self._portal.iterate(self._watch)

    def __enter__(self) -> "Watch":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kv:
    """See `agent.client.kv.Kv`, whose arguments these are."""

    def __init__(self, portal: Portal, kv: async_kv.Kv) -> None:
        self._portal = portal
        self._kv = kv

    def get(
        self,
        key: Octets,
        *,
        consistency: Consistency = "linearizable",
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Item | None:
        """None where there is nothing."""
        return self._portal.run(self._kv.get(key, consistency=consistency, max_staleness_s=max_staleness_s, timeout_s=timeout_s))

    def put(
        self,
        key: Octets,
        value: Octets,
        *,
        ttl_s: float | None = None,
        lease: int | None = None,
        if_revision: int | None = None,
        if_version: int | None = None,
        if_absent: bool = False,
        timeout_s: float | None = None,
    ) -> Written:
        """Set it, under a condition (`if_…`) or not. Raises CompareFailed."""
        work = self._kv.put(
            key,
            value,
            ttl_s=ttl_s,
            lease=lease,
            if_revision=if_revision,
            if_version=if_version,
            if_absent=if_absent,
            timeout_s=timeout_s,
        )
        return self._portal.run(work)

    def cas(
        self,
        key: Octets,
        value: Octets,
        *,
        expect: Octets | None,
        ttl_s: float | None = None,
        lease: int | None = None,
        timeout_s: float | None = None,
    ) -> Written | None:
        """Set it if its value is `expect` (None: if there is nothing). None where it is not."""
        return self._portal.run(self._kv.cas(key, value, expect=expect, ttl_s=ttl_s, lease=lease, timeout_s=timeout_s))

    def delete(self, key: Octets, *, if_revision: int | None = None, if_version: int | None = None, timeout_s: float | None = None) -> bool:
        """Was it there?"""
        return self._portal.run(self._kv.delete(key, if_revision=if_revision, if_version=if_version, timeout_s=timeout_s))

    def range(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        limit: int = async_kv.PAGE_ITEMS,
        after: str | None = None,
        keys_only: bool = False,
        consistency: Consistency = "linearizable",
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Page:
        """A page of items in the order of keys; `scan` gives all."""
        work = self._kv.range(
            prefix,
            start=start,
            end=end,
            limit=limit,
            after=after,
            keys_only=keys_only,
            consistency=consistency,
            max_staleness_s=max_staleness_s,
            timeout_s=timeout_s,
        )
        return self._portal.run(work)

    def scan(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        keys_only: bool = False,
        consistency: Consistency = "linearizable",
    ) -> Iterator[Item]:
        """Every item of a range, a page at a time."""
        return self._portal.iterate(self._kv.scan(prefix, start=start, end=end, keys_only=keys_only, consistency=consistency))

    def count(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        consistency: Consistency = "linearizable",
        timeout_s: float | None = None,
    ) -> int:
        return self._portal.run(self._kv.count(prefix, start=start, end=end, consistency=consistency, timeout_s=timeout_s))

    def delete_range(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """How many there were."""
        return self._portal.run(self._kv.delete_range(prefix, start=start, end=end, timeout_s=timeout_s))

    def txn(
        self,
        conditions: list[dict[str, Any]],
        then: list[dict[str, Any]],
        otherwise: list[dict[str, Any]] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Several operations as one, in the API's own JSON."""
        return self._portal.run(self._kv.txn(conditions, then, otherwise, timeout_s=timeout_s))

    def watch(
        self,
        prefix: Octets | None = None,
        *,
        key: Octets | None = None,
        start: Octets | None = None,
        end: Octets | None = None,
        after: int | None = None,
        values: bool = True,
    ) -> Watch:
        """Changes as they are committed, from now on or after a revision."""
        return Watch(self._portal, self._kv.watch(prefix, key=key, start=start, end=end, after=after, values=values))
