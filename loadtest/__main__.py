"""``python -m loadtest COMMAND``."""

import argparse
import json
import sys
from pathlib import Path

from loadtest import micro, page, plot, profile, proxies, raft_micro, scenarios, soak, tables
from loadtest.compare import Results, compare
from loadtest.consensus import command as consensus


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(arguments)
    return int(options.run(options))


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    side = commands.add_parser("compare", help="measure the agent beside other proxies")
    _measuring(side, seconds=5, rounds=5)
    side.add_argument("--out", type=Path, help="also write results.json, tables.md and plots into this folder")
    side.add_argument("--docs", action="store_true", help="also write the figures and the plot into docs/ and README.md of this checkout")
    side.set_defaults(run=_compare)
    long = commands.add_parser("soak", help="mixed traffic, failures, purges and reloads; exit 1 where memory, sockets or tasks grow")
    long.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    long.add_argument("--out", type=Path, help="also write soak.json into this folder")
    _build(long)
    long.set_defaults(run=lambda given: soak.main(given.seconds, not given.interpreted, given.agent_python, given.out))
    inside = commands.add_parser("profile", help="where the agent's CPU time goes under a scenario")
    inside.add_argument("--scenario", default="forward", help=f"one of {', '.join(scenarios.BY_NAME)} (forward)")
    inside.add_argument("--seconds", type=int, default=8, help="how long it is looked at (8)")
    inside.add_argument("--out", type=Path, help="also write it into this folder")
    _build(inside)
    inside.set_defaults(run=lambda given: profile.main(given.scenario, given.seconds, not given.interpreted, given.agent_python, given.out))
    consensus.add(commands)
    small = commands.add_parser("micro", help="µs a balancing decision at 2, 10 and 1,000 endpoints, for each policy and build")
    small.set_defaults(run=lambda given: micro.main())
    raft = commands.add_parser("raft", help="µs a command in the Raft core, in a leader and in a follower, for batches of 1 to 256")
    raft.set_defaults(run=lambda given: raft_micro.main())
    return top


def _build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--interpreted", action="store_true", help="the sources as they are, instead of a compiled build of them")
    parser.add_argument("--agent-python", help="an interpreter with the compiled agent installed, instead of building these sources")


def _measuring(parser: argparse.ArgumentParser, seconds: int, rounds: int) -> None:
    parser.add_argument("--scenario", default=",".join(scenarios.NAMES), help=f"of {', '.join(scenarios.NAMES)} (all)")
    parser.add_argument("--peers", default=",".join(proxies.NAMES), help=f"of {', '.join(proxies.NAMES)} (all)")
    parser.add_argument("--seconds", type=int, default=seconds, help=f"a round's length ({seconds})")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds of each proxy in each scenario, interleaved ({rounds})")
    parser.add_argument("--agent-python", help="an interpreter with the compiled agent installed, instead of building these sources")


def measure(options: argparse.Namespace) -> Results:
    """The run that the options ask for. SystemExit for a name that there is none of."""
    names, wanted = options.peers.split(","), options.scenario.split(",")
    unknown = [name for name in names if name not in proxies.NAMES] + [name for name in wanted if name not in scenarios.NAMES]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; peers are {', '.join(proxies.NAMES)}; scenarios are {', '.join(scenarios.NAMES)}")
    return compare(names, wanted, options.seconds, options.rounds, options.agent_python)


def _compare(options: argparse.Namespace) -> int:
    results = measure(options)
    print(tables.whole(results))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
        (options.out / "tables.md").write_text(tables.whole(results), encoding="utf-8")
        if not plot.save(results, options.out / "plot.svg"):
            print(plot.HOW_TO_GET, file=sys.stderr)
    if options.docs:
        root = Path(__file__).resolve().parents[1]
        for problem in page.write(results, root / "docs", root / "README.md"):
            print(problem, file=sys.stderr)
    return 1 if any(sample.faults for sample in results.samples) else 0


if __name__ == "__main__":
    sys.exit(main())
