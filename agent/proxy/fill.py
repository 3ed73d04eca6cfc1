"""One flight for one key: a response on its way into the cache, and the requests that wait for it.

The flight belongs to no client. Whoever asked first may leave, read slowly or be cut off; the others read on from the
partial entry at their own pace. When the response turns out not to be for the cache, it goes to the first, and the others
are let go a few at a time, so that what was one request does not become a thousand at once.
"""

from time import perf_counter
from typing import Any, Final

from agent.core.cache import cache_status
from agent.core.cache.entry import Entry
from agent.core.cache.rules import may_serve_stale_on_error
from agent.core.cache.storage import Storage, decide_storage, make_entry, unshared_fields
from agent.core.cache.validation import merge_304
from agent.core.cache.vary import variant_of
from agent.core.http import fields as f
from agent.core.http.fields import Field
from agent.core.http.head import LENGTH, NO_BODY, RequestHead, ResponseHead
from agent.proxy import counters
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.exchange import Exchange, Source
from agent.proxy.forward import Forward
from agent.proxy.release import Leaver, ReleaseGate, note_pass
from agent.proxy.serve import serve_entry, start_streaming
from agent.proxy.sink import Failure

WAITING: Final = 0
STREAMING: Final = 1
PASSING: Final = 2
DONE: Final = 3

JOIN_MAX: Final = 65_536
"""Bodies up to this size are kept as one piece."""


