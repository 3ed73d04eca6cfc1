"""The agent's own log: one JSON object (or text line) an event, on standard error. Never raises into its callers."""

import json
import sys
import time
from typing import Any, Final

LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}
REPEATS_PER_S: Final = 20
"""Lines of one event in a second; more are counted and said once."""


class Logger:
    def __init__(self, level: str = "info", form: str = "json") -> None:
        self.configure(level, form)
        self.dropped = 0
        self._second = 0
        self._counts: dict[str, int] = {}

    def configure(self, level: str, form: str) -> None:
        """From which level on, and as ``json`` or ``text``."""
        self.threshold = LEVELS[level]
        self.form = form

    def write(self, level: str, event: str, **details: Any) -> None:
        """One event. Details must be plain values."""
        if LEVELS[level] < self.threshold:
            return
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        count = self._counts.get(event, 0) + 1
        self._counts[event] = count
        if count > REPEATS_PER_S:
            self.dropped += 1
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        try:
            if self.form == "json":
                line = json.dumps({"ts": stamp, "level": level, "event": event, **details}, default=str)
            else:
                line = f"{stamp} {level:7} {event} " + " ".join(f"{key}={value}" for key, value in details.items())
            sys.stderr.write(line + "\n")
        except (OSError, ValueError):
            self.dropped += 1

    def info(self, event: str, **details: Any) -> None:
        self.write("info", event, **details)

    def warning(self, event: str, **details: Any) -> None:
        self.write("warning", event, **details)

    def error(self, event: str, **details: Any) -> None:
        self.write("error", event, **details)
