"""What a proxy costs while little happens: starting, sitting idle, and holding thousands of idle connections."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loadtest import wrk
from loadtest.processes import cpu_s, memory
from loadtest.proxies import Proxy

SETTLE_S = 1.0
REQUEST = b"GET /cached/1k HTTP/1.1\r\nHost: bench.test\r\n\r\n"


@dataclass(frozen=True)
class StartSample:
    """One start: seconds to its readiness answer and to its first proxied response, CPU for it, memory after a second of rest."""

    proxy: str
    ready_s: float
    first_response_s: float
    cpu_s: float
    pss_kib: int
    rss_kib: int


@dataclass(frozen=True)
class IdleSample:
    """A proxy with `connections` idle ones: memory before and with them, CPU in ms a second with no traffic, and µs a request at `rate`."""

    proxy: str
    connections: int
    before_pss_kib: int
    pss_kib: int
    per_connection_bytes: int
    quiet_cpu_ms_per_s: float
    rate: float
    cpu_us: float
    p50_us: int
    p99_us: int
    errors: dict[str, int]


def starts(proxies: list[Proxy], times: int) -> list[StartSample]:
    """Start and stop each proxy so many times, in turn; the first time of each only fills the page cache."""
    samples = []
    for number in range(times + 1):
        for proxy in proxies:
            ready, first = proxy.start()
            used = cpu_s(proxy.pid)
            time.sleep(SETTLE_S)
            resting = memory(proxy.pid)
            proxy.stop()
            if number:
                samples.append(StartSample(proxy.name, round(ready, 4), round(first, 4), round(used, 4), resting.pss, resting.rss))
    return samples


def connections(proxy: Proxy, number: int, seconds: int) -> IdleSample:
    """Hold `number` connections that each made one request, and measure with them."""
    before = memory(proxy.pid)
    with _held(proxy.port, number):
        time.sleep(SETTLE_S)
        resting = memory(proxy.pid)
        begin = cpu_s(proxy.pid)
        time.sleep(2.0)
        quiet = (cpu_s(proxy.pid) - begin) / 2.0
        begin = cpu_s(proxy.pid)
        counted = wrk.run(proxy.port, "/cached/1k", seconds, 8, "modest.lua")
        used = cpu_s(proxy.pid) - begin
    sample = IdleSample(
        proxy.name,
        number,
        before.pss,
        resting.pss,
        (resting.pss - before.pss) * 1024 // number,
        round(quiet * 1000, 2),
        round(counted.requests / counted.duration_s, 1),
        round(used / max(1, counted.requests) * 1e6, 2),
        counted.p50_us,
        counted.p99_us,
        counted.errors,
    )
    print(f"idle {number}: {proxy.name} {resting.pss} KiB, {sample.per_connection_bytes} bytes each", file=sys.stderr)
    return sample


@contextmanager
def _held(port: int, number: int) -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    try:
        for _ in range(number):
            sock = socket.create_connection(("127.0.0.1", port), 10.0)
            opened.append(sock)
            sock.sendall(REQUEST)
            data = sock.recv(65536)
            if not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"connection {len(opened)} of {number} was not answered: {data[:80]!r}")
        yield opened
    finally:
        for sock in opened:
            sock.close()
