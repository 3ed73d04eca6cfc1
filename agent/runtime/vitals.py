"""How much of its processor and memory limits the container uses; of the machine's where it has none."""

import os
from pathlib import Path
from time import perf_counter

import psutil

CGROUPS = Path("/sys/fs/cgroup")


class Vitals:
    """Reads cgroup v2 where there is a limit. root, own: for tests."""

    def __init__(self, root: Path = CGROUPS, own: str | None = None) -> None:
        self._group = root / (own if own is not None else own_cgroup())
        self._used_s = self._cpu_used_s()
        self._at = perf_counter()
        self._cpu = 0.0
        psutil.cpu_percent(None)  # the first call only starts the measurement

    def read(self) -> tuple[float, float]:
        """Shares of processor (since the call before) and memory in use, 1.0 being all there is."""
        return self._read_cpu(), self._read_memory()

    def _read_cpu(self) -> float:
        limit = self._cpu_limit()
        now = perf_counter()
        used = self._cpu_used_s()
        if limit <= 0.0:
            return float(psutil.cpu_percent(None)) / 100.0
        if now - self._at > 0.1:
            self._cpu = max(used - self._used_s, 0.0) / (now - self._at) / limit
            self._used_s, self._at = used, now
        return self._cpu

    def _cpu_limit(self) -> float:
        """In processors; 0 where there is none."""
        words = self._text("cpu.max").split()
        try:
            return int(words[0]) / int(words[1])
        except (ValueError, IndexError, ZeroDivisionError):
            return 0.0

    def _cpu_used_s(self) -> float:
        for line in self._text("cpu.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec" and value.isdigit():
                return int(value) / 1e6
        return 0.0

    def _read_memory(self) -> float:
        try:
            return int(self._text("memory.current")) / int(self._text("memory.max"))
        except (ValueError, ZeroDivisionError):
            return float(psutil.virtual_memory().percent) / 100.0

    def _text(self, name: str) -> str:
        try:
            return (self._group / name).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""


def own_cgroup() -> str:
    """This process's group of cgroup v2, relative to the root; empty where it is the root, or there is none."""
    try:
        lines = Path(f"/proc/{os.getpid()}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
