"""What a process tree costs: CPU time to the nanosecond, memory as the kernel shares it out, and where it may run."""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_ALLOWED = sorted(os.sched_getaffinity(0))
PROXY_CORE = _ALLOWED[0]
CLIENT_CORE = _ALLOWED[1 % len(_ALLOWED)]
"""Of the client and the upstream. On a machine of one core it is the proxy's too, and the figures are of little use."""


@dataclass(frozen=True)
class Memory:
    """Of a process tree, in KiB. `pss` counts a page shared by n processes as 1/n of a page; `rss` counts it whole."""

    pss: int
    rss: int


class Process:
    """A child pinned to one core (or to none), its output in a file, ended by its own id alone."""

    def __init__(
        self, command: Sequence[str], core: int | None, log: Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                list(command),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=lambda: os.sched_setaffinity(0, _ALLOWED if core is None else {core}),
            )
        self.log = log

    @property
    def pid(self) -> int:
        return self._child.pid

    def alive(self) -> bool:
        return self._child.poll() is None

    def tail(self) -> str:
        """The end of what the process wrote, for an error message."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def kill(self) -> None:
        """End it at once, with nothing put in order."""
        self._child.kill()
        self._child.wait()

    def stop(self, patience_s: float = 10.0) -> None:
        if self.alive():
            self._child.terminate()
            try:
                self._child.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live now."""
    found = [pid]
    for member in found:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that the living processes of the tree have used, user and system, all threads.

    Read from each process's own CPU clock (clock_getcpuclockid(3)): /proc/PID/stat counts in ticks of 10 ms.
    """
    total = 0.0
    for member in tree(pid):
        try:
            total += time.clock_gettime((~member << 3) | 2)
        except OSError:
            continue
    return total


def waited_s(pid: int) -> float:
    """Seconds that threads of the tree were ready to run and something else had their core (schedstat)."""
    total = 0
    for member in tree(pid):
        for task in Path(f"/proc/{member}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[1])
            except (OSError, IndexError):
                continue
    return total / 1e9


def memory(pid: int) -> Memory:
    """Memory of the tree, from smaps_rollup."""
    pss = rss = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Pss:"):
                pss += int(line.split()[1])
            elif line.startswith("Rss:"):
                rss += int(line.split()[1])
    return Memory(pss, rss)


@dataclass(frozen=True)
class Held:
    """Open files of one process, those of them that are sockets, and its threads."""

    files: int
    sockets: int
    threads: int


def held(pid: int) -> Held:
    """What the process holds now."""
    files = sockets = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            files += 1
            sockets += os.readlink(entry).startswith("socket:")
        except OSError:
            continue
    return Held(files, sockets, len(list(Path(f"/proc/{pid}/task").iterdir())))


def files_allowed() -> int:
    """Raise this process's limit on open files as far as it may be, for itself and the proxies that it starts; the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def free_port() -> int:
    """A loopback port that the kernel just had free. Peers need theirs in a file before they start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str = "/", timeout_s: float = 5.0, method: str = "GET", body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Status, head and body of one request on a connection of its own. OSError where nothing listens or the answer breaks off."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as sock:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}Connection: close\r\n\r\n".encode() + body)
        data = bytearray()
        while piece := sock.recv(65536):
            data += piece
    head, mark, rest = bytes(data).partition(b"\r\n\r\n")
    if not mark:
        raise ConnectionError("no whole response")
    if b"transfer-encoding: chunked" in head.lower():
        rest = _unchunked(rest)
    return int(head.split(b" ", 2)[1]), head, rest


def _unchunked(data: bytes) -> bytes:
    out = b""
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        out += data[:size]
        data = data[size + 2 :]
    return out


def until(answered: Callable[[], bool], process: Process, what: str, patience_s: float = 30.0) -> None:
    """Ask every millisecond until the answer is yes. RuntimeError where the process ends first or patience does."""
    begin = time.perf_counter()
    while True:
        if _asked(answered):
            return
        if not process.alive():
            raise RuntimeError(f"{what} ended: {process.tail()}")
        if time.perf_counter() - begin > patience_s:
            raise RuntimeError(f"{what} is not ready after {patience_s:.0f} s: {process.tail()}")
        time.sleep(0.001)


def _asked(answered: Callable[[], bool]) -> bool:
    try:
        return answered()
    except (OSError, ValueError):
        return False
