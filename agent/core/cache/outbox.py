"""What unsafe requests make stale on the other agents, on its way there.

A burst of them must not flood the mesh: what is said twice is said once, what cannot go yet waits in a bounded queue, and when that is
full one soft purge of the whole service takes the place of all that it would have said, at most one each second.
"""

from typing import Final

RATE: Final = 500.0
"""URLs a second…"""
BURST: Final = 250.0
"""…after so many at once."""
QUEUE_MAX: Final = 512
WIDE_EVERY_S: Final = 1.0


class Order:
    """One invalidation to be sent. service: whose; what is invalid is the URL, or the whole service where `host` is empty."""

    __slots__ = ("host", "service", "target")

    def __init__(self, service: str, host: bytes, target: bytes) -> None:
        self.service = service
        self.host = host
        self.target = target

    @property
    def wide(self) -> bool:
        return not self.host


class Outbox:
    """`now` is monotonic seconds."""

    def __init__(self) -> None:
        self.coalesced = 0
        """Those that another one which had not gone yet stood for."""
        self.widened = 0
        """Purges of a whole service in place of single URLs."""
        self._waiting: dict[bytes, Order] = {}
        self._wide: dict[str, float] = {}
        """Services that are to be purged as a whole, and when."""
        self._wide_at: dict[str, float] = {}
        """When they last were, for those for which that matters still."""
        self._tokens = BURST
        self._filled_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._wide)

    def add(self, service: str, host: bytes, target: bytes, now: float) -> None:
        """A URL is no longer what caches hold of it."""
        key = host + target
        if service in self._wide or key in self._waiting:
            self.coalesced += 1
            return
        if len(self._waiting) < QUEUE_MAX:
            self._waiting[key] = Order(service, host, target)
            return
        for name in [name for name, order in self._waiting.items() if order.service == service]:
            del self._waiting[name]
        self._wide[service] = max(now, self._wide_at.get(service, now - WIDE_EVERY_S) + WIDE_EVERY_S)
        self.widened += 1

    def due(self, now: float) -> list[Order]:
        """What may go now."""
        self._tokens = min(self._tokens + max(now - self._filled_at, 0.0) * RATE, BURST)
        self._filled_at = now
        found: list[Order] = []
        for service in [service for service, at in self._wide.items() if at <= now]:
            del self._wide[service]
            self._wide_at[service] = now
            found.append(Order(service, b"", b""))
        for name in list(self._waiting):
            if self._tokens < 1.0:
                break
            self._tokens -= 1.0
            found.append(self._waiting.pop(name))
        for service in [service for service, at in self._wide_at.items() if now - at >= WIDE_EVERY_S]:
            del self._wide_at[service]
        return found

    def wait_s(self, now: float) -> float:
        """How long until something may go; -1.0 where nothing waits."""
        wait = -1.0
        if self._waiting:
            wait = max((1.0 - self._tokens) / RATE, 0.0)
        for at in self._wide.values():
            until = max(at - now, 0.0)
            wait = until if wait < 0.0 else min(wait, until)
        return wait
