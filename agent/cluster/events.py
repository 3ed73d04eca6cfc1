"""What happens in the cluster, for whoever watches."""

import time
from collections.abc import Callable
from typing import Any, Final

WATCHERS_MAX: Final = 64

Event = dict[str, Any]
"""at (seconds since 1970), kind, member, detail."""


class Events:
    """`tell` is cheap and never raises; a watcher is called on the loop and must not block."""

    def __init__(self, on_fault: Callable[[], None]) -> None:
        self.counts: dict[str, int] = {}
        self._on_fault = on_fault
        self._watchers: list[Callable[[Event], None]] = []

    def tell(self, kind: str, member: str, detail: str = "") -> None:
        """kind: join, update, suspect, refute, fail, leave, reap, conflict (of membership), key."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        event = {"at": round(time.time(), 3), "kind": kind, "member": member, "detail": detail}
        for watcher in tuple(self._watchers):
            try:
                watcher(event)
            except Exception:
                self._on_fault()

    def subscribe(self, watcher: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of everything from now on, until the result is called. Raises RuntimeError where there are too many."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise RuntimeError(f"{WATCHERS_MAX} watch already")
        self._watchers.append(watcher)

        def end() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return end
