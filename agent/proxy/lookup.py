"""From a cacheable request to a stored response, a flight to wait for, or a flight of its own."""

from agent.core.cache import cache_status
from agent.core.cache.entry import Entry
from agent.core.cache.parts import completing_fields, piece_of_part
from agent.core.cache.rules import HIT, HIT_STALE, evaluate, no_store, only_if_cached
from agent.core.cache.validation import revalidation_fields
from agent.core.cache.vary import variant_in_language, variant_of
from agent.core.http import fields as f
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead
from agent.proxy import counters, flags
from agent.proxy.datapath import RoutePolicy
from agent.proxy.exchange import Exchange, Source
from agent.proxy.fill import Fill
from agent.proxy.forward import Forward
from agent.proxy.release import Leaver, passes_now
from agent.proxy.serve import serve_entry
from agent.proxy.sink import Failure
from agent.proxy.story import note_look
from agent.proxy.wire import upstream_wire


class Lookup(Leaver):
    """Stateless but for its name: everything it needs hangs on the exchange."""

    def run(self, exchange: Exchange, policy: RoutePolicy) -> None:
        """Answer from the store, or see to it that somebody asks the upstream."""
        path = exchange.path
        head = exchange.head
        now = path.wall()
        flight = exchange.plan.key
        fwd = b"uri-miss"
        entry: Entry | None = None
        slot = path.store.find(flight)
        if slot is not None:
            entry = slot.entry
            if slot.vary:
                variant = variant_of(slot.vary, head)
                entry = slot.variants.get(variant)
                flight = flight + b"\x00" + variant
                fwd = b"vary-miss"
                if entry is None and policy.cache.vary_language == "select":
                    entry = variant_in_language(slot.vary, slot.variants, variant, head)
                    if entry is not None:
                        path.store.judge(entry)
                        if now >= entry.fresh_until:
                            entry = None
        part: Entry | None = None
        if entry is None and path.store.parts and head.method == b"GET":
            part = path.store.find_part(exchange.plan.key, head)
        if entry is not None:
            path.store.judge(entry)
            if self._answer(exchange, policy, entry, flight, now):
                return
            fwd = b"stale" if now >= entry.fresh_until else b"request"
        elif part is not None and head.flags & f.RANGE and piece_of_part(part, head) is not None:
            path.store.judge(part)
            if self._answer(exchange, policy, part, b"", now):
                return
        elif slot is not None:
            _note_miss(exchange, "only other variants stored", "RFC 9111 4.1")
        else:
            _note_miss(exchange, "nothing stored", "RFC 9111 4")
        if head.flags & f.CACHE_CONTROL and only_if_cached(head):
            exchange.cache_status = cache_status.not_forwarded(b"only-if-cached")
            exchange.fail(Failure(504, flags.ONLY_IF_CACHED, "only-if-cached, and no usable response is stored (RFC 9111 5.2.1.7)"))
            return
        self._to_upstream(exchange, policy, flight, entry, part, fwd, now)

    def _answer(self, exchange: Exchange, policy: RoutePolicy, entry: Entry, flight: bytes, now: float) -> bool:
        """Answer from a stored response if it may be done without asking. flight: empty for a part, which is not validated in
        the background."""
        path = exchange.path
        verdict = evaluate(entry, exchange.head, now, policy.cache)
        if exchange.story is not None:
            note_look(exchange.story, exchange.started, verdict.rule, verdict.section, now - entry.age_base, entry.fresh_until - now)
        if verdict.kind != HIT and (verdict.kind != HIT_STALE or not flight):
            return False
        path.store.on_hit(entry)
        entry.hits += 1
        if verdict.kind == HIT:
            exchange.outcome = counters.HIT
            serve_entry(exchange, entry, now, cache_status.hit(entry, now))
        else:
            exchange.outcome = counters.STALE
            policy.counters.stale_served += 1
            serve_entry(exchange, entry, now, cache_status.hit(entry, now))
            self._revalidate_behind(exchange, policy, entry, flight)
        return True

    def _to_upstream(
        self, exchange: Exchange, policy: RoutePolicy, flight: bytes, stale: Entry | None, part: Entry | None, fwd: bytes, now: float
    ) -> None:
        path = exchange.path
        if exchange.deadline > 0.0:
            exchange.keep_deadline()  # a flight has no client's deadline
        head = exchange.head
        if head.method != b"GET" or (head.flags & f.RANGE and stale is None):
            exchange.outcome = counters.MISS
            if part is not None:
                fwd = b"partial"
            exchange.cache_status = cache_status.forwarded(fwd, 0, False, False)
            start_forward(exchange, policy, [], False)
            return
        alone = bool(head.flags & f.CONDITIONAL and stale is None) or bool(head.flags & f.CACHE_CONTROL and no_store(head))
        if passes_now(path.hit_for_pass, flight, now) and stale is None and part is None:
            exchange.outcome = counters.MISS
            exchange.passing = flight
            exchange.fwd = fwd
            start_forward(exchange, policy, [], False)
            return
        if not alone:
            flying = path.fills.get(flight)
            if flying is not None:
                if flying.join(exchange):
                    policy.counters.collapsed += 1
                    if exchange.story is not None:
                        exchange.story.note("collapsed", len(flying.readers))
                    return
                alone = True
        fill = Fill(path, self, flight, head, exchange.plan.key, policy)
        fill.fwd = fwd
        fill.stale = stale
        fill.joinable = not alone
        if part is not None and not head.flags & f.CONDITIONAL and part.complete <= path.store.object_bytes_max:
            fill.part = part
        fill.lead(exchange)
        if not alone:
            path.fills[flight] = fill
        policy.counters.fills += 1
        self._fly(fill, exchange, policy, stale)

    def _fly(self, fill: Fill, exchange: Exchange, policy: RoutePolicy, stale: Entry | None) -> None:
        validators = revalidation_fields(stale) if stale is not None else []
        part = fill.part
        if part is not None:
            validators = completing_fields(part)
            if validators:
                fill.fwd = b"partial"
            else:
                fill.part = None
        wire = upstream_wire(exchange, policy, validators, stale is not None)
        forward = Forward(fill.path, policy, policy.cluster, fill, fill.head, wire)
        forward.story = exchange.story
        forward.priority = exchange.priority
        forward.hash_key = exchange.hash_key
        fill.forward = forward
        forward.start()

    def _revalidate_behind(self, exchange: Exchange, policy: RoutePolicy, entry: Entry, flight: bytes) -> None:
        """One background validation at a time for a key (RFC 5861 section 3)."""
        path = exchange.path
        if flight in path.fills:
            return
        fill = Fill(path, self, flight, exchange.head, exchange.plan.key, policy)
        fill.fwd = b"stale"
        fill.stale = entry
        path.fills[flight] = fill
        policy.counters.fills += 1
        self._fly(fill, exchange, policy, entry)

    # -- Leaver

    def go_alone(self, exchange: Exchange) -> None:
        policy = exchange.policy
        if policy is None or exchange.over:
            return
        exchange.outcome = counters.MISS
        exchange.cache_status = cache_status.forwarded(b"miss", 0, False, True)
        start_forward(exchange, policy, [], False)

    def refetch(self, fill: Source) -> None:
        assert isinstance(fill, Fill)
        leader = fill.leader
        if leader is None and fill.readers:
            leader = fill.readers[0]
        if leader is None:
            fill._cancel()
            return
        self._fly(fill, leader, fill.policy, None)


def _note_miss(exchange: Exchange, what: str, section: str) -> None:
    if exchange.story is not None:
        note_look(exchange.story, exchange.started, what, section)


def start_forward(exchange: Exchange, policy: RoutePolicy, extra: list[Field], strip_conditionals: bool) -> None:
    """Send the exchange's own request to the upstream, its response straight to the client."""
    wire = upstream_wire(exchange, policy, extra, strip_conditionals)
    exchange.epoch = exchange.path.store.epoch
    head: RequestHead = exchange.head
    forward = Forward(exchange.path, policy, policy.cluster, exchange, head, wire)
    forward.story = exchange.story
    forward.deadline = exchange.deadline
    forward.priority = exchange.priority
    forward.hash_key = exchange.hash_key
    exchange.forward = forward
    if head.has_body:
        exchange.hand_over_body(forward)
    forward.start()
