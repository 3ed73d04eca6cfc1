"""Does the agent grow? Mixed traffic, failures, purges and reloads for as long as you like, and a look at what it holds."""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest import growth, processes
from loadtest.proxies import Absent, Place, Proxy, find
from loadtest.soak_traffic import CLIENTS, Client
from loadtest.soak_upstream import SoakUpstream

SAMPLES = 120
WARM_UP = 0.35
"""Share of the run that is not looked at: caches fill, memos and pools reach their bounds."""
REST_S = 20.0
"""Idle connections to upstreams are kept for `idle_timeout` (2 s here); after so long nothing of the traffic may be left."""
TOLERANCES = {"memory_kib": 3_072.0, "files": 12.0, "sockets": 12.0, "threads": 1.0, "tasks": 8.0, "timers": 60.0, "connections": 12.0}
"""Growth from the warm-up to the end that is still noise: 16 clients come and go."""


@dataclass(frozen=True)
class Sample:
    """What the agent holds at one moment: PSS, open files, sockets, threads; asyncio tasks, timers, client connections."""

    at_s: float
    memory_kib: int
    files: int
    sockets: int
    threads: int
    tasks: int
    timers: int
    connections: int


@dataclass
class Report:
    """What a soak did and found. `problems` is empty where all is well."""

    seconds: float
    version: str
    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    trends: list[growth.Trend] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def soak(seconds: float, compiled: bool, agent_python: str | None = None) -> Report | Absent:
    """Run one. RuntimeError where the agent does not start or ends."""
    return asyncio.run(_Soak(seconds).run("agent" if compiled else "agent-pure", agent_python))


