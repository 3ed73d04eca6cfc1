"""How much of the time this process's cgroup was not allowed to run (CFS bandwidth control): what sidecars' false deaths come from."""

import os
from typing import Final

CGROUP_FILE: Final = "/proc/self/cgroup"
CGROUP_ROOT: Final = "/sys/fs/cgroup"


def stat_path(cgroup_file: str = CGROUP_FILE, root: str = CGROUP_ROOT) -> str:
    """This process's cpu.stat, of version 2 or 1; empty where there is none."""
    try:
        with open(cgroup_file, encoding="utf-8", errors="replace") as file:
            lines = file.read(65_536).splitlines()
    except OSError:
        return ""
    candidates = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            candidates += [root + path.rstrip("/") + "/cpu.stat", root + "/cpu.stat"]
        elif "cpu" in controllers.split(","):
            candidates += [
                f"{root}/{controllers}{path.rstrip('/')}/cpu.stat",
                f"{root}/cpu{path.rstrip('/')}/cpu.stat",
                f"{root}/cpu/cpu.stat",
            ]
    return next((path for path in candidates if os.path.exists(path)), "")


class Throttle:
    """`read` says what share of the time since it was last called was lost; 0 where the kernel does not tell."""

    def __init__(self, path: str | None = None) -> None:
        self.path = stat_path() if path is None else path
        self.throttled_s = 0.0
        """All of it since the cgroup began."""
        self._read_at = float("-inf")

    def read(self, now: float) -> float:
        """Seconds throttled a second; above 1 where several threads were held."""
        before, at = self.throttled_s, self._read_at
        self._read_at = now
        self.throttled_s = self._total()
        if now <= at or at == float("-inf"):
            return 0.0
        return max(self.throttled_s - before, 0.0) / (now - at)

    def _total(self) -> float:
        if not self.path:
            return 0.0
        try:
            with open(self.path, encoding="ascii", errors="replace") as file:
                fields = dict(line.partition(" ")[::2] for line in file.read(65_536).splitlines())
            if "throttled_usec" in fields:
                return int(fields["throttled_usec"]) / 1e6
            return int(fields.get("throttled_time", "0")) / 1e9
        except (OSError, ValueError):
            return 0.0
