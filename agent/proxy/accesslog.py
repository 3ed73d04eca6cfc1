"""The access log: JSON lines, sampled, written by a thread so that a slow disk holds up no request."""

import json
import queue
import sys
import threading
import time
from typing import Any

from agent.proxy import counters
from agent.proxy.config import AccessLog


class AccessLogger:
    def __init__(self, config: AccessLog) -> None:
        self.written = 0
        self.dropped = 0
        self.errors = 0
        self._path = config.path
        self._sample = config.sample
        self._seen = 0.0
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(config.queue_max)
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def record(self, exchange: Any, elapsed_s: float) -> None:
        """An exchange is over."""
        if not self._wanted(exchange.status >= 500 or bool(exchange.flag)):
            return
        head = exchange.head
        self._put(
            {
                "ts": time.time(),
                "client": exchange.connection.client.decode("latin-1"),
                "method": head.method.decode("latin-1"),
                "authority": head.authority.decode("latin-1"),
                "target": head.target.decode("latin-1"),
                "status": exchange.status,
                "bytes": exchange.bytes_out,
                "ms": round(elapsed_s * 1000, 3),
                "service": exchange.policy.cluster.name if exchange.policy is not None else "",
                "outcome": counters.OUTCOMES[exchange.outcome],
                "upstream": exchange.upstream,
                "flag": exchange.flag,
                "detail": exchange.detail,
                "request_id": exchange.request_id.decode("latin-1"),
            }
        )

    def record_hit(self, connection: Any, head: Any, entry: Any, policy: Any, elapsed_s: float) -> None:
        """A plain request was answered from the store."""
        if self._wanted(False):
            self._put(
                {
                    "ts": time.time(),
                    "client": connection.client.decode("latin-1"),
                    "method": "GET",
                    "authority": head.authority.decode("latin-1"),
                    "target": head.target.decode("latin-1"),
                    "status": entry.status,
                    "bytes": entry.length,
                    "ms": round(elapsed_s * 1000, 3),
                    "service": policy.cluster.name,
                    "outcome": "hit",
                    "flag": "",
                }
            )

    def record_refused(self, connection: Any, failure: Any) -> None:
        """What came was no request."""
        self._put(
            {
                "ts": time.time(),
                "client": connection.client.decode("latin-1"),
                "status": failure.status,
                "flag": failure.flag,
                "detail": failure.detail,
            }
        )

    def _wanted(self, always: bool) -> bool:
        if always:
            return True
        self._seen += self._sample
        if self._seen >= 1.0:
            self._seen -= 1.0
            return True
        return False

    def _put(self, row: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        file: Any = None
        while True:
            row = self._queue.get()
            try:
                if row is None:
                    return
                if file is None:
                    file = sys.stdout if self._path == "-" else open(self._path, "a", encoding="ascii")  # noqa: SIM115 - outlives the loop
                file.write(json.dumps(row) + "\n")
                if self._queue.empty():
                    file.flush()
                self.written += 1
            except (OSError, ValueError):
                self.errors += 1
                file = None

    def close(self) -> None:
        """Write what waits, then stop."""
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(2.0)
