"""One flight for one key: a response on its way into the cache, and the requests that wait for it (`agent.proxy.flight`).

When the response turns out not to be for the cache, it goes to the first, and the others are let go a few at a time, so that
what was one request does not become a thousand at once.
"""

from typing import Final

from agent.core.cache import cache_status
from agent.core.cache.entry import Entry
from agent.core.cache.parts import completed, completes
from agent.core.cache.rules import may_serve_stale_on_error
from agent.core.cache.storage import Storage, make_entry, unshared_fields
from agent.core.cache.validation import merge_304
from agent.core.cache.vary import variant_of
from agent.core.http import fields as f
from agent.core.http.fields import Field
from agent.core.http.head import LENGTH, NO_BODY, ResponseHead
from agent.proxy import counters
from agent.proxy.effects import storage_of
from agent.proxy.flight import DONE, PASSING, STREAMING, Flight
from agent.proxy.release import ReleaseGate, note_pass
from agent.proxy.serve import serve_entry
from agent.proxy.sink import Failure

JOIN_MAX: Final = 65_536
"""Bodies up to this size are kept as one piece."""
PIECES_MAX: Final = 16_384
"""A body in more pieces than this is not kept: each is an object, and some origins send chunks of a few octets."""


class Fill(Flight):
    """A response on its way into the cache."""

    # -- ResponseSink

    def on_informational(self, head: ResponseHead) -> None:
        if self.leader is not None:
            self.leader.on_informational(head)

    def on_response(self, head: ResponseHead) -> None:
        now = self.path.wall()
        part = self.part
        if part is not None:
            self.part = None
            if head.status == 206 or head.status == 416:
                self._on_rest(part, head, now)
                return
        stale = self.stale
        if stale is not None:
            if head.status == 304:
                self._on_validated(stale, head, now)
                return
            if head.status >= 500 and self._serve_stale(stale, now, head.status, True):
                return
        decision = storage_of(self.path, self.policy, self.head, head, now)
        self._note(decision)
        if decision.store:
            self._to_readers(self._begin(head, decision, now), now, head.status)
        else:
            self._pass_on(head, stale, now)

    def _begin(self, head: ResponseHead, decision: Storage, now: float) -> Entry:
        policy = self.policy
        entry = make_entry(self.key, policy.cluster.name, self.head, head, policy.cache, self.requested_at, now, decision)
        entry.asked_at = self.asked_at
        self.entry = entry
        self.unshared = unshared_fields(head, decision, policy.cache)
        self.length = head.content_length if head.body == LENGTH else 0 if head.body == NO_BODY else -1
        if self.length > self.path.store.object_bytes_max:
            self.keeping = False
            self._land()
        return entry

    def _on_rest(self, part: Entry, head: ResponseHead, now: float) -> None:
        """The rest of a stored part came, or cannot be had: then the whole is asked for (RFC 9111 section 3.4)."""
        if completes(part, head) and not self._purged():
            whole = completed(part, head)
            decision = storage_of(self.path, self.policy, self.head, whole, now)
            self._note(decision)
            if decision.store:
                entry = self._begin(whole, decision, now)
                if part.first == 0:
                    entry.body = list(part.body)
                    self.total = part.length
                else:
                    self.tail = part.body
                self._to_readers(entry, now, head.status)
                return
        self.path.store.remove(part)
        forward = self.forward
        self.forward = None
        if forward is not None:
            forward.cancel()
        self.fwd = b"uri-miss"
        self.leaver.refetch(self)

    def _note(self, decision: Storage) -> None:
        leader = self.leader
        if leader is not None and leader.story is not None:
            leader.story.storage_at = self.path.now
            leader.story.storage = decision

    def _on_validated(self, stale: Entry, head: ResponseHead, now: float) -> None:
        merged = merge_304(stale, head, self.head, self.policy.cache, self.requested_at, now)
        if merged is None:
            # The validator that was confirmed is not the one stored: forget it and ask for the whole.
            self.path.store.remove(stale)
            self.stale = None
            self.forward = None
            self.leaver.refetch(self)
            return
        merged.asked_at = self.asked_at
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

    def _serve_stale(self, stale: Entry, now: float, status: int, answered: bool) -> bool:
        """Answer with the stale response whoever may have it; True when the upstream's error is not needed by anyone."""
        served = []
        for reader in self.readers:
            if may_serve_stale_on_error(stale, reader.head, now, answered):
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
        if strangers:
            ReleaseGate(self.leaver, strangers).open()

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
        if others:
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
        if self.keeping:
            store = self.path.store
            self._charge(self.held + len(piece))
            if self.total > store.object_bytes_max or store.filling > store.filling_max or len(entry.body) > PIECES_MAX:
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
            self.forward = None
            leader = self.leader
            if leader is not None:
                self.leader = None
                leader.source = None
                leader.send_end(trailers)
            return
        if self.state == DONE:  # a validation: its readers have been served
            self.forward = None
            self.leader = None
        if self.state != STREAMING:
            return
        entry = self.entry
        assert entry is not None
        for piece in self.tail:
            self.total += len(piece)
            entry.body.append(piece)
        self._finish()
        entry.length = self.total
        if self.keeping and not self._purged():
            self.path.hit_for_pass.pop(self.flight, None)
            store = self.path.store
            if store.put(entry):
                self.policy.counters.stored += 1
            part = store.find_part(self.key, self.head) if store.parts else None
            if part is not None:
                store.remove(part)
        for reader in list(self.readers):
            if not reader.over and not reader.connection.writing_paused:
                self._advance(reader, entry)
        if self.keeping and self.total <= JOIN_MAX and len(entry.body) > 1 and not self.readers:
            entry.body = [b"".join(entry.body)]

    def on_abort(self, failure: Failure) -> None:
        self.policy.counters.fills_failed += 1
        self._finish()
        readers, self.readers = self.readers, []
        self.entry = None
        for reader in readers:
            reader.source = None
            reader.on_abort(failure)

    def on_failed(self, failure: Failure) -> None:
        self.policy.counters.fills_failed += 1
        stale = self.stale
        if stale is not None and self._serve_stale(stale, self.path.wall(), failure.status, False):
            return
        self._finish()
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.source = None
            reader.cache_status = cache_status.forwarded(self.fwd, failure.status, False, False)
            reader.fail(failure)
