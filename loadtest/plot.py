"""The figures of a run as a picture: CPU per request and latency, a bar for each proxy."""

from pathlib import Path
from statistics import median
from typing import Any

from loadtest import tables
from loadtest.compare import Results
from loadtest.scenarios import BY_NAME, TRAFFIC

HOW_TO_GET = "no plot: matplotlib is not installed (pip install matplotlib, or .[bench])"
COLOURS = {"agent": "#0b7285", "agent-pure": "#66d9e8", "envoy": "#ae3ec9", "haproxy": "#f08c00", "nginx": "#2f9e44"}


def save(results: Results, path: Path) -> bool:
    """Write the picture (its kind by the file's suffix). False where matplotlib is not installed or there is nothing to show."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    measured = {sample.scenario for sample in results.samples}
    scenarios = [scenario.name for scenario in TRAFFIC if scenario.name in measured]
    if not scenarios:
        return False
    mpl.use("Agg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "pilotfish", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    figure, (cost, delay) = pyplot.subplots(1, 2, figsize=(11, 1.2 + 0.62 * len(scenarios)), sharey=True, layout="constrained")
    _bars(cost, results, scenarios)
    _latencies(delay, results, scenarios)
    cost.set_yticks(range(len(scenarios)), [BY_NAME[name].title for name in scenarios])
    cost.invert_yaxis()
    cost.set_xlabel("CPU µs per request (median of rounds; lower is better)")
    delay.set_xlabel("latency, ms: p50 (bar) to p99 (line), saturated by one client")
    delay.set_xscale("log")
    figure.legend(*cost.get_legend_handles_labels(), loc="outside upper center", ncols=len(results.versions), frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return True


def _places(results: Results) -> list[tuple[str, float, float]]:
    """Of each proxy: its name, where its bar stands beside the scenario's middle, and how thick it is."""
    thick = 0.8 / len(results.versions)
    return [(proxy, (number + 0.5) * thick - 0.4, thick * 0.9) for number, proxy in enumerate(results.versions)]


def _bars(axes: Any, results: Results, scenarios: list[str]) -> None:
    for proxy, offset, thick in _places(results):
        rows = [(row, tables.cpu(results, proxy, name)) for row, name in enumerate(scenarios)]
        shown = [(row + offset, value) for row, value in rows if value is not None]
        bars = axes.barh([at for at, _ in shown], [value for _, value in shown], thick, label=tables.LABELS[proxy], color=COLOURS[proxy])
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=6)


def _latencies(axes: Any, results: Results, scenarios: list[str]) -> None:
    for proxy, offset, thick in _places(results):
        for row, name in enumerate(scenarios):
            samples = tables.of(results, proxy, name)
            if not samples:
                continue
            low, high = median(sample.p50_us for sample in samples) / 1e3, median(sample.p99_us for sample in samples) / 1e3
            axes.barh(row + offset, low, thick, color=COLOURS[proxy])
            axes.plot([low, high], [row + offset] * 2, color=COLOURS[proxy], linewidth=1, marker="|", markersize=4)
