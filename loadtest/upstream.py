"""The upstream that every proxy is measured against: nginx where it is installed, else a small one on uvloop."""

import re
import shutil
import sys
from pathlib import Path

from loadtest.processes import CLIENT_CORE, Process, free_port, get, until

TEMPLATES = Path(__file__).parent / "peers"
SIZES = {"1k": 1024, "64k": 65536}


def body(size: int) -> bytes:
    """What the upstream sends: a text of that many bytes."""
    return (b"The pilotfish swims beside a bigger fish. " * (size // 42 + 1))[:size]


def fill(template: str, values: dict[str, object]) -> str:
    """A template of `peers/` with each ``@name@`` replaced. KeyError for a name without a value."""
    return re.sub(r"@([a-z_]+)@", lambda found: str(values[found[1]]), (TEMPLATES / template).read_text(encoding="utf-8"))


class Upstream:
    """Serves ``/cached/SIZE`` (fresh for an hour), ``/plain/SIZE`` (no-store) and POST ``/post``, and counts its requests."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.counter_port = free_port()
        self._asked = 0
        log = directory / "upstream.log"
        nginx = shutil.which("nginx")
        if nginx:
            for name, size in SIZES.items():
                (directory / name).write_bytes(body(size))
            path = directory / "upstream.conf"
            values = {"directory": directory, "port": self.port, "counter_port": self.counter_port, "small": body(1024).decode()}
            path.write_text(fill("upstream.conf", values), encoding="utf-8")
            command = [nginx, "-p", str(directory), "-e", str(directory / "upstream-error.log"), "-c", str(path)]
        else:
            command = [sys.executable, "-m", "loadtest.small_upstream", str(self.port), str(self.counter_port)]
        self.kind = "nginx" if nginx else "uvloop"
        self.process = Process(command, CLIENT_CORE, log, cwd=Path(__file__).parents[1])
        try:
            until(lambda: get(self.port, "/plain/1k")[0] == 200, self.process, "the upstream")
        except RuntimeError:
            self.process.stop()
            raise
        self.count()

    def count(self) -> int:
        """Requests served so far, without those of this count itself."""
        self._asked += 1
        # nginx's stub_status: "accepts handled requests" on the third line.
        return int(get(self.counter_port, "/")[2].splitlines()[2].split()[2]) - self._asked

    def stop(self) -> None:
        self.process.stop()