class _Soak:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steady, self.wobbly, self.failing = SoakUpstream(), SoakUpstream(), SoakUpstream()
        self.stop = asyncio.Event()
        self.number = 0
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    async def run(self, name: str, agent_python: str | None) -> Report | Absent:
        upstreams = (self.steady, self.wobbly, self.failing)
        for upstream in upstreams:
            await upstream.up()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
            found = await asyncio.to_thread(find, name, Place(Path(folder), self.steady.port, agent_python))
            if isinstance(found, Absent):
                return found
            self.agent = found
            self.report = Report(self.seconds, found.version)
            self._configure()
            await asyncio.to_thread(_start, found)
            try:
                await self._all()
            finally:
                for upstream in upstreams:
                    upstream.down()
                await asyncio.to_thread(found.stop)
        return self.report

    async def _all(self) -> None:
        report = self.report
        await asyncio.sleep(0.5)
        first = await self._sample(0.0)
        clients = [Client(self.agent.port, seed, self.counts, self.wrong) for seed in range(CLIENTS)]
        tasks = [asyncio.create_task(client.run(self.stop)) for client in clients]
        tasks += [asyncio.create_task(self._operate()), asyncio.create_task(self._wobble())]
        begin = time.monotonic()
        while (at := time.monotonic() - begin) < self.seconds:
            await asyncio.sleep(self.seconds / SAMPLES)
            report.samples.append(await self._sample(at))
        self.stop.set()
        await asyncio.gather(*tasks)
        self._judge()
        await self._rest(first)

    async def _operate(self) -> None:
        """What operators do: purge, and change the configuration."""
        purges: list[dict[str, Any]] = [
            {"tag": "soak"},
            {"prefix": "http://web.test/static/", "soft": True},
            {"host": "web.test"},
            {"all": True},
        ]
        while not await self._stopped_in(max(self.seconds / 40, 0.5)):
            await self._ask("/cache/purge", purges[self.number % len(purges)])
            self.operations["purges"] += 1
            self.number += 1
            self._configure()
            answer = await self._ask("/reload", {})
            self.operations["reloads"] += 1
            if answer["result"] not in ("ok", "unchanged"):
                self.wrong[f"reload: {answer['result']}"] += 1

    async def _wobble(self) -> None:
        """One of the two endpoints refuses connections now and then."""
        while not await self._stopped_in(max(self.seconds / 20, 1.0)):
            self.wobbly.down()
            self.operations["endpoint gone"] += 1
            await asyncio.sleep(0.3)
            await self.wobbly.up()

    async def _stopped_in(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _configure(self) -> None:
        """Write the agent's file; every second time with a service more and other limits."""
        other = self.number % 2
        services: dict[str, Any] = {
            "web": {
                "hosts": ["web.test"],
                "endpoints": [f"127.0.0.1:{self.steady.port}", f"127.0.0.1:{self.wobbly.port}"],
                "cache": {"enabled": True, "stale_if_error": "5s"},
                "limits": {"idle_timeout": "2s", "connections_max": 500 + other},
                # Many die at once when an endpoint goes, and all of them may be tried again.
                "retries": {"budget": 1.0},
            },
            "failing": {
                "hosts": ["failing.test"],
                "endpoints": [f"127.0.0.1:{self.failing.port}"],
                "cache": {"enabled": True},
                "limits": {"idle_timeout": "2s"},
            },
        }
        if other:
            services["more"] = {"hosts": ["more.test"], "endpoints": [f"127.0.0.1:{self.steady.port}"], "health": {"path": "/plain/1"}}
        whole = {
            "agent": {"id": "soak-1"},
            "listen": {"egress": f"127.0.0.1:{self.agent.port}", "admin": f"127.0.0.1:{self.agent.admin_port}"},
            "cache": {"size": "4MiB", "object_bytes_max": "1MiB"},
            "services": services,
        }
        path = Path(self.agent.command[-1])
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(whole), encoding="utf-8")  # JSON is YAML
        fresh.replace(path)

    async def _ask(self, path: str, wish: dict[str, Any] | None = None) -> dict[str, Any]:
        body = b"" if wish is None else json.dumps(wish).encode()
        method = "GET" if wish is None else "POST"
        _, _, answer = await asyncio.to_thread(processes.get, self.agent.admin_port, path, 10.0, method, body)
        found: dict[str, Any] = json.loads(answer)
        return found

    async def _sample(self, at: float) -> Sample:
        loop = await self._ask("/debug/loop")
        pid = self.agent.pid
        held = processes.held(pid)
        memory = await asyncio.to_thread(processes.memory, pid)
        return Sample(at, memory.pss, held.files, held.sockets, held.threads, loop["tasks"], loop["timers"], loop["connections"])

    def _judge(self) -> None:
        kept = [sample for sample in self.report.samples if sample.at_s >= WARM_UP * self.seconds]
        times = [sample.at_s for sample in kept]
        for name, tolerance in TOLERANCES.items():
            found = growth.trend(name, times, [float(getattr(sample, name)) for sample in kept], tolerance)
            self.report.trends.append(found)
            if found.grows:
                self.report.problems.append(f"{name} grows by {found.per_minute:.1f} a minute (p = {found.chance:.1g})")
        self.report.counts = dict(self.counts.most_common())
        self.report.wrong, self.report.operations = dict(self.wrong), dict(self.operations)
        for what, count in self.wrong.items():
            self.report.problems.append(f"{count} × {what}")

    async def _rest(self, first: Sample) -> None:
        """After the traffic everything that it made is to go."""
        end = time.monotonic() + REST_S
        while True:
            last = await self._sample(self.seconds)
            status = await self._ask("/status")
            left = {name: getattr(last, name) - getattr(first, name) for name in ("sockets", "tasks", "connections")}
            if status["in_flight"]:
                left["requests in flight"] = status["in_flight"]
            # The last configuration may have a health check, which is a task and a socket of its own.
            left = {name: count for name, count in left.items() if count > (2 if name in ("sockets", "tasks") else 0)}
            if not left:
                return
            if time.monotonic() >= end:
                self.report.problems += [f"{count} {name} left {REST_S:.0f} s after the traffic" for name, count in left.items()]
                return
            await asyncio.sleep(0.25)


def _start(agent: Proxy) -> None:
    process = processes.Process(agent.command, processes.PROXY_CORE, agent.log, agent.cwd, agent.env)
    agent.process = process
    processes.until(lambda: processes.get(agent.admin_port, "/readyz")[0] == 200, process, agent.name)


def told(report: Report) -> str:
    """The report for people."""
    done = ", ".join(f"{count:,} {name}" for name, count in report.counts.items())
    operated = ", ".join(f"{count} {name}" for name, count in report.operations.items())
    lines = [report.version, f"{report.seconds:.0f} s: {done}; {operated}", ""]
    for trend in report.trends:
        verdict = "GROWS" if trend.grows else "steady"
        lines.append(
            f"{trend.name:12} {verdict:7} median {trend.level:10,.0f}   {trend.per_minute:+10.2f} a minute, "
            f"{trend.growth:+.1f} after the warm-up (tolerated {trend.tolerance:,.0f}), p = {trend.chance:.2g}"
        )
    lines += ["", *report.problems] if report.problems else ["", "no growth, and nothing left at rest"]
    return "\n".join(lines)


def main(seconds: float, compiled: bool, agent_python: str | None, out: Path | None) -> int:
    """Run a soak and print it; 0 where nothing grew."""
    found = soak(seconds, compiled, agent_python)
    if isinstance(found, Absent):
        print(f"soak: {found.name}: {found.reason}", file=sys.stderr)
        return 2
    print(told(found))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "soak.json").write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    return 1 if found.problems else 0
