"""The L1 store: entries by key and variant, within a number of bytes that the process really uses (`agent.core.cache.cost`)."""

from collections.abc import Iterable
from typing import Any, Final

from agent.core.cache.cost import cost_bytes
from agent.core.cache.entry import Entry
from agent.core.cache.eviction import make_policy
from agent.core.cache.eviction.base import Policy
from agent.core.cache.parts import part_key
from agent.core.cache.vary import variant_of
from agent.core.http.head import RequestHead

VARIANTS_MAX: Final = 64
"""Variants of one key; an origin that varies on more (a cookie, a user agent) is not worth the room."""
FILLING_SHARE: Final = 4
MARKS_MAX: Final = 1024
"""Purged URLs that are remembered by name for the fills under way; after so many, every fill under way counts as purged."""


class Slot:
    """All stored responses of one primary key."""

    __slots__ = ("entry", "key", "variants", "vary")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.vary: tuple[bytes, ...] = ()
        """What the latest response varies on."""
        self.entry: Entry | None = None
        """The response, where it does not vary."""
        self.variants: dict[bytes, Entry] = {}


class ServiceCacheStats:
    """Counts of one service's part of the store."""

    __slots__ = ("bytes", "entries", "evictions", "inserts", "purged", "rejected")

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0
        self.inserts = 0
        self.evictions = 0
        self.purged = 0
        self.rejected = 0


