"""``pilotfish simulate regions``: schedules of misfortunes for a group in each region and the global group of the regions' leaders."""

import argparse
import gc
import sys
import time

from agent.sim.consensus.hierarchy_run import ACROSS, INSIDE, HierarchyPlan, HierarchyReport, simulate_hierarchy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="the first; the same seed gives the same run (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=50, help="schedules (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=7.0, help="of misfortunes in each, simulated (default %(default)s)")
    parser.add_argument("--regions", type=int, choices=(1, 2, 3, 4, 5), default=3)
    parser.add_argument("--feature", action="append", choices=(*INSIDE, *ACROSS), default=[], help="these misfortunes only")


def run(args: argparse.Namespace) -> int:
    reports: list[HierarchyReport] = []
    failed = 0
    started = time.process_time()
    # A run makes few cycles and many objects; looking for cycles would cost a tenth of the time.
    gc.disable()
    for seed in range(args.seed, args.seed + args.seeds):
        plan = HierarchyPlan(seed, args.seconds, args.regions, tuple(args.feature) or None)
        try:
            reports.append(simulate_hierarchy(plan))
        except Exception as error:
            failed += 1
            print(f"seed {seed} breaks a promise: pilotfish simulate regions --seed {seed} --seeds 1", file=sys.stderr)
            print("\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))), file=sys.stderr)
        if seed % 50 == 0:
            gc.collect()
    gc.enable()
    _print_table(reports, failed, time.process_time() - started)
    return 1 if failed else 0


def _print_table(reports: list[HierarchyReport], failed: int, cpu_s: float) -> None:
    rows: list[tuple[str, object]] = [
        ("schedules", len(reports) + failed),
        ("  in which a promise was broken", failed),
        ("events", sum(report.events for report in reports)),
        ("global entries committed", sum(report.global_committed for report in reports)),
        ("global terms with a leader", sum(report.global_terms for report in reports)),
        ("times that a node began to act for its region", sum(report.acting_changes for report in reports)),
        ("global snapshots taken over from another region", sum(report.global_snapshots for report in reports)),
        ("global operations of clients", sum(report.global_operations for report in reports)),
        ("local operations of clients", sum(report.local_operations for report in reports)),
        ("global reads of bounded staleness", sum(report.stale_reads for report in reports)),
        ("all well after the last misfortune, most s", f"{max((report.healed_s for report in reports), default=0.0):.1f}"),
        ("CPU of the simulation, s", f"{cpu_s:.1f}"),
    ]
    for title, value in rows:
        print(f"{title:<52}{value:>12}")
