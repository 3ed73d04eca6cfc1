"""What a response means to the store: whether it is kept, and what one that passed by makes stale (RFC 9111 sections 3, 4.3.5
and 4.4)."""

from typing import Final

from agent.core.cache.invalidation import invalidated_targets
from agent.core.cache.rules import key_of
from agent.core.cache.storage import Storage, decide_storage, directives_of
from agent.core.cache.validation import update_from_head
from agent.core.cache.vary import variant_of
from agent.core.http import fields as f
from agent.core.http.head import RequestHead, ResponseHead
from agent.proxy.datapath import DataPath, RoutePolicy

_NO_STORE: Final = Storage(False, "no-store", "RFC 9111 5.2.2.5")


def after_pass(path: DataPath, policy: RoutePolicy, head: RequestHead, response: ResponseHead, flight: bytes) -> Storage:
    """To be called with the response to a request that made no flight because its key's responses were not to be shared lately:
    where this one is, the next makes a flight again."""
    if response.flags & f.CACHE_CONTROL:
        rules = directives_of(response)
        if rules.no_store and not rules.must_understand and response.get(b"cdn-cache-control") is None:
            return _NO_STORE  # the usual reason, seen at a glance
    decision = storage_of(path, policy, head, response, path.wall())
    if decision.store:
        path.hit_for_pass.pop(flight, None)
    return decision


def storage_of(path: DataPath, policy: RoutePolicy, head: RequestHead, response: ResponseHead, now: float) -> Storage:
    """Whether the response is stored: by the rules, and where they say yes by the plugins."""
    decision = decide_storage(head, response, policy.cache, now)
    plugins = path.plugins
    lifetime = decision.lifetime
    if decision.store and plugins.store_hooks and lifetime is not None:
        if not plugins.may_store(policy.cluster.name, head.authority, head.target, response.status, lifetime.seconds):
            return Storage(False, "plugin", "configuration plugins")
    return decision


def after_response(path: DataPath, policy: RoutePolicy, head: RequestHead, response: ResponseHead, key: bytes) -> None:
    """To be called with the response to every request that came neither through a fill nor past one. key: under which the request
    was looked up, with what plugins added to it; empty where it was not."""
    if head.method == b"HEAD":
        if key:
            _refresh(path, policy, head, response, key)
        return
    for host, target in invalidated_targets(head, response):
        path.store.purge_url(host, target)
        if path.tell is not None:
            path.tell(policy.cluster.name, host, target)
        if policy.cache.key_query != "whole":
            # Under a shaped key one response stands for several targets.
            path.store.purge_key(key_of(policy.cluster.name + policy.target.key_space, host, target, policy.cache))


def _refresh(path: DataPath, policy: RoutePolicy, head: RequestHead, response: ResponseHead, key: bytes) -> None:
    slot = path.store.find(key)
    if slot is None or response.status != 200:
        return
    entry = slot.variants.get(variant_of(slot.vary, head)) if slot.vary else slot.entry
    if entry is None:
        return
    now = path.wall()
    updated = update_from_head(entry, response, head, policy.cache, now, now)
    if updated is None:
        entry.fresh_until = min(entry.fresh_until, now)
        entry.stale_while_revalidate_until = 0.0
    else:
        path.store.put(updated)
