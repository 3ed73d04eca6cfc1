"""The store and each eviction policy against simple models: every byte counted, nothing lost, nothing twice, purges complete."""

from collections import OrderedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.core.cache.entry import Entry
from agent.core.cache.eviction import NAMES, Lru, Node, make_policy
from agent.core.cache.eviction.base import NodeList
from agent.core.cache.parts import part_key
from agent.core.cache.store import CacheStore
from tests.property.cache_strategies import request

KEYS = range(12)


class PolicyMachine(RuleBasedStateMachine):
    """A policy beside the set of nodes that it should hold."""

    name = ""

    def __init__(self) -> None:
        super().__init__()
        self.policy = make_policy(self.name, 20)
        self.held: dict[int, Node] = {}

    def gone(self, nodes: list[Node]) -> None:
        for node in nodes:
            assert node.queue == 0
            assert self.held.pop(node.ident) is node, "what goes was there, once"

    @rule(ident=st.sampled_from(KEYS), size=st.integers(1, 7))
    def use(self, ident: int, size: int) -> None:
        node = self.held.get(ident)
        if node is not None:
            self.policy.hit(node)
            return
        node = Node(ident, size)
        self.held[ident] = node
        self.gone(self.policy.insert(node))

    @rule(ident=st.sampled_from(KEYS))
    def remove(self, ident: int) -> None:
        node = self.held.pop(ident, None)
        if node is not None:
            self.policy.remove(node)
            self.policy.remove(node)  # a second time does nothing
            assert node.queue == 0

    @rule(capacity=st.integers(1, 40))
    def resize(self, capacity: int) -> None:
        self.gone(self.policy.resize(capacity))

    @invariant()
    def counts_what_it_holds(self) -> None:
        assert self.policy.used == sum(node.size for node in self.held.values()) <= self.policy.capacity
        listed: list[Node] = []
        for value in vars(self.policy).values():
            if isinstance(value, NodeList):
                walked = walk(value)
                assert (value.count, value.size) == (len(walked), sum(node.size for node in walked))
                assert all(node.queue == value.number for node in walked)
                listed += walked
        assert {id(node) for node in listed} == {id(node) for node in self.held.values()} and len(listed) == len(self.held)


def walk(nodes: NodeList) -> list[Node]:
    found = []
    node, before = nodes.newest, None
    while node is not None:
        assert node.before is before
        found.append(node)
        node, before = node.after, node
    assert nodes.oldest is before
    return found


@pytest.mark.parametrize("name", NAMES)
def test_policies_hold_what_they_should(name: str) -> None:
    machine = type(f"{name.title()}Machine", (PolicyMachine,), {"name": name})
    case = machine.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
    case().runTest()