class CacheStore:
    """Bounded by bytes; which entry goes is the policy's choice."""

    def __init__(self, size_bytes: int, policy: str = "s3fifo", object_bytes_max: int = 8 * 1024 * 1024) -> None:
        self.size_bytes = size_bytes
        self.object_bytes_max = min(object_bytes_max, size_bytes)
        self.filling = 0
        """Bytes of responses that are on their way into the store, beside `size_bytes`."""
        self.policy_name = policy
        self.policy: Policy = make_policy(policy, size_bytes)
        self.slots: dict[bytes, Slot] = {}
        self.count = 0
        self.parts = 0
        """How many of the entries are parts: where there is none, nobody needs to look for one."""
        self.by_service: dict[str, ServiceCacheStats] = {}
        self._hosts: dict[bytes, dict[bytes, Entry | list[Entry]]] = {}
        """By host and target: the one entry, or all where there are several (variants, services, parts)."""
        self._tags: dict[bytes, dict[Entry, None]] = {}
        self._sweep: list[bytes] = []
        self.epoch = 0
        """Counts purges. A fill that began before one may bring what the purge was for: see `purged_since`."""
        self.stale_before = 0.0
        """What was asked of an upstream before this moment (`Entry.asked_at`) is to be validated before its next use."""
        self.demoted = 0
        """Entries that were found to be from before it, at their use."""
        self._marks: dict[bytes, int] = {}
        self._marked_all = 0

    @property
    def used_bytes(self) -> int:
        return self.policy.used

    @property
    def filling_max(self) -> int:
        """What `filling` may come to: a quarter of the store, or one response of the largest size."""
        return max(self.size_bytes // FILLING_SHARE, self.object_bytes_max)

    # -- look-ups

    def find(self, key: bytes) -> Slot | None:
        return self.slots.get(key)

    def find_part(self, key: bytes, head: RequestHead) -> Entry | None:
        """The stored part of the representation that the request selects."""
        slot = self.slots.get(part_key(key))
        if slot is None:
            return None
        return slot.variants.get(variant_of(slot.vary, head)) if slot.vary else slot.entry

    def on_hit(self, entry: Entry) -> None:
        self.policy.hit(entry)

    def judge(self, entry: Entry) -> None:
        """To be called before an entry's freshness is looked at: what `mark_stale` meant becomes stale now, at its use."""
        if entry.asked_at < self.stale_before:
            entry.asked_at = self.stale_before
            self._make_stale(entry)
            self.demoted += 1

    # -- changes

    def put(self, entry: Entry) -> bool:
        """Store an entry in place of the one with its key and variant. False where it is too large."""
        stats = self._stats(entry.service)
        entry.size = cost_bytes(entry)
        slot = self.slots.get(entry.key)
        if slot is not None:
            old = slot.variants.get(entry.variant) if entry.vary else slot.entry
            if old is not None:
                self.remove(old)
            if slot.vary != entry.vary:
                self._drop_slot(slot)
            elif len(slot.variants) >= VARIANTS_MAX:
                self.remove(next(iter(slot.variants.values())))
            slot = self.slots.get(entry.key)
        if entry.length > self.object_bytes_max or entry.size > self.size_bytes:
            stats.rejected += 1
            return False
        if slot is None:
            slot = Slot(entry.key)
            self.slots[entry.key] = slot
        slot.vary = entry.vary
        if entry.vary:
            slot.variants[entry.variant] = entry
        else:
            slot.entry = entry
        self._index(entry)
        self.count += 1
        if entry.first >= 0:
            self.parts += 1
        stats.entries += 1
        stats.bytes += entry.size
        stats.inserts += 1
        for gone in self.policy.insert(entry):
            self._evicted(gone)
        return entry.queue != 0

    def _evicted(self, node: object) -> None:
        assert isinstance(node, Entry)
        self._unlink(node)
        self._stats(node.service).evictions += 1

    def remove(self, entry: Entry) -> bool:
        """Take an entry out; False where it was not (or no longer) stored."""
        if not entry.queue:
            return False
        self.policy.remove(entry)
        self._unlink(entry)
        return True

    def _drop_slot(self, slot: Slot) -> None:
        if slot.entry is not None:
            self.remove(slot.entry)
        for variant in list(slot.variants.values()):
            self.remove(variant)

    def _unlink(self, entry: Entry) -> None:
        slot = self.slots.get(entry.key)
        if slot is not None:
            if slot.entry is entry:
                slot.entry = None
            elif slot.variants.get(entry.variant) is entry:
                del slot.variants[entry.variant]
            if slot.entry is None and not slot.variants:
                del self.slots[entry.key]
        self.count -= 1
        if entry.first >= 0:
            self.parts -= 1
        stats = self._stats(entry.service)
        stats.entries -= 1
        stats.bytes -= entry.size
        self._unlink_url(entry)
        for tag in entry.tags:
            _drop(self._tags, tag, entry)

    def _index(self, entry: Entry) -> None:
        targets = self._hosts.get(entry.host)
        if targets is None:
            targets = {}
            self._hosts[entry.host] = targets
        known = targets.get(entry.target)
        if known is None:
            targets[entry.target] = entry
        elif isinstance(known, list):
            known.append(entry)
        else:
            targets[entry.target] = [known, entry]
        for tag in entry.tags:
            self._tags.setdefault(tag, {})[entry] = None

    def _unlink_url(self, entry: Entry) -> None:
        targets = self._hosts[entry.host]
        known = targets[entry.target]
        if isinstance(known, list):
            known.remove(entry)
            if len(known) == 1:
                targets[entry.target] = known[0]
            return
        del targets[entry.target]
        if not targets:
            del self._hosts[entry.host]

    def _stats(self, service: str) -> ServiceCacheStats:
        stats = self.by_service.get(service)
        if stats is None:
            stats = ServiceCacheStats()
            self.by_service[service] = stats
        return stats

    def resize(self, size_bytes: int, object_bytes_max: int) -> None:
        """Take other bounds; entries that no longer fit go at once."""
        self.size_bytes = size_bytes
        self.object_bytes_max = min(object_bytes_max, size_bytes)
        for gone in self.policy.resize(size_bytes):
            self._evicted(gone)

    def sweep(self, now: float, budget: int = 200) -> int:
        """Look at up to `budget` keys for entries that no request can use again, and drop them. Returns how many went."""
        if not self._sweep:
            self._sweep = list(self.slots)
        dropped = 0
        for _ in range(min(budget, len(self._sweep))):
            slot = self.slots.get(self._sweep.pop())
            if slot is None:
                continue
            for entry in [slot.entry, *slot.variants.values()]:
                if entry is not None and _useless(entry, now):
                    self.remove(entry)
                    dropped += 1
        return dropped

    # -- purging

    def purge(self, entries: Iterable[Entry], soft: bool) -> int:
        """Remove entries, or (soft) make them stale, so that they are validated before their next use but can still stand in
        for a failing upstream."""
        count = 0
        for entry in list(entries):
            if soft:
                self._make_stale(entry)
            else:
                self.remove(entry)
            self._stats(entry.service).purged += 1
            count += 1
        return count

    def _make_stale(self, entry: Entry) -> None:
        entry.fresh_until = 0.0
        entry.stale_while_revalidate_until = 0.0

    def mark_stale(self, older_than: float) -> None:
        """Purges may have been missed: whatever was asked of an upstream before `older_than` (seconds of `time.perf_counter`),
        stored or on its way, counts as softly purged. A mark, whatever the store holds: entries are judged at their use."""
        self.stale_before = max(self.stale_before, older_than)

    def purge_url(self, host: bytes, target: bytes, soft: bool = False) -> int:
        """Every stored response of one URL: host (and port) and target (path and query)."""
        self._mark(host.lower() + target)
        targets = self._hosts.get(host.lower())
        known = targets.get(target) if targets is not None else None
        if known is None:
            return 0
        return self.purge(known if isinstance(known, list) else [known], soft)

    def purge_key(self, key: bytes, soft: bool = False) -> int:
        """Every stored response of one primary key."""
        self._mark(key)
        return self.purge(self._of_key(key) + self._of_key(part_key(key)), soft)

    def purge_prefix(self, host: bytes, prefix: bytes, soft: bool = False) -> int:
        self._mark_all()
        return self.purge([entry for entry in self._of_host(host) if entry.target.startswith(prefix)], soft)

    def purge_host(self, host: bytes, soft: bool = False) -> int:
        self._mark_all()
        return self.purge(self._of_host(host), soft)

    def purge_tag(self, tag: bytes, soft: bool = False) -> int:
        self._mark_all()
        return self.purge(list(self._tags.get(tag, ())), soft)

    def purge_service(self, service: str, soft: bool = False) -> int:
        self._mark_all()
        return self.purge([entry for entry in self.entries() if entry.service == service], soft)

    def purge_all(self, soft: bool = False) -> int:
        self._mark_all()
        return self.purge(list(self.entries()), soft)

    def purged_since(self, epoch: int, host: bytes, target: bytes, key: bytes) -> bool:
        """Whether a purge after `epoch` means a response to a request that was sent at that time. (Prefixes, tags and the
        like cannot be told of a response that is not there yet: they mean every one.)"""
        return self._marked_all > epoch or self._marks.get(host + target, 0) > epoch or self._marks.get(key, 0) > epoch

    def _mark(self, name: bytes) -> None:
        if len(self._marks) >= MARKS_MAX:
            self._mark_all()
        self.epoch += 1
        self._marks[name] = self.epoch

    def _mark_all(self) -> None:
        self.epoch += 1
        self._marks.clear()
        self._marked_all = self.epoch

    def _of_key(self, key: bytes) -> list[Entry]:
        slot = self.slots.get(key)
        if slot is None:
            return []
        return ([slot.entry] if slot.entry is not None else []) + list(slot.variants.values())

    def _of_host(self, host: bytes) -> list[Entry]:
        targets = self._hosts.get(host.lower())
        return _flat(targets) if targets is not None else []

    # -- for people

    def entries(self) -> list[Entry]:
        """Every entry, in no particular order."""
        found: list[Entry] = []
        for targets in self._hosts.values():
            found.extend(_flat(targets))
        return found

    def listing(self, service: str = "", host: bytes = b"", prefix: bytes = b"", limit: int = 100) -> list[Entry]:
        """Up to `limit` entries that match."""
        found: list[Entry] = []
        for entry in self._of_host(host) if host else self.entries():
            if (not service or entry.service == service) and entry.target.startswith(prefix):
                if len(found) >= limit:
                    break
                found.append(entry)
        return found

    def stats(self) -> dict[str, Any]:
        """Totals and counts by service."""
        services = {}
        for name, stats in sorted(self.by_service.items()):
            services[name] = {
                "entries": stats.entries,
                "bytes": stats.bytes,
                "inserts": stats.inserts,
                "evictions": stats.evictions,
                "purged": stats.purged,
                "rejected": stats.rejected,
            }
        return {
            "policy": self.policy_name,
            "size_bytes": self.size_bytes,
            "used_bytes": self.used_bytes,
            "filling_bytes": self.filling,
            "entries": self.count,
            "services": services,
        }


def _flat(targets: dict[bytes, Entry | list[Entry]]) -> list[Entry]:
    found: list[Entry] = []
    for known in targets.values():
        if isinstance(known, list):
            found.extend(known)
        else:
            found.append(known)
    return found


def _drop(index: dict[bytes, dict[Entry, None]], key: bytes, entry: Entry) -> None:
    entries = index.get(key)
    if entries is not None:
        entries.pop(entry, None)
        if not entries:
            del index[key]


def _useless(entry: Entry, now: float) -> bool:
    """Stale past every window and not to be validated."""
    return (
        not entry.etag
        and not entry.last_modified
        and now > entry.fresh_until
        and now > entry.stale_while_revalidate_until
        and now > entry.stale_if_error_until
        and now > entry.stale_if_unreachable_until
    )
