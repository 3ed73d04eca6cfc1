"""What is to be spread, sent fewest times first, each message a bounded number of times; memberlist's TransmitLimitedQueue.

Two queues share a packet: what members say of each other, and the application's. Neither starves the other: while both have
something to say they take turns at going first; the first has half of the budget, the second all that is left.
"""

from collections import deque
from collections.abc import Callable

from agent.core.swim.config import SwimConfig
from agent.core.swim.messages import Foreign, Message, User
from agent.core.swim.sizes import PACKED_BYTES

MISFITS_MAX = 4
"""So many queued messages too large for the room that is left are passed over before a packet is full enough."""
COMPOUND_MAX = 255
"""memberlist counts the messages of a compound in one octet."""


class Queued:
    __slots__ = ("gone", "key", "message", "sent", "size")

    def __init__(self, key: str, message: Message, size: int) -> None:
        self.key = key
        self.message = message
        self.size = size
        self.sent = 0
        self.gone = False
        """Replaced, dropped, or sent as often as needed."""


class BroadcastQueue:
    __slots__ = ("_by_key", "_by_sent", "count", "dropped")

    def __init__(self) -> None:
        self._by_key: dict[str, Queued] = {}
        self._by_sent: list[deque[Queued]] = [deque()]
        self.count = 0
        self.dropped = 0

    def push(self, key: str, message: Message, size: int) -> Queued:
        """Queue it, in place of an earlier one with the same key."""
        queued = Queued(key, message, size)
        if key:
            self.cancel(key)
            self._by_key[key] = queued
        self._by_sent[0].append(queued)
        self.count += 1
        return queued

    def cancel(self, key: str) -> None:
        """What was queued under the key is no longer true."""
        before = self._by_key.get(key)
        if before is not None:
            self._finish(before)

    def drop_stalest(self) -> None:
        """Make room: the one that was sent most often goes."""
        for sent in range(len(self._by_sent) - 1, -1, -1):
            bucket = self._by_sent[sent]
            while bucket:
                queued = bucket.popleft()
                if not queued.gone:
                    self._finish(queued)
                    self.dropped += 1
                    return

    def take(self, room: int, limit: int, into: list[Message]) -> int:
        """Move what fits into `into`, each sent once more and for the last time at `limit`. Returns the octets taken."""
        used = 0
        misfits: list[Queued] = []
        again: list[Queued] = []
        for bucket in self._by_sent:
            while bucket and len(misfits) < MISFITS_MAX and len(into) < COMPOUND_MAX - 2:
                queued = bucket.popleft()
                if queued.gone:
                    continue
                size = queued.size + PACKED_BYTES
                if used + size > room:
                    misfits.append(queued)
                    continue
                used += size
                into.append(queued.message)
                queued.sent += 1
                if queued.sent >= limit:
                    self._finish(queued)
                else:
                    again.append(queued)
        for queued in again:
            while len(self._by_sent) <= queued.sent:
                self._by_sent.append(deque())
            self._by_sent[queued.sent].append(queued)
        for queued in reversed(misfits):
            self._by_sent[queued.sent].appendleft(queued)
        return used

    def _finish(self, queued: Queued) -> None:
        queued.gone = True
        self.count -= 1
        if queued.key and self._by_key.get(queued.key) is queued:
            del self._by_key[queued.key]


class Broadcasts:
    """Both queues, as the packets see them."""

    __slots__ = ("_config", "_size_of", "_users_first", "members", "users")

    def __init__(self, config: SwimConfig, size_of: Callable[[Message], int]) -> None:
        self._config = config
        self._size_of = size_of
        self.members = BroadcastQueue()
        self.users = BroadcastQueue()
        self._users_first = False

    def about(self, name: str, message: Message) -> Queued:
        """News of a member, in place of what was queued about it before."""
        return self.members.push(name, message, self._size_of(message))

    def user(self, key: str, payload: bytes, foreign: bool = False) -> None:
        message = Foreign(payload) if foreign else User(payload)
        size = self._size_of(message)
        if size + PACKED_BYTES > self._config.packet_bytes // 2:
            raise ValueError(f"broadcast of {len(payload)} octets: expected at most {self._config.packet_bytes // 2 - PACKED_BYTES - 4}")
        if self.users.count >= self._config.user_queue_max:
            self.users.drop_stalest()
        self.users.push(key, message, size)

    def fill(self, room: int, limit: int) -> list[Message]:
        """What goes into a packet with so much room."""
        into: list[Message] = []
        if not self.users.count:
            self.members.take(room, limit, into)
        elif not self.members.count:
            self.users.take(room, limit, into)
        else:
            self._users_first = not self._users_first
            first, second = (self.users, self.members) if self._users_first else (self.members, self.users)
            used = first.take(room // 2, limit, into)
            second.take(room - used, limit, into)
        return into
