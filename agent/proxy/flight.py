"""The side of a fill that faces its readers: who waits, who reads, how fast, and until when one may join.

The fill belongs to no client. Whoever asked first may leave, read slowly or be cut off; the others read on from the partial
entry at their own pace.
"""

from typing import Any, Final

from agent.core.cache import cache_status
from agent.core.cache.entry import Entry
from agent.core.cache.vary import variant_of
from agent.core.http.fields import Field
from agent.core.http.head import RequestHead
from agent.proxy import counters
from agent.proxy.datapath import DataPath, RoutePolicy
from agent.proxy.exchange import Exchange, Source
from agent.proxy.forward import Forward
from agent.proxy.release import Leaver, ReleaseGate
from agent.proxy.serve import start_streaming

WAITING: Final = 0
STREAMING: Final = 1
PASSING: Final = 2
DONE: Final = 3


class Flight(Source):
    """A response on its way to several readers, and into the cache."""

    def __init__(self, path: DataPath, leaver: Leaver, flight: bytes, head: RequestHead, key: bytes, policy: RoutePolicy) -> None:
        self.path = path
        self.leaver = leaver
        self.flight = flight
        self.head = head
        self.key = key
        self.policy = policy
        self.stale: Entry | None = None
        """The stored response that is being validated."""
        self.part: Entry | None = None
        """The stored part that is being completed."""
        self.tail: list[bytes] = []
        """Its octets, where they come after those that are on their way."""
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
        self.held = 0
        """Bytes of the body that are in memory, as the store counts them in `filling`."""
        self.paused = False
        self.requested_at = path.wall()
        self.asked_at = path.now
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
        if self._purged() or self.asked_at < self.path.store.stale_before:
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

    def _start(self, reader: Exchange, entry: Entry, collapsed: bool) -> None:
        value = cache_status.collapsed(self.status_value) if collapsed else self.status_value
        reader.outcome = counters.MISS
        reader.upstream = self.forward.upstream if self.forward is not None else ""
        if not start_streaming(reader, entry, self.length, self.path.wall(), value, [] if collapsed else self.unshared):
            return
        reader.reader_index = self.base
        self._advance(reader, entry)

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
        self._charge(held)
        limit = self.path.http.buffer_bytes_max
        if held > limit and not self.paused:
            self.paused = True
            self.forward.pause()
        elif held <= limit and self.paused:
            self.paused = False
            self.forward.resume()

    # -- the end

    def _charge(self, held: int) -> None:
        """Tell the store how much of the response is in memory."""
        self.path.store.filling += held - self.held
        self.held = held

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

    def _finish(self) -> None:
        """The response is over. What refers to each other is let go of here, so that no collector is needed."""
        self.state = DONE
        self._land()
        self._charge(0)
        self.forward = None
        self.leader = None

    def _cancel(self) -> None:
        self.state = DONE
        self._land()
        self._charge(0)
        self.entry = None
        forward = self.forward
        if forward is not None:
            self.forward = None
            forward.cancel()
