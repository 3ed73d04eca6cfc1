"""``python -m loadtest consensus``."""

import argparse
import datetime
import shutil
import sys
import tempfile
from pathlib import Path

from loadtest import machine, page
from loadtest.consensus import groups, measure, report

PAGE = "consensus-performance.md"
PICTURE = "consensus-performance.svg"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command and its options."""
    parser = commands.add_parser("consensus", help="commits, reads and failover of three agents beside three of etcd")
    parser.add_argument("--groups", default=",".join(groups.NAMES), help=f"of {', '.join(groups.NAMES)} (all)")
    names = ",".join(measure.LOAD_BY_NAME)
    parser.add_argument("--load", default=names, help=f"of {names} (all)")
    parser.add_argument("--seconds", type=int, default=5, help="a round's length (5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each group under each load, interleaved (3)")
    parser.add_argument("--failovers", type=int, default=20, help="times that each group's leader is killed (20)")
    parser.add_argument("--agent-python", default="", help="an interpreter with the agent installed, instead of building these sources")
    parser.add_argument("--interpreted", action="store_true", help="the sources as they are, instead of a compiled build of them")
    parser.add_argument("--out", type=Path, help="also write consensus.json and a plot into this folder")
    parser.add_argument("--docs", action="store_true", help="also write the figures and the plot into docs/ of this checkout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write. 1 where a request failed."""
    wanted = [measure.LOAD_BY_NAME[name] for name in options.load.split(",") if name]
    folder = Path(tempfile.mkdtemp(prefix="loadtest-consensus-"))
    where = machine.describe()
    made: list[groups.Group] = []
    samples: list[measure.Sample] = []
    failovers: list[measure.Failover] = []
    try:
        for name in options.groups.split(","):
            made.append(groups.make(name, folder / name, groups.INTERPRETED if options.interpreted else options.agent_python))
        samples = _loads(made, wanted, options.rounds, options.seconds)
        failovers = _failovers(made, options.failovers)
    finally:
        for group in made:
            group.stop()
        shutil.rmtree(folder, ignore_errors=True)
    names = [group.name for group in made]
    text = report.tables(names, samples, failovers)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "consensus.json").write_text(measure.as_json(samples, failovers), encoding="utf-8")
        report.draw(names, samples, options.out / "consensus.svg")
    if options.docs:
        docs = Path(__file__).resolve().parents[2] / "docs"
        told = f"{_conditions(where, made)}; {options.rounds} rounds of {options.seconds} s each.\n\n{text}"
        (docs / PAGE).write_text(page.replaced((docs / PAGE).read_text(encoding="utf-8"), "measured", told), encoding="utf-8")
        report.draw(names, samples, docs / PICTURE)
    return 1 if any(sample.errors for sample in samples) else 0


def _loads(made: list[groups.Group], wanted: list[measure.Load], rounds: int, seconds: int) -> list[measure.Sample]:
    """Only one group is up at a time: heartbeats of one would disturb the other."""
    samples = []
    for number in range(rounds if wanted else 0):
        for group in made:
            group.start()
            measure.warm(group)
            for load in wanted:
                sample = measure.loaded(group, load, number, seconds)
                print(
                    f"{sample.group} {sample.load}: {sample.rate:,.0f}/s, p50 {sample.p50_us} µs, p99 {sample.p99_us} µs", file=sys.stderr
                )
                samples.append(sample)
            group.stop()
    return samples


def _failovers(made: list[groups.Group], times: int) -> list[measure.Failover]:
    found = []
    for group in made if times else []:
        group.start()
        for number in range(times):
            found.append(measure.failover(group, number))
            print(f"{group.name}: {found[-1].seconds:.2f} s to the next commit", file=sys.stderr)
        group.stop()
    return found


def _conditions(where: dict[str, object], made: list[groups.Group]) -> str:
    versions = "; ".join(f"{group.name} {group.version}" for group in made)
    place = f"{where['processor']}, {where['cores']} cores for three members and their clients, Linux {where['kernel']}"
    tools = f"Python {where['python']}, {where['wrk']}, load average before the run {where['load_average']}"
    return f"{datetime.date.today().isoformat()}, {place}, {tools}; {versions}"
