"""``pilotfish simulate raft``: many short schedules of misfortunes, each from its seed, and how long a failover takes."""

import argparse
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from msgspec import Struct, structs

from agent.core.raft.config import RaftConfig
from agent.sim.consensus.cores import raft
from agent.sim.consensus.failover import measure
from agent.sim.consensus.nemesis import FEATURES
from agent.sim.consensus.run import Plan, Report, simulate


class Result(Struct, frozen=True):
    """Of one seed: a report, or what went wrong."""

    seed: int
    cpu_s: float
    report: Report | None = None
    failure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="the first; the same seed gives the same run (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=100, help="schedules (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of misfortunes in each, simulated (default %(default)s)")
    parser.add_argument("--voters", type=int, default=0, help="0: 3 or 5, as the seed has it")
    parser.add_argument("--feature", action="append", choices=FEATURES, default=[], help="these misfortunes only, not a random choice")
    parser.add_argument("--processes", type=int, default=1, help="at once (default %(default)s)")
    parser.add_argument("--failover", action="store_true", help="instead: from a leader's crash to the next command, default timings")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(args: argparse.Namespace) -> int:
    if args.failover:
        return _failover(args)
    features = tuple(args.feature) or None
    plans = [Plan(seed, args.seconds, args.voters, features=features) for seed in range(args.seed, args.seed + args.seeds)]
    # A run makes few cycles and many objects; looking for cycles would cost a tenth of the time.
    gc.disable()
    results = list(_all(plans, args.processes))
    gc.enable()
    failures = [result for result in results if result.report is None]
    if args.json:
        print(json.dumps([structs.asdict(result) | _flat(result.report) for result in results], indent=2))
    else:
        _print_table([result.report for result in results if result.report], sum(result.cpu_s for result in results), len(failures))
    for result in failures[:3]:
        print(f"\nseed {result.seed} breaks a promise: pilotfish simulate raft --seed {result.seed} --seeds 1", file=sys.stderr)
        print(result.failure, file=sys.stderr)
    return 1 if failures else 0


def _flat(report: Report | None) -> dict[str, Any]:
    return {} if report is None else {"report": structs.asdict(report) | {"plan": structs.asdict(report.plan)}}


def _all(plans: list[Plan], processes: int) -> Iterable[Result]:
    if processes <= 1 or len(plans) == 1:
        yield from map(one, plans)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(one, plans, chunksize=8)


def one(plan: Plan) -> Result:
    """Never raises: a failure is a result."""
    started = time.process_time()
    try:
        report = simulate(plan, raft())
    except Exception as error:
        text = "\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())))
        return Result(plan.seed, time.process_time() - started, None, text)
    return Result(plan.seed, time.process_time() - started, report)


def _print_table(reports: list[Report], cpu_s: float, failed: int) -> None:
    def row(title: str, value: object) -> None:
        print(f"{title:<44}{value:>20}")

    row("schedules", len(reports) + failed)
    row("  in which a promise was broken", failed)
    if not reports:
        return
    healed = sorted(report.healed_s for report in reports)
    row("simulated time, minutes", f"{sum(report.simulated_s for report in reports) / 60:.1f}")
    row("events", sum(report.events for report in reports))
    row("entries checked against those of others", sum(report.checks for report in reports))
    row("entries committed", sum(report.committed for report in reports))
    row("terms with a leader", sum(report.terms for report in reports))
    row("crashes", sum(report.crashes for report in reports))
    row("snapshots taken over from another", sum(report.snapshots_installed for report in reports))
    row("operations of clients", sum(report.operations for report in reports))
    row("  whose outcome nobody was told", sum(report.unknown for report in reports))
    row("  and reads of bounded staleness", sum(report.stale_reads for report in reports))
    row("all well after the last: p50 / max s", f"{healed[len(healed) // 2]:.2f} / {healed[-1]:.2f}")
    row("CPU of the simulation, s", f"{cpu_s:.1f}")
    row("  for a schedule, ms", f"{cpu_s / (len(reports) + failed) * 1000:.0f}")
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.misfortunes)
    print("\nmisfortunes: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


def _failover(args: argparse.Namespace) -> int:
    found = measure(raft(RaftConfig()), range(args.seed, args.seed + args.seeds), args.voters or 3)
    values = {name: found.quantile(share) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))}
    if args.json:
        print(json.dumps({"crashes": len(found.took_s) + found.never, "never": found.never, **values}))
        return 0
    config = RaftConfig()
    print(f"{len(found.took_s)} crashes of the leader, heartbeat {config.heartbeat_s:g} s, election {config.election_s:g} s")
    print("next command after, s: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))
    return 0
