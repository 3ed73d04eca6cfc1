"""A run as a picture. Imported only when one is asked for: matplotlib is not needed otherwise."""

from pathlib import Path
from typing import Any

from agent.sim.run import Report


def draw(reports: list[Report], path: Path) -> None:
    """Detection times, traffic over time, and false positives over time, a line for each report."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (detection, traffic, mistakes) = pyplot.subplots(1, 3, figsize=(15, 4.5))
    plan = reports[0].plan
    figure.suptitle(f"{plan.nodes} members, scenario {plan.scenario}, preset {plan.preset}, seed {plan.seed}")
    for report in reports:
        name = report.plan.setting
        for title, found in (("suspected", report.suspected_s), ("confirmed", report.confirmed_s), ("all know", report.all_know_s)):
            if found:
                detection.plot([found["p50"], found["p99"], found["max"]], [0.5, 0.99, 1.0], marker="o", label=f"{name}: {title}")
        times = [row[0] for row in report.series]
        traffic.plot(times, [row[1] for row in report.series], label=name, linewidth=0.8)
        mistakes.plot(times, [row[3] for row in report.series], label=name)
    _label(detection, "time after the crash, s", "share of crashes")
    _label(traffic, "simulated time, s", "octets / member / s")
    _label(mistakes, "simulated time, s", "false positives about healthy members")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _label(axes: Any, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
