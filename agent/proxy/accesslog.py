"""The access log: JSON lines, sampled, written by a thread so that a slow disk holds up no request."""

import contextlib
import json
import queue
import sys
import threading
import time
from typing import Any

from agent.proxy import counters
from agent.proxy.config import AccessLog

_REOPEN = "reopen"
_STOP = "stop"


class AccessLogger:
    def __init__(self, config: AccessLog) -> None:
        self.written = 0
        self.dropped = 0
        self.errors = 0
        self.config = config
        self.last_error = ""
        """Why the last line could not be written; for the one who tells it to empty."""
        self._sample = config.sample
        self._seen = 0.0
        self._queue: queue.Queue[dict[str, Any] | str] = queue.Queue(config.queue_max)
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
                    "upstream": "",
                    "flag": "",
                    "detail": "",
                    "request_id": (head.get(b"x-request-id") or b"").decode("latin-1"),
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
                if isinstance(row, str):
                    _finish(file)
                    file = None
                    if row == _STOP:
                        return
                    continue
                if file is None:
                    file = sys.stdout if self.config.path == "-" else open(self.config.path, "a", encoding="ascii")  # noqa: SIM115 - outlives the loop
                file.write(json.dumps(row) + "\n")
                if self._queue.empty():
                    file.flush()
                self.written += 1
            except (OSError, ValueError) as error:
                self.errors += 1
                self.last_error = str(error)
                file = None

    def reopen(self) -> None:
        """Go on in a file opened anew by its name, after log rotation has moved the old one."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(_REOPEN)

    def close(self) -> None:
        """Write what waits, then stop."""
        try:
            self._queue.put(_STOP, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(2.0)


def _finish(file: Any) -> None:
    if file is sys.stdout:
        file.flush()
    elif file is not None:
        file.close()
