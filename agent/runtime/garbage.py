"""Pauses of the garbage collector, which stop every connection at once: kept short, and counted.

A full collection walks every object that there is. What imports and start-up made lives as long as the process, some 100,000
objects of which a walk takes 14 ms here; set aside (`gc.freeze`), a full collection of what requests made takes about 1 ms.
"""

import ctypes
import gc
from time import perf_counter
from typing import Any


class Collector:
    """Watches the collector of this process."""

    def __init__(self) -> None:
        self.pause_s = 0.0
        "All pauses together."
        self.pause_max_s = 0.0
        self._began = 0.0
        gc.callbacks.append(self._watch)

    def settle(self) -> None:
        """After start-up, and after a reload has dropped the old configuration: collect once, and set aside what is left.

        Switches the collector on: start-up goes without it (`agent.app.cli`), since hardly anything made then is garbage.
        """
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.enable()
        self.pause_max_s = 0.0

    def close(self) -> None:
        """Stop watching."""
        gc.callbacks.remove(self._watch)

    def as_json(self) -> dict[str, Any]:
        """Collections and the objects that they freed, by generation; pauses; how many objects are set aside; whether it is on."""
        stats = gc.get_stats()
        return {
            "collections": [generation["collections"] for generation in stats],
            "collected": [generation["collected"] for generation in stats],
            "pause_s": round(self.pause_s, 6),
            "pause_max_s": round(self.pause_max_s, 6),
            "frozen": gc.get_freeze_count(),
            "enabled": gc.isenabled(),
        }

    def _watch(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        pause_s = perf_counter() - self._began
        self.pause_s += pause_s
        self.pause_max_s = max(self.pause_max_s, pause_s)


def give_back() -> bool:
    """Give the kernel what the C library keeps of freed memory; whether there was any. For after a burst: the more is free, the longer
    it takes (0.1 ms in an agent of 40 MB). Where the C library is not glibc nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim(0)) if trim is not None else False
