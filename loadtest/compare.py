"""One run of all proxies on the same work: rounds interleaved (A B C A B C …), so that a busy minute hurts all alike."""

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest import idle, machine, verify, wrk
from loadtest.processes import cpu_s, files_allowed, memory, waited_s
from loadtest.proxies import Absent, Place, Proxy, find
from loadtest.scenarios import BY_NAME, IDLE, START, Scenario
from loadtest.upstream import Upstream


@dataclass(frozen=True)
class Sample:
    """One round of one proxy in one scenario.

    `busy`: the share of its core that it used. `waited`: the share of the round in which it, or a thread of it, was ready to run
    and something else had the core: other work on the machine, and its latency is then the scheduler's. `faults`: why the round
    should not be trusted.
    """

    proxy: str
    scenario: str
    round: int
    cpu_us: float
    rate: float
    p50_us: int
    p99_us: int
    pss_kib: int
    rss_kib: int
    busy: float
    waited: float
    requests: int
    errors: dict[str, int]
    upstream_requests: int
    faults: list[str]


@dataclass
class Results:
    """A whole run, as it is written to JSON."""

    machine: dict[str, Any]
    seconds: int
    rounds: int
    versions: dict[str, str]
    absent: dict[str, str]
    upstream: str
    samples: list[Sample] = field(default_factory=list)
    held: list[idle.IdleSample] = field(default_factory=list)
    starts: list[idle.StartSample] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    names: Sequence[str],
    scenarios: Sequence[str],
    seconds: int,
    rounds: int,
    agent_python: str | None = None,
    idle_connections: int = 10_000,
) -> Results:
    """Measure `scenarios` (of `scenarios.NAMES`) on the proxies named, so many rounds of so many seconds each."""
    files = files_allowed()
    directory = Path(tempfile.mkdtemp(prefix="loadtest-"))
    upstream = Upstream(directory)
    found = [find(name, Place(directory, upstream.port, agent_python)) for name in names]
    proxies = [proxy for proxy in found if isinstance(proxy, Proxy)]
    results = Results(
        machine.describe(),
        seconds,
        rounds,
        {proxy.name: proxy.version for proxy in proxies},
        {proxy.name: proxy.reason for proxy in found if isinstance(proxy, Absent)},
        upstream.kind,
    )
    if not wrk.present():
        results.absent["wrk (all traffic)"] = wrk.HOW_TO_GET
        scenarios = [name for name in scenarios if name == START]
    try:
        # Before the others run: nothing competes for the core.
        if START in scenarios:
            results.starts = idle.starts(proxies, max(3, 2 * rounds))
        for proxy in proxies:
            proxy.start()
            for fault in verify.unprotected(proxy):
                results.absent[proxy.name] = fault
        for name in scenarios:
            if name in BY_NAME:
                results.samples += _rounds(proxies, BY_NAME[name], upstream, seconds, rounds)
        if IDLE in scenarios:
            # An idle client takes one file of the proxy; some more are for its upstream side.
            number = min(idle_connections, files - 500)
            results.held = [idle.connections(proxy, number, seconds) for proxy in proxies]
    finally:
        for proxy in proxies:
            proxy.stop()
        upstream.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return results


def _rounds(proxies: list[Proxy], scenario: Scenario, upstream: Upstream, seconds: int, rounds: int) -> list[Sample]:
    samples = []
    for proxy in proxies:
        wrk.run(proxy.port, scenario.path, 1, scenario.connections, scenario.script)
    for number in range(rounds):
        for proxy in proxies:
            sample = _measure(proxy, scenario, upstream, seconds, number)
            told = f"{sample.cpu_us:7.2f} us  {sample.rate:8.0f}/s  p50 {sample.p50_us} us  p99 {sample.p99_us} us"
            print(f"{scenario.name:17} {number + 1}/{rounds} {proxy.name:11} {told} {'; '.join(sample.faults)}", file=sys.stderr)
            samples.append(sample)
    return samples


def _measure(proxy: Proxy, scenario: Scenario, upstream: Upstream, seconds: int, number: int) -> Sample:
    faults = verify.wrong_answer(proxy.port, scenario)
    seen, counted_before = upstream.count(), verify.own_count(proxy)
    begin_cpu, begin_waited, begin = cpu_s(proxy.pid), waited_s(proxy.pid), time.perf_counter()
    during = []
    sampler = threading.Timer(seconds * 0.7, lambda: during.append(memory(proxy.pid)))
    sampler.start()
    counted = wrk.run(proxy.port, scenario.path, seconds, scenario.connections, scenario.script)
    cpu, waited, elapsed = cpu_s(proxy.pid) - begin_cpu, waited_s(proxy.pid) - begin_waited, time.perf_counter() - begin
    sampler.join()
    reached = upstream.count() - seen
    faults += verify.wrong_counts(scenario, counted, reached)
    faults += verify.wrong_own_count(proxy, counted, counted_before)
    return Sample(
        proxy.name,
        scenario.name,
        number,
        round(cpu / max(1, counted.requests) * 1e6, 3),
        round(counted.requests / counted.duration_s, 1),
        counted.p50_us,
        counted.p99_us,
        during[0].pss,
        during[0].rss,
        round(cpu / elapsed, 3),
        round(waited / elapsed, 3),
        counted.requests,
        counted.errors,
        reached,
        faults,
    )
