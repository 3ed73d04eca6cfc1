"""Requests that wait to be executed: one's own with their tickets, others' to watch their primary by (4.1, 4.4)."""

from collections import deque
from math import inf

from msgspec import Struct

from agent.core.pbft.config import PbftConfig
from agent.core.pbft.messages import Batch, Request
from agent.core.pbft.wire import request_digest


class Waiting(Struct, gc=False):
    """`since`: when it was first seen, or when the view began in which it still waits. `shown`: when its origin last showed it to all."""

    request: Request
    size: int
    since: float
    shown: float = -inf
    proposed: int = -1
    """The view in which this primary proposed it."""
    tickets: tuple[int, ...] = ()

    def show_at(self, relay_s: float) -> float:
        """After `relay_s`, then each time twice as late."""
        return self.since + relay_s if self.shown < self.since else self.shown + (self.shown - self.since) + relay_s


def size_of(request: Request) -> int:
    return 128 + sum(map(len, request.items)) + 8 * len(request.items)


class Pending:
    """At most `pending_max` of each origin, and those only of members."""

    def __init__(self, config: PbftConfig) -> None:
        self._config = config
        self._waiting: dict[tuple[int, int], Waiting] = {}
        self._counts: dict[int, int] = {}
        self._queue: deque[tuple[int, int]] = deque()
        """What a primary has not proposed yet, in the order in which it came."""

    def get(self, origin: int, number: int) -> Waiting | None:
        return self._waiting.get((origin, number))

    def knows(self, request: Request) -> bool:
        """Was this very request found to be its origin's before?"""
        found = self._waiting.get((request.origin, request.number))
        return found is not None and (found.request == request or request_digest(found.request) == request_digest(request))

    def room(self, origin: int) -> bool:
        return self._counts.get(origin, 0) < self._config.pending_max

    def add(self, request: Request, now: float, tickets: tuple[int, ...] = ()) -> Waiting | None:
        """None where it is known, or where its origin has too many."""
        key = (request.origin, request.number)
        if key in self._waiting or not self.room(request.origin):
            return None
        waiting = self._waiting[key] = Waiting(request, size_of(request), now, tickets=tickets)
        self._counts[request.origin] = self._counts.get(request.origin, 0) + 1
        self._queue.append(key)
        return waiting

    def done(self, origin: int, number: int) -> Waiting | None:
        waiting = self._waiting.pop((origin, number), None)
        if waiting is not None:
            self._counts[origin] -= 1
        return waiting

    def take(self, view: int) -> Batch | None:
        """The next batch of a primary."""
        chosen: list[Request] = []
        size = 0
        while self._queue and len(chosen) < self._config.max_batch_requests:
            waiting = self._waiting.get(self._queue[0])
            if waiting is not None and waiting.proposed != view:
                if chosen and size + waiting.size > self._config.max_batch_bytes:
                    break
                size += waiting.size
                waiting.proposed = view
                chosen.append(waiting.request)
            self._queue.popleft()
        return Batch(view, tuple(chosen)) if chosen else None

    def new_view(self, now: float) -> None:
        """Everything that waits is to be proposed again, and gets the new primary's time."""
        self._queue = deque(self._waiting)
        for waiting in self._waiting.values():
            waiting.since = now
            waiting.proposed = -1
            waiting.shown = -inf

    def note_proposed(self, batch: Batch, view: int) -> None:
        for request in batch.requests:
            waiting = self._waiting.get((request.origin, request.number))
            if waiting is not None:
                waiting.proposed = view

    def mine(self, me: int) -> list[Waiting]:
        return [waiting for (origin, _), waiting in self._waiting.items() if origin == me]

    def all(self) -> list[Waiting]:
        return list(self._waiting.values())

    def oldest(self) -> float:
        """Since when the one that waits longest has waited; infinity for none."""
        # Insertion is in the order of times, and a new view gives all of them the same.
        for waiting in self._waiting.values():
            return waiting.since
        return inf

    def __len__(self) -> int:
        return len(self._waiting)
