"""``pilotfish simulate``: the protocol cores in simulated time, many members in one process, one seed a run."""

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from agent.app import simulate_raft, simulate_regions
from agent.core.swim.config import PRESETS
from agent.sim.run import SETTINGS, Plan, Report, simulate, summary
from agent.sim.scenarios import SCENARIOS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    protocols = parser.add_subparsers(dest="protocol", required=True)
    simulate_raft.add_arguments(protocols.add_parser("raft", help="consensus: schedules of crashes, cuts and worse, promises checked"))
    simulate_regions.add_arguments(protocols.add_parser("regions", help="consensus in regions, and between them: the same"))
    swim = protocols.add_parser("swim", help="membership", formatter_class=argparse.RawDescriptionHelpFormatter)
    swim.epilog = "scenarios:\n" + "\n".join(f"  {name:<11} {scenario.__doc__}" for name, scenario in SCENARIOS.items())
    swim.add_argument("--nodes", type=int, default=100, help="members (default %(default)s)")
    swim.add_argument("--minutes", type=float, default=2.0, help="of simulated time (default %(default)s)")
    swim.add_argument("--seed", type=int, default=1, help="the same seed gives the same run (default %(default)s)")
    swim.add_argument("--scenario", choices=tuple(SCENARIOS), default="crash", help="what happens (default %(default)s)")
    swim.add_argument("--preset", choices=tuple(PRESETS), default="lan")
    swim.add_argument("--setting", choices=SETTINGS, default="ours", help="lifeguard: as in the paper; phi: phi-accrual timeouts")
    swim.add_argument("--plain", action="store_true", help="SWIM without Lifeguard: --setting plain")
    swim.add_argument("--compare", action="store_true", help="every setting with the same seed and the same misfortunes")
    swim.add_argument("--loss", type=float, default=0.0, help="share of the packets that are lost")
    swim.add_argument("--regions", type=int, default=1, help="regions that the members are in")
    swim.add_argument("--across", type=float, default=0.04, metavar="S", help="from region to region, one way (default %(default)s s)")
    swim.add_argument("--set", type=_change, action="append", default=[], metavar="FIELD=NUMBER", help="change the preset")
    swim.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    swim.add_argument("--plot", type=Path, metavar="FILE", help="draw it too (.png, .svg, .pdf); needs matplotlib")


def _change(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    return name, float(value)


def run(args: argparse.Namespace) -> int:
    if args.protocol == "raft":
        return simulate_raft.run(args)
    return simulate_regions.run(args) if args.protocol == "regions" else _run_swim(args)


def _run_swim(args: argparse.Namespace) -> int:
    settings = SETTINGS if args.compare else ("plain",) if args.plain else (args.setting,)
    if args.plot is not None and not _can_plot():
        print("pilotfish simulate: --plot needs matplotlib: pip install matplotlib", file=sys.stderr)
        return 2
    reports: list[Report] = []
    took_s: list[float] = []
    # A run makes few cycles and many objects; looking for cycles would cost a third of the time.
    gc.disable()
    try:
        for setting in settings:
            plan = _plan(args, setting)
            started = time.process_time()
            reports.append(simulate(plan))
            took_s.append(time.process_time() - started)
            gc.collect()
    except ValueError as error:
        print(f"pilotfish simulate: {error}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    if args.json:
        runs = [{**summary(report), "cpu_s": round(took, 2)} for report, took in zip(reports, took_s, strict=True)]
        print(json.dumps(runs if args.compare else runs[0], indent=2))
    else:
        _print_table(reports, took_s)
    if args.plot is not None:
        from agent.sim.plot import draw

        draw(reports, args.plot)
        print(f"drawn: {args.plot}", file=sys.stderr)
    return 0


def _plan(args: argparse.Namespace, setting: str) -> Plan:
    return Plan(
        args.nodes,
        args.minutes,
        args.seed,
        args.scenario,
        args.preset,
        setting,
        args.loss,
        regions=args.regions,
        across_s=args.across,
        changes=tuple(args.set),
    )


def _can_plot() -> bool:
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def _print_table(reports: list[Report], took_s: list[float]) -> None:
    plan = reports[0].plan
    print(f"{plan.nodes} members, {plan.minutes:g} simulated minutes, scenario {plan.scenario}, preset {plan.preset}, seed {plan.seed}\n")
    rows: list[tuple[str, list[str]]] = [("", [report.plan.setting for report in reports])]

    def row(title: str, cells: list[str]) -> None:
        rows.append((title, cells))

    if any(report.crashes for report in reports):
        row("crashes: noticed by all", [f"{report.detected} of {report.crashes}" for report in reports])
        for title, field in (
            ("first suspected", "suspected_s"),
            ("first confirmed dead", "confirmed_s"),
            ("known to all as dead", "all_know_s"),
        ):
            row(f"  {title}: p50 / p99 / max s", [_times(getattr(report, field)) for report in reports])
    if any(report.convergence_s for report in reports):
        row("agreed again after a heal: worst s", [_worst(report.convergence_s) for report in reports])
    row("false positives about healthy members", [str(report.false_positives) for report in reports])
    row("  noted at healthy members", [str(report.false_positives_at_healthy) for report in reports])
    row("false suspicions, healthy of healthy", [str(report.false_suspicions) for report in reports])
    row("unwell members declared dead", [str(report.unwell_declared_dead) for report in reports])
    row("datagrams sent, octets / member / s", [f"{report.bytes_s:.0f}" for report in reports])
    row("datagrams sent / member / s", [f"{report.packets_s:.2f}" for report in reports])
    row("on streams, octets / member / s", [f"{report.stream_bytes_s:.0f}" for report in reports])
    row("CPU of the simulation, s", [f"{took:.1f}" for took in took_s])
    member_s = plan.nodes * plan.minutes * 60
    row("  for a member and simulated second, µs", [f"{took / member_s * 1e6:.0f}" for took in took_s])
    row("trace", [report.trace for report in reports])
    width = max(18, *(len(cell) + 2 for _, cells in rows for cell in cells))
    for title, cells in rows:
        print(f"{title:<40}" + "".join(f"{cell:>{width}}" for cell in cells))


def _times(found: dict[str, Any]) -> str:
    return f"{found['p50']:.2f} / {found['p99']:.2f} / {found['max']:.2f}" if found else "-"


def _worst(found: list[float | None]) -> str:
    if any(value is None for value in found):
        return f"never ({sum(value is None for value in found)} of {len(found)})"
    return f"{max(value for value in found if value is not None):.1f}" if found else "-"
