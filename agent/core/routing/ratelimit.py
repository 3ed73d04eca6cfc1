"""Token buckets: one for all, or one for each key. Filled when looked at; there are no timers."""

from collections import OrderedDict

from agent.core.http.head import RequestHead
from agent.core.routing.config import RateLimit


class Limiter:
    """The buckets of one `RateLimit`."""

    def __init__(self, config: RateLimit) -> None:
        self.rate = config.requests / config.per if config.per > 0 else float(config.requests)
        """Tokens a second."""
        self.burst = float(config.burst or config.requests)
        self.text = f"{config.requests} requests in {config.per:g} s" + (f" by {config.key}" if config.key else "")
        kind, _, name = config.key.partition(":")
        self._kind = kind
        self._header = name.lower().encode("latin-1")
        self._keys_max = config.keys_max
        self._buckets: OrderedDict[bytes, list[float]] = OrderedDict()
        self.allowed = 0
        self.refused = 0

    def key_of(self, head: RequestHead, client: bytes) -> bytes:
        """Which bucket a request draws from. Requests without the header share one."""
        if not self._kind:
            return b""
        if self._kind == "header":
            return head.get(self._header) or b""
        if self._kind == "path":
            return head.path
        return client

    def take(self, key: bytes, now: float) -> float:
        """0.0 when a token was there and is taken; else the seconds until there is one."""
        buckets = self._buckets
        bucket = buckets.get(key)
        if bucket is None:
            if len(buckets) >= self._keys_max:
                buckets.popitem(last=False)
            bucket = [self.burst, now]
            buckets[key] = bucket
        elif self._kind:
            buckets.move_to_end(key)
        tokens = bucket[0] + max(now - bucket[1], 0.0) * self.rate
        if tokens > self.burst:
            tokens = self.burst
        bucket[1] = now
        if tokens >= 1.0:
            bucket[0] = tokens - 1.0
            self.allowed += 1
            return 0.0
        bucket[0] = tokens
        self.refused += 1
        return (1.0 - tokens) / self.rate

    def level(self, key: bytes) -> float:
        """Tokens that the last `take` of this key left."""
        bucket = self._buckets.get(key)
        return bucket[0] if bucket is not None else self.burst

    def __len__(self) -> int:
        return len(self._buckets)
