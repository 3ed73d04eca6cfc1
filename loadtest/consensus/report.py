"""The rounds as tables and as a picture."""

from pathlib import Path
from statistics import median
from typing import Any

from loadtest.consensus.measure import LOADS, Failover, Sample
from loadtest.tables import markdown

HEAD = ("work", "group", "per s", "÷ etcd", "p50 ms", "p99 ms", "CPU µs/request, 3 members", "errors")
FAILOVER_HEAD = ("kill -9 of the leader, to the next commit", "times", "median s", "p99 s", "longest s")
COLOURS = {"pilotfish": "#0b7285", "etcd": "#ae3ec9"}


def of(samples: list[Sample], group: str, load: str) -> list[Sample]:
    """The rounds of one group under one load."""
    return [sample for sample in samples if sample.group == group and sample.load == load]


def rate(samples: list[Sample], group: str, load: str) -> float:
    """Median requests a second; 0 where it was not measured."""
    found = of(samples, group, load)
    return median(sample.rate for sample in found) if found else 0.0


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least that share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)]


def tables(groups: list[str], samples: list[Sample], failovers: list[Failover]) -> str:
    """Every figure, as Markdown."""
    rows = [_row(samples, group, load.name, load.title) for load in LOADS for group in groups if of(samples, group, load.name)]
    text = markdown(HEAD, rows)
    dead = [(group, [one.seconds for one in failovers if one.group == group]) for group in groups]
    rows = [
        (group, str(len(found)), f"{median(found):.2f}", f"{quantile(found, 0.99):.2f}", f"{max(found):.2f}")
        for group, found in dead
        if found
    ]
    return text + ("\n" + markdown(FAILOVER_HEAD, rows) if rows else "")


def _row(samples: list[Sample], group: str, load: str, title: str) -> tuple[str, ...]:
    found = of(samples, group, load)
    other = rate(samples, "etcd", load)
    errors: dict[str, int] = {}
    for sample in found:
        for kind, count in sample.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    rates = [sample.rate for sample in found]
    return (
        title,
        group,
        f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
        f"{median(rates) / other:.2f}" if other else "",
        f"{median(sample.p50_us for sample in found) / 1e3:.2f}",
        f"{median(sample.p99_us for sample in found) / 1e3:.1f}",
        f"{median(sample.cpu_us for sample in found):.0f}",
        ", ".join(f"{count} {kind}" for kind, count in errors.items()) or "none",
    )


def draw(groups: list[str], samples: list[Sample], path: Path) -> bool:
    """Requests a second and latency, a bar for each group. False where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "pilotfish", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    loads = [load for load in LOADS if any(sample.load == load.name for sample in samples)]
    figure, (speed, delay) = pyplot.subplots(1, 2, figsize=(11, 1.2 + 0.6 * len(loads)), sharey=True, layout="constrained")
    thick = 0.8 / len(groups)
    for number, group in enumerate(groups):
        offset = (number + 0.5) * thick - 0.4
        _bars(speed, delay, samples, group, [load.name for load in loads], offset, thick * 0.9)
    speed.set_yticks(range(len(loads)), [load.title for load in loads])
    speed.invert_yaxis()
    speed.set_xlabel("requests per second (median of rounds; higher is better)")
    delay.set_xlabel("latency, ms: p50 (bar) to p99 (line)")
    delay.set_xscale("log")
    figure.legend(*speed.get_legend_handles_labels(), loc="outside upper center", ncols=len(groups), frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return True


def _bars(speed: Any, delay: Any, samples: list[Sample], group: str, loads: list[str], offset: float, thick: float) -> None:
    for row, load in enumerate(loads):
        found = of(samples, group, load)
        if not found:
            continue
        label = group if row == 0 else None
        bar = speed.barh([row + offset], [rate(samples, group, load)], thick, label=label, color=COLOURS[group])
        speed.bar_label(bar, fmt="{:,.0f}", padding=2, fontsize=6)
        low, high = median(one.p50_us for one in found) / 1e3, median(one.p99_us for one in found) / 1e3
        delay.barh([row + offset], [low], thick, color=COLOURS[group])
        delay.plot([low, high], [row + offset] * 2, color=COLOURS[group], linewidth=1, marker="|", markersize=4)
