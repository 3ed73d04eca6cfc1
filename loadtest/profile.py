"""Where the agent's CPU time goes under a scenario: kernel, libuv, interpreter, allocator, and our functions by name.

perf sees all of it where the machine allows it. py-spy sees Python functions, of a compiled build only what is not compiled.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loadtest import wrk
from loadtest.processes import cpu_s
from loadtest.proxies import Absent, Place, Proxy, find
from loadtest.scenarios import BY_NAME, Scenario
from loadtest.upstream import Upstream

HZ = 1997
SHOWN = 30
SETTLE_S = 1.0
PERF_ABSENT = "perf: not installed (Debian: apt-get install linux-perf; Ubuntu: linux-tools-generic)"
PY_SPY_ABSENT = "py-spy: not installed (pip install py-spy, or .[bench])"
KINDS = ("kernel", "libuv and uvloop", "our compiled functions", "interpreter", "allocation", "garbage collector", "C library", "other")


@dataclass(frozen=True)
class Line:
    """Share of the samples of one symbol of one object."""

    share: float
    kind: str
    symbol: str


def kind_of(place: str, symbol: str) -> str:
    """Which of `KINDS` a symbol of an object file belongs to."""
    if place.startswith(("[kernel", "[guest.kernel")):
        return "kernel"
    # mypyc puts the code of all modules into one object, with CPy… names for its own run-time as well.
    if "__mypyc" in place:
        return "our compiled functions"
    if re.search(r"gc_collect|visit_decref|visit_reachable|subtract_refs|update_refs|move_unreachable|_traverse$|PyGC|untrack_", symbol):
        return "garbage collector"
    if re.search(r"alloc|_Free$|_free$|PyObject_GC_|GC_Del|GC_New|GenericAlloc", symbol):
        return "allocation"
    if place.startswith("loop.cpython"):
        return "libuv and uvloop"
    if place.startswith(("python", "libpython")):
        return "interpreter"
    if place.startswith(("libc.", "libc-", "libpthread", "libm.", "ld-linux", "[vdso]")):
        return "C library"
    return "other"


def parse(report: str) -> list[Line]:
    """The lines of ``perf report --sort dso,symbol -t '|'``."""
    lines = []
    for text in report.splitlines():
        parts = [part.strip() for part in text.split("|")]
        if len(parts) < 3 or not parts[0].endswith("%"):
            continue
        symbol = re.sub(r"^\[[.kgu]\] ", "", parts[2])
        lines.append(Line(float(parts[0][:-1]) / 100.0, kind_of(parts[1], symbol), symbol))
    return lines


def table(lines: list[Line], us: float) -> str:
    """Shares by kind and the symbols that have the most, each also in µs of a request that takes `us`."""
    kinds: Counter[str] = Counter()
    for line in lines:
        kinds[line.kind] += line.share  # type: ignore[assignment]
    told = [f"{kind:24} {share:6.1%} {share * us:7.2f} µs" for kind, share in kinds.most_common()]
    told += ["", f"the {SHOWN} symbols that take the most:"]
    for line in sorted(lines, key=lambda line: -line.share)[:SHOWN]:
        told.append(f"{line.share:6.1%} {line.share * us:7.2f} µs  {line.kind:24} {line.symbol[:90]}")
    return "\n".join(told)


def main(name: str, seconds: int, compiled: bool, agent_python: str | None, out: Path | None) -> int:
    """Profile one scenario and print it. 2 where it cannot be done."""
    if name not in BY_NAME:
        print(f"profile: found scenario {name!r}, expected one of {', '.join(BY_NAME)}", file=sys.stderr)
        return 2
    if not wrk.present():
        print(f"profile: wrk: {wrk.HOW_TO_GET}", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="loadtest-"))
    upstream = Upstream(directory)
    found = find("agent" if compiled else "agent-pure", Place(directory, upstream.port, agent_python))
    try:
        if isinstance(found, Absent):
            print(f"profile: {found.name}: {found.reason}", file=sys.stderr)
            return 2
        found.start()
        text = _profiled(found, BY_NAME[name], seconds, directory)
    finally:
        if isinstance(found, Proxy):
            found.stop()
        upstream.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(text or "profile: nothing here can look into the agent", file=sys.stdout if text else sys.stderr)
    if text and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"profile-{name}.txt").write_text(text + "\n", encoding="utf-8")
    return 0 if text else 2


def _profiled(agent: Proxy, scenario: Scenario, seconds: int, directory: Path) -> str:
    wrk.run(agent.port, scenario.path, 1, scenario.connections, scenario.script)
    begin = cpu_s(agent.pid)
    counted = wrk.run(agent.port, scenario.path, max(2, seconds // 2), scenario.connections, scenario.script)
    us = (cpu_s(agent.pid) - begin) / max(1, counted.requests) * 1e6
    head = f"{agent.version}; {scenario.title}; {us:.1f} µs of CPU a request, {counted.requests / counted.duration_s:,.0f} requests/s\n"
    for tool, recorder in (("perf", _perf), ("py-spy", _py_spy)):
        text = recorder(agent, scenario, seconds, directory, us)
        if text:
            return f"{head}measured without {tool}, then again under it\n\n{text}"
    return ""


def _loaded(agent: Proxy, scenario: Scenario, seconds: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a recorder that lasts `seconds` while the agent is under load."""
    load = subprocess.Popen(
        wrk.command(agent.port, scenario.path, seconds + 3, scenario.connections, scenario.script), **wrk.surroundings()
    )
    try:
        time.sleep(SETTLE_S)
        return subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        load.terminate()
        load.wait()


def _perf(agent: Proxy, scenario: Scenario, seconds: int, directory: Path, us: float) -> str:
    binary = shutil.which("perf")
    if binary is None:
        print(PERF_ABSENT, file=sys.stderr)
        return ""
    data = directory / "perf.data"
    record = [binary, "record", "-q", "-F", str(HZ), "-p", str(agent.pid), "-o", str(data), "--", "sleep", str(seconds)]
    done = _loaded(agent, scenario, seconds, record)
    if done.returncode or not data.exists():
        print(f"perf: {done.stderr.strip()[-300:]} (see kernel.perf_event_paranoid)", file=sys.stderr)
        return ""
    report = [binary, "report", "-i", str(data), "--no-children", "--sort", "dso,symbol", "-t", "|", "--stdio", "-w", "0,0"]
    lines = parse(subprocess.run(report, capture_output=True, text=True, check=False).stdout)
    return table(lines, us) if lines else ""


def _py_spy(agent: Proxy, scenario: Scenario, seconds: int, directory: Path, us: float) -> str:
    binary = shutil.which("py-spy") or shutil.which(str(Path(sys.executable).with_name("py-spy")))
    if binary is None:
        print(PY_SPY_ABSENT, file=sys.stderr)
        return ""
    stacks = directory / "stacks.txt"
    record = [binary, "record", "--pid", str(agent.pid), "-r", "500", "-d", str(seconds), "-f", "raw", "-o", str(stacks)]
    done = _loaded(agent, scenario, seconds, record)
    if done.returncode or not stacks.exists():
        print(f"py-spy: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return ""
    return table(innermost(stacks.read_text(encoding="utf-8")), us)


def innermost(stacks: str) -> list[Line]:
    """Shares of the innermost functions of py-spy's raw stacks (``a;b;c count``)."""
    counts: Counter[str] = Counter()
    for text in stacks.splitlines():
        stack, _, count = text.rpartition(" ")
        if count.isdigit():
            counts[stack.split(";")[-1]] += int(count)
    total = sum(counts.values())
    return [Line(count / total, "Python", name) for name, count in counts.items()]
