"""Results as tables: medians with their range, and ratios to Envoy and HAProxy."""

from collections.abc import Sequence
from statistics import median

from loadtest.compare import Results, Sample
from loadtest.scenarios import BY_NAME, TRAFFIC

HEAD = ("work", "proxy", "CPU µs/request", "÷ Envoy", "÷ HAProxy", "requests/s", "p50 µs", "p99 µs", "waited", "PSS MiB", "faults")
DISTURBED = 0.05
"""Share of a round spent waiting for a core that something else had, from which on its latency says little."""


def of(results: Results, proxy: str, scenario: str) -> list[Sample]:
    """The rounds of one proxy in one scenario."""
    return [sample for sample in results.samples if sample.proxy == proxy and sample.scenario == scenario]


def cpu(results: Results, proxy: str, scenario: str) -> float | None:
    """Median CPU µs per request; None where it was not measured."""
    samples = of(results, proxy, scenario)
    return median(sample.cpu_us for sample in samples) if samples else None


def ratio(results: Results, proxy: str, other: str, scenario: str) -> float | None:
    """CPU of one proxy over another's."""
    mine, its = cpu(results, proxy, scenario), cpu(results, other, scenario)
    return mine / its if mine is not None and its else None


def traffic_rows(results: Results) -> list[tuple[str, ...]]:
    """A row for each scenario and proxy."""
    rows = []
    for scenario in TRAFFIC:
        for proxy in results.versions:
            samples = of(results, proxy, scenario.name)
            if samples:
                rows.append(_row(results, proxy, scenario.name, samples))
    return rows


def _row(results: Results, proxy: str, scenario: str, samples: list[Sample]) -> tuple[str, ...]:
    used = [sample.cpu_us for sample in samples]
    faults = sorted({fault for sample in samples for fault in sample.faults})
    return (
        BY_NAME[scenario].title,
        proxy,
        f"{median(used):.1f} ({min(used):.1f}–{max(used):.1f})",
        _number(ratio(results, proxy, "envoy", scenario), 2),
        _number(ratio(results, proxy, "haproxy", scenario), 2),
        f"{median(sample.rate for sample in samples):,.0f}",
        f"{median(sample.p50_us for sample in samples):.0f}",
        f"{median(sample.p99_us for sample in samples):.0f}",
        f"{median(sample.waited for sample in samples):.0%}",
        f"{median(sample.pss_kib for sample in samples) / 1024:.0f}",
        "; ".join(faults) or "none",
    )


def start_rows(results: Results) -> list[tuple[str, ...]]:
    """Start and idle memory, a row for each proxy."""
    rows: list[tuple[str, ...]] = []
    for proxy in results.versions:
        samples = [sample for sample in results.starts if sample.proxy == proxy]
        if samples:
            ready = [sample.ready_s for sample in samples]
            rows.append(
                (
                    proxy,
                    f"{median(ready):.3f} ({min(ready):.3f}–{max(ready):.3f})",
                    f"{median(sample.first_response_s for sample in samples):.3f}",
                    f"{median(sample.cpu_s for sample in samples):.3f}",
                    f"{median(sample.pss_kib for sample in samples) / 1024:.1f}",
                    f"{median(sample.rss_kib for sample in samples) / 1024:.1f}",
                )
            )
    return rows


LABELS = {"agent": "Pilotfish", "agent-pure": "Pilotfish, interpreted", "envoy": "Envoy", "haproxy": "HAProxy", "nginx": "nginx"}
START_HEAD = ("proxy", "ready s", "first response s", "CPU s", "idle PSS MiB", "idle RSS MiB")
IDLE_HEAD = (
    "proxy",
    "idle connections",
    "PSS MiB",
    "bytes each",
    "CPU ms/s, no traffic",
    "requests/s",
    "CPU µs/request",
    "p50 µs",
    "p99 µs",
    "errors",
)


def idle_rows(results: Results) -> list[tuple[str, ...]]:
    """Ten thousand idle connections, a row for each proxy."""
    return [
        (
            sample.proxy,
            f"{sample.connections:,}",
            f"{sample.pss_kib / 1024:.1f}",
            f"{sample.per_connection_bytes:,}",
            f"{sample.quiet_cpu_ms_per_s:.1f}",
            f"{sample.rate:,.0f}",
            f"{sample.cpu_us:.1f}",
            str(sample.p50_us),
            str(sample.p99_us),
            ", ".join(f"{count} {kind}" for kind, count in sample.errors.items()) or "none",
        )
        for sample in results.held
    ]


def absent_lines(results: Results) -> str:
    """The proxies that were asked for and could not be run."""
    return "".join(f"\nNot measured: {name}: {reason}\n" for name, reason in results.absent.items())


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, which also reads well in a terminal."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def whole(results: Results) -> str:
    """Every table of a run, as Markdown."""
    parts = []
    if results.samples:
        parts.append(markdown(HEAD, traffic_rows(results)))
    if results.starts:
        parts.append("Start and idle memory:\n\n" + markdown(START_HEAD, start_rows(results)))
    if results.held:
        parts.append("Idle connections:\n\n" + markdown(IDLE_HEAD, idle_rows(results)))
    return "\n".join(parts) + absent_lines(results) + disturbed_line(results)


def disturbed_line(results: Results) -> str:
    """How many rounds other work on the machine disturbed. (Envoy's own threads share its core and wait for each other.)"""
    count = sum(sample.waited > DISTURBED for sample in results.samples if sample.proxy != "envoy")
    if not count:
        return ""
    return f"\nDisturbed: in {count} of {len(results.samples)} rounds something else used the proxy's core for more than {DISTURBED:.0%}.\n"


def short(results: Results) -> str:
    """The figures that matter most, for a page that shows only a few. Empty where they were not measured."""
    rows = []
    for proxy in results.versions:
        hit, forward = cpu(results, proxy, "hit"), cpu(results, proxy, "forward")
        starts = [sample for sample in results.starts if sample.proxy == proxy]
        if hit is None or forward is None:
            continue
        memory = f"{median(sample.pss_kib for sample in starts) / 1024:.0f}" if starts else ""
        ready = f"{median(sample.ready_s for sample in starts):.2f}" if starts else ""
        rows.append((LABELS[proxy], f"{hit:.1f}", f"{forward:.1f}", memory, ready))
    if not rows:
        return ""
    return markdown(("CPU µs per request", "cache hit", "forward", "idle MiB", "ready s"), rows) + disturbed_line(results)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
