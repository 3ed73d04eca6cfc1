"""Keeping a copy of a response that goes straight to its client: a part of something (206), or what a POST says a GET of the
same URL would bring. Everything else that is stored comes through a fill."""

from time import perf_counter
from typing import Final

from agent.core.cache.entry import Entry
from agent.core.cache.invalidation import same_origin_target
from agent.core.cache.parts import as_whole, become_whole, content_range, is_exact, join, joinable, part_key
from agent.core.cache.rules import key_of
from agent.core.cache.storage import make_entry
from agent.core.http.head import UNTIL_CLOSE, RequestHead, ResponseHead
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.effects import storage_of
from agent.proxy.reply import Reply

PIECES_MAX: Final = 16_384
PIECE_MIN: Final = 65_536
"""Pieces that are smaller on average are joined to one."""
_STATED: Final = frozenset({"s-maxage", "max-age", "expires", "cdn-cache-control"})
"""Rules that give explicit freshness in the sense of RFC 9110 section 9.3.3: the response's own words."""


class Keeper:
    """Takes the octets as they pass, and stores them once they are whole."""

    def __init__(self, path: DataPath, policy: RoutePolicy, head: RequestHead, entry: Entry, key: bytes) -> None:
        self.path = path
        self.policy = policy
        self.head = head
        self.entry = entry
        self.key = key
        """Of the whole response."""
        self.epoch = path.store.epoch
        self.body: list[bytes] = []
        self.size = 0
        self.keeping = True
        self.framed = True
        """The message itself says where it ends."""

    def add(self, piece: bytes) -> None:
        if not self.keeping:
            return
        store = self.path.store
        self.size += len(piece)
        store.filling += len(piece)
        self.body.append(piece)
        if self.size > store.object_bytes_max or store.filling > store.filling_max or len(self.body) > PIECES_MAX:
            self.drop()

    def drop(self) -> None:
        """It will not be stored, or has been."""
        if self.keeping:
            self.keeping = False
            self.path.store.filling -= self.size
            self.body = []

    def end(self) -> None:
        """The response is complete."""
        store = self.path.store
        entry = self.entry
        if not self.keeping or store.purged_since(self.epoch, self.head.authority, self.head.target, self.key):
            return
        body = self.body
        self.drop()
        if len(body) > 1 and self.size < PIECE_MIN * len(body):
            body = [b"".join(body)]
        entry.body = body
        entry.length = self.size
        if entry.first >= 0:
            if not is_exact(entry) and not self.framed:
                return  # cut short by its end, for all that anybody can tell
            stored = store.find_part(self.key, self.head)
            if stored is not None and joinable(stored, entry) and stored.length + entry.length <= store.object_bytes_max:
                join(stored, entry)
            if become_whole(entry, self.key) and stored is not None:
                store.remove(stored)
        if store.put(entry):
            self.policy.counters.stored += 1


def keeper_of(exchange: Reply, policy: RoutePolicy, response: ResponseHead, epoch: int, started: float, suffix: bytes) -> Keeper | None:
    """What keeps this response, where it is one to keep. epoch: of the store when the request was sent; started: by
    `perf_counter`; suffix: what plugins add to the key."""
    head = exchange.head
    path = exchange.path
    key = exchange.plan.key
    status = response.status
    if status == 206 and head.method == b"GET" and key:
        return _keeper_of_part(path, policy, head, response, key, epoch, started)
    if status != 200 or head.method != b"POST":
        return None
    location = response.get(b"content-location")
    if location is None or same_origin_target(head, location) != head.target:
        return None
    key = key_of(policy.cluster.name + policy.target.key_space, head.authority, head.target, policy.cache) + suffix
    now = path.wall()
    decision = storage_of(path, policy, head, response, now)
    lifetime = decision.lifetime
    if not decision.store or lifetime is None or lifetime.rule not in _STATED or lifetime.seconds <= 0.0:
        return None
    if path.store.purged_since(epoch, head.authority, head.target, key):
        return None
    requested_at = now - (perf_counter() - started)
    entry = make_entry(key, policy.cluster.name, head, response, policy.cache, requested_at, now, decision)
    entry.asked_at = started
    return Keeper(path, policy, head, entry, key)


def _keeper_of_part(
    path: DataPath, policy: RoutePolicy, head: RequestHead, response: ResponseHead, key: bytes, epoch: int, started: float
) -> Keeper | None:
    span = content_range(response)
    if span is None or span[1] - span[0] >= path.store.object_bytes_max:
        return None
    now = path.wall()
    whole = as_whole(response, span[2])
    decision = storage_of(path, policy, head, whole, now)
    if not decision.store or path.store.purged_since(epoch, head.authority, head.target, key):
        return None
    requested_at = now - (perf_counter() - started)
    entry = make_entry(part_key(key), policy.cluster.name, head, whole, policy.cache, requested_at, now, decision)
    entry.asked_at = started
    entry.status = 206
    entry.reason = b"Partial Content"
    entry.first, entry.last, entry.complete = span
    keeper = Keeper(path, policy, head, entry, key)
    keeper.framed = response.body != UNTIL_CLOSE
    return keeper