class Fill(Source):
    """A response on its way into the cache."""

    def __init__(self, path: DataPath, leaver: Leaver, flight: bytes, head: RequestHead, key: bytes, policy: RoutePolicy) -> None:
        self.path = path
        self.leaver = leaver
        self.flight = flight
        self.head = head
        self.key = key
        self.policy = policy
        self.stale: Entry | None = None
        """The stored response that is being validated."""
        self.forward: Forward | None = None
        self.leader: Exchange | None = None
        self.readers: list[Exchange] = []
        self.entry: Entry | None = None
        self.state = WAITING
        self.joinable = True
        self.length = -1
        self.total = 0
        self.base = 0
        """Pieces dropped from the front of the entry's body, once it is known to be too large to keep."""
        self.keeping = True
        self.paused = False
        self.requested_at = path.wall()
        self.epoch = path.store.epoch
        self.unshared: list[Field] = []
        """Fields of the response that are for the first reader alone."""
        self.timer: Any = None
        self.fwd = b"uri-miss"
        """Why the request went to the upstream, in the words of RFC 9211."""
        self.status_value = b""

    # -- readers

    def lead(self, exchange: Exchange) -> None:
        self.leader = exchange
        self.readers.append(exchange)
        exchange.source = self

    def join(self, exchange: Exchange) -> bool:
        """Let another request wait for this response. False where it cannot."""
        if not self.joinable or len(self.readers) > self.policy.cache.waiters_max:
            return False
        if self._purged():
            self._land()  # who asks after the purge must not get what was sent before it
            return False
        if self.state == STREAMING:
            entry = self.entry
            if entry is None or (entry.vary and variant_of(entry.vary, exchange.head) != entry.variant):
                return False
            exchange.source = self
            self.readers.append(exchange)
            self._start(exchange, entry, True)
            return True
        if self.state != WAITING:
            return False
        exchange.source = self
        self.readers.append(exchange)
        if self.timer is None and self.policy.cache.wait_timeout > 0.0:
            self.timer = self.path.loop.call_later(self.policy.cache.wait_timeout, self._waited_enough)
        return True

    def reader_left(self, exchange: Exchange) -> None:
        if exchange in self.readers:
            self.readers.remove(exchange)
        if exchange is self.leader:
            self.leader = None
            if self.state == PASSING:
                self._cancel()
        elif self.paused:
            self._pace()
        if not self.keeping and not self.readers and self.state == STREAMING:
            self._cancel()

    def reader_ready(self, exchange: Exchange) -> None:
        if self.state == PASSING:
            if self.forward is not None:
                self.forward.resume()
            return
        entry = self.entry
        if entry is None:
            return
        self._advance(exchange, entry)
        if self.paused:
            self._pace()

    def _waited_enough(self) -> None:
        self.timer = None
        if self.state == WAITING:
            others = [exchange for exchange in self.readers if exchange is not self.leader]
            self.readers = [self.leader] if self.leader is not None else []
            ReleaseGate(self.leaver, others).open()

    # -- ResponseSink

    def on_informational(self, head: ResponseHead) -> None:
        if self.leader is not None:
            self.leader.on_informational(head)

    def on_response(self, head: ResponseHead) -> None:
        now = self.path.wall()
        stale = self.stale
        if stale is not None:
            if head.status == 304:
                self._on_validated(stale, head, now)
                return
            if head.status >= 500 and self._serve_stale(stale, now, head.status):
                return
        policy = self.policy
        decision = decide_storage(self.head, head, policy.cache, now)
        plugins = self.path.plugins
        if decision.store and plugins.store_hooks and decision.lifetime is not None:
            if not plugins.may_store(policy.cluster.name, self.head.authority, self.head.target, head.status, decision.lifetime.seconds):
                decision = Storage(False, "plugin", "configuration plugins")
        self._note(decision)
        if decision.store:
            entry = make_entry(self.key, policy.cluster.name, self.head, head, policy.cache, self.requested_at, now, decision)
            self.entry = entry
            self.unshared = unshared_fields(head, decision, policy.cache)
            self.length = head.content_length if head.body == LENGTH else 0 if head.body == NO_BODY else -1
            if self.length > self.path.store.object_bytes_max:
                self.keeping = False
                self._land()
            self._to_readers(entry, now, head.status)
            return
        self._pass_on(head, stale, now)

    def _note(self, decision: Storage) -> None:
        leader = self.leader
        if leader is not None and leader.trace is not None:
            lifetime = decision.lifetime
            fresh: Any = (lifetime.seconds, lifetime.rule, lifetime.section) if lifetime is not None else None
            leader.trace.append((perf_counter(), "storage", decision.store, decision.rule, decision.section, fresh))

    def _on_validated(self, stale: Entry, head: ResponseHead, now: float) -> None:
        merged = merge_304(stale, head, self.head, self.policy.cache, self.requested_at, now)
        if merged is None:
            # The validator that was confirmed is not the one stored: forget it and ask for the whole.
            self.path.store.remove(stale)
            self.stale = None
            self.forward = None
            self.leaver.refetch(self)
            return
        if self._purged():
            self.path.store.remove(stale)
        else:
            self.path.store.put(merged)
        self._land()
        self.state = DONE
        value = cache_status.forwarded(b"stale", 304, True, False)
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.source = None
            reader.outcome = counters.REVALIDATED
            serve_entry(reader, merged, now, value if reader is self.leader else cache_status.collapsed(value))

    def _serve_stale(self, stale: Entry, now: float, status: int) -> bool:
        """Answer with the stale response whoever may have it; True when the upstream's error is not needed by anyone."""
        served = []
        for reader in self.readers:
            if may_serve_stale_on_error(stale, reader.head, now, self.policy.cache):
                served.append(reader)
        for reader in served:
            self.readers.remove(reader)
            reader.source = None
            reader.outcome = counters.STALE
            self.policy.counters.stale_served += 1
            serve_entry(reader, stale, now, cache_status.stale(stale, now, status))
        if self.leader in served:
            self.leader = self.readers[0] if self.readers else None
        if self.readers:
            return False
        self._cancel()
        return True

    def _to_readers(self, entry: Entry, now: float, status: int) -> None:
        self.state = STREAMING
        self.status_value = cache_status.forwarded(self.fwd, status, self.keeping, False)
        strangers = []
        for reader in list(self.readers):
            if reader is not self.leader and entry.vary and variant_of(entry.vary, reader.head) != entry.variant:
                strangers.append(reader)
            elif not reader.over:
                self._start(reader, entry, reader is not self.leader)
        for stranger in strangers:
            self.readers.remove(stranger)
        ReleaseGate(self.leaver, strangers).open()

    def _start(self, reader: Exchange, entry: Entry, collapsed: bool) -> None:
        value = cache_status.collapsed(self.status_value) if collapsed else self.status_value
        reader.outcome = counters.MISS
        reader.upstream = self.forward.upstream if self.forward is not None else ""
        if not start_streaming(reader, entry, self.length, self.path.wall(), value, [] if collapsed else self.unshared):
            return
        reader.reader_index = self.base
        self._advance(reader, entry)

    def _pass_on(self, head: ResponseHead, stale: Entry | None, now: float) -> None:
        """The response is for its first reader alone."""
        if stale is not None and head.status < 500:
            self.path.store.remove(stale)
        self.state = PASSING
        self._land()
        if head.status not in (206, 304) and not self.head.flags & f.CACHE_CONTROL:
            # Not where it was this one request that kept its response from being shared.
            note_pass(self.path.hit_for_pass, self.flight, now)
        leader = self.leader
        others = [reader for reader in self.readers if reader is not leader]
        self.readers = [leader] if leader is not None else []
        if leader is not None:
            leader.outcome = counters.MISS
            leader.cache_status = cache_status.forwarded(self.fwd, head.status, False, False)
            leader.upstream = self.forward.upstream if self.forward is not None else ""
            leader.send_response(head)
        else:
            self._cancel()
        ReleaseGate(self.leaver, others).open()

    def on_body(self, piece: bytes) -> None:
        if self.state == PASSING:
            leader = self.leader
            if leader is not None:
                leader.send_piece(piece)
                if leader.connection.writing_paused and self.forward is not None:
                    self.forward.pause()
            return
        entry = self.entry
        if entry is None or self.state != STREAMING:
            return
        self.total += len(piece)
        entry.body.append(piece)
        if self.keeping and self.total > self.path.store.object_bytes_max:
            self.keeping = False
            self._land()
        for reader in list(self.readers):
            if not reader.connection.writing_paused:
                self._advance(reader, entry)
        if not self.keeping:
            self._pace()

    def on_flush(self) -> None:
        for reader in list(self.readers):
            reader.on_flush()

    def on_end(self, trailers: list[Field]) -> None:
        if self.state == PASSING:
            self.state = DONE
            leader = self.leader
            if leader is not None:
                self.leader = None
                leader.source = None
                leader.send_end(trailers)
            return
        if self.state != STREAMING:
            return
        entry = self.entry
        assert entry is not None
        self.state = DONE
        self._land()
        entry.length = self.total
        if self.keeping and not self._purged():
            self.path.hit_for_pass.pop(self.flight, None)
            if self.path.store.put(entry):
                self.policy.counters.stored += 1
        for reader in list(self.readers):
            if not reader.over and not reader.connection.writing_paused:
                self._advance(reader, entry)
        if self.keeping and self.total <= JOIN_MAX and len(entry.body) > 1 and not self.readers:
            entry.body = [b"".join(entry.body)]

    def on_abort(self, failure: Failure) -> None:
        self.policy.counters.fills_failed += 1
        self.state = DONE
        self._land()
        readers, self.readers = self.readers, []
        self.entry = None
        for reader in readers:
            reader.source = None
            reader.on_abort(failure)

    def on_failed(self, failure: Failure) -> None:
        self.policy.counters.fills_failed += 1
        stale = self.stale
        if stale is not None and self._serve_stale(stale, self.path.wall(), failure.status):
            return
        self.state = DONE
        self._land()
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.source = None
            reader.cache_status = cache_status.forwarded(self.fwd, failure.status, False, False)
            reader.fail(failure)

    # -- pace

    def _advance(self, reader: Exchange, entry: Entry) -> None:
        """Write to one reader what it has not had."""
        body = entry.body
        index = reader.reader_index - self.base
        while index < len(body) and not reader.connection.writing_paused:
            reader.send_piece(body[index])
            index += 1
        reader.reader_index = index + self.base
        if self.state == DONE and index >= len(body) and not reader.over:
            if reader in self.readers:
                self.readers.remove(reader)
            reader.source = None
            reader.send_end([])

    def _pace(self) -> None:
        """Past the size that is kept, the slowest reader sets the pace, and what all have had is dropped."""
        entry = self.entry
        if entry is None or self.state != STREAMING or self.forward is None:
            return
        slowest = self.base + len(entry.body)
        for reader in self.readers:
            if reader.reader_index < slowest:
                slowest = reader.reader_index
        if slowest > self.base:
            del entry.body[: slowest - self.base]
            self.base = slowest
        held = 0
        for piece in entry.body:
            held += len(piece)
        limit = self.path.http.buffer_bytes_max
        if held > limit and not self.paused:
            self.paused = True
            self.forward.pause()
        elif held <= limit and self.paused:
            self.paused = False
            self.forward.resume()

    # -- the end

    def _purged(self) -> bool:
        """A purge came for this URL after the request had been sent."""
        return self.path.store.purged_since(self.epoch, self.head.authority, self.head.target, self.key)

    def _land(self) -> None:
        """No one can join any more."""
        self.joinable = False
        if self.path.fills.get(self.flight) is self:
            del self.path.fills[self.flight]
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _cancel(self) -> None:
        self.state = DONE
        self._land()
        self.entry = None
        forward = self.forward
        if forward is not None:
            self.forward = None
            forward.cancel()