class LruMachine(RuleBasedStateMachine):
    """LRU is simple enough to be predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Lru(5)
        self.nodes: dict[int, Node] = {}
        self.model: OrderedDict[int, None] = OrderedDict()

    @rule(ident=st.sampled_from(KEYS))
    def use(self, ident: int) -> None:
        if ident in self.model:
            self.model.move_to_end(ident)
            self.policy.hit(self.nodes[ident])
            return
        self.model[ident] = None
        self.nodes[ident] = Node(ident, 1)
        expected = [self.model.popitem(last=False)[0]] if len(self.model) > 5 else []
        assert [node.ident for node in self.policy.insert(self.nodes[ident])] == expected


LruMachine.TestCase.settings = settings(max_examples=40, deadline=None)
TestLru = LruMachine.TestCase

HOSTS = [b"a.test", b"b.test"]
TARGETS = [b"/", b"/a", b"/a/1", b"/b?x=1"]
SERVICES = ["web", "api"]
TAGS = [b"red", b"blue", b"list"]


class StoreMachine(RuleBasedStateMachine):
    """A store beside the entries that can be found in it."""

    policy = "s3fifo"

    @initialize(size=st.integers(8_000, 40_000))
    def open(self, size: int) -> None:
        self.store = CacheStore(size, self.policy, object_bytes_max=6_000)
        self.held: list[Entry] = []

    def reachable(self) -> list[Entry]:
        """Found as a look-up finds them."""
        found = []
        for key, slot in self.store.slots.items():
            entries = ([slot.entry] if slot.entry is not None else []) + list(slot.variants.values())
            assert entries, "no slot without an entry"
            for entry in entries:
                assert entry.key == key == slot.key and entry.vary == slot.vary
                assert entry.queue != 0
            found += entries
        return found

    @rule(
        host=st.sampled_from(HOSTS),
        path=st.sampled_from(TARGETS),
        service=st.sampled_from(SERVICES),
        tags=st.sets(st.sampled_from(TAGS)),
        vary=st.sampled_from([(), (), (b"x",), (b"y",)]),
        variant=st.sampled_from([b"=1", b"=2", b"-"]),
        size=st.integers(0, 7_000),
        part=st.booleans(),
    )
    def put(
        self, host: bytes, path: bytes, service: str, tags: set[bytes], vary: tuple[bytes, ...], variant: bytes, size: int, part: bool
    ) -> None:
        key = service.encode() + b" " + host + path
        entry = Entry(part_key(key) if part else key, service, host, path, 206 if part else 200, b"OK")
        entry.tags = tuple(sorted(tags))
        entry.vary, entry.variant = vary, variant if vary else b""
        entry.body, entry.length = [bytes(size)], size
        entry.fresh_until = 100.0
        if part:
            entry.first, entry.last, entry.complete = 0, size - 1, size + 10
        before = self.reachable()
        kept = self.store.put(entry)
        after = self.reachable()
        assert kept == (entry in after)
        assert kept or size > 6_000 or entry not in after
        for other in before:
            replaced = other.key == entry.key and (other.variant == entry.variant or other.vary != entry.vary)
            if replaced:
                assert other not in after
        assert set(after) <= {*before, entry}
        self.held = after

    @rule(data=st.data())
    def hit(self, data: st.DataObject) -> None:
        if self.held:
            self.store.on_hit(data.draw(st.sampled_from(self.held)))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.held:
            entry = data.draw(st.sampled_from(self.held))
            assert self.store.remove(entry)
            assert not self.store.remove(entry)
            self.held.remove(entry)

    def purged(self, matching: list[Entry], count: int, soft: bool) -> None:
        assert count == len(matching)
        after = self.reachable()
        if soft:
            assert set(after) == set(self.held)
            assert all(entry.fresh_until == 0.0 for entry in matching)
        else:
            assert set(after) == set(self.held) - set(matching)
            self.held = after

    @rule(host=st.sampled_from(HOSTS), path=st.sampled_from(TARGETS), soft=st.booleans())
    def purge_url(self, host: bytes, path: bytes, soft: bool) -> None:
        matching = [entry for entry in self.held if (entry.host, entry.target) == (host, path)]
        self.purged(matching, self.store.purge_url(host.upper(), path, soft), soft)

    @rule(host=st.sampled_from(HOSTS), prefix=st.sampled_from([b"/", b"/a", b"/b", b"/z"]), soft=st.booleans())
    def purge_prefix(self, host: bytes, prefix: bytes, soft: bool) -> None:
        matching = [entry for entry in self.held if entry.host == host and entry.target.startswith(prefix)]
        self.purged(matching, self.store.purge_prefix(host, prefix, soft), soft)

    @rule(host=st.sampled_from(HOSTS), soft=st.booleans())
    def purge_host(self, host: bytes, soft: bool) -> None:
        self.purged([entry for entry in self.held if entry.host == host], self.store.purge_host(host, soft), soft)

    @rule(tag=st.sampled_from(TAGS), soft=st.booleans())
    def purge_tag(self, tag: bytes, soft: bool) -> None:
        self.purged([entry for entry in self.held if tag in entry.tags], self.store.purge_tag(tag, soft), soft)

    @rule(service=st.sampled_from(SERVICES), soft=st.booleans())
    def purge_service(self, service: str, soft: bool) -> None:
        self.purged([entry for entry in self.held if entry.service == service], self.store.purge_service(service, soft), soft)

    @rule(data=st.data(), soft=st.booleans())
    def purge_key(self, data: st.DataObject, soft: bool) -> None:
        if self.held:
            key = data.draw(st.sampled_from(self.held)).key.removesuffix(part_key(b""))
            matching = [entry for entry in self.held if entry.key.removesuffix(part_key(b"")) == key]
            self.purged(matching, self.store.purge_key(key, soft), soft)

    @precondition(lambda self: len(self.held) > 6)
    @rule()
    def purge_all(self) -> None:
        self.purged(self.held, self.store.purge_all(), False)

    @rule(size=st.integers(8_000, 40_000))
    def resize(self, size: int) -> None:
        self.store.resize(size, 6_000)
        after = self.reachable()
        assert set(after) <= set(self.held)
        self.held = after

    @rule(now=st.sampled_from([50.0, 200.0]))
    def sweep(self, now: float) -> None:
        before = len(self.held)
        dropped = self.store.sweep(now, 1_000)
        self.held = self.reachable()
        assert len(self.held) == before - dropped
        assert all(entry.fresh_until >= now for entry in self.held), "stale, without a validator, of no use"

    @invariant()
    def counts_what_can_be_found(self) -> None:
        found = self.reachable()
        store = self.store
        assert set(found) == set(self.held) and len(found) == len(set(found))
        assert sorted(map(id, store.entries())) == sorted(map(id, found)), "the listing knows the same ones"
        assert store.used_bytes == sum(entry.size for entry in found) <= store.size_bytes
        assert (store.count, store.parts) == (len(found), sum(entry.first >= 0 for entry in found))
        for service, stats in store.by_service.items():
            own = [entry for entry in found if entry.service == service]
            assert (stats.entries, stats.bytes) == (len(own), sum(entry.size for entry in own))
        for entry in found:
            if entry.first >= 0 and not entry.vary:
                assert store.find_part(entry.key.removesuffix(part_key(b"")), request()) is entry


@pytest.mark.parametrize("name", NAMES)
def test_the_store_under_each_policy(name: str) -> None:
    machine = type(f"Store{name.title()}", (StoreMachine,), {"policy": name})
    case = machine.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    case().runTest()
