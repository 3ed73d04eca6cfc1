"""``pilotfish maelstrom``: a node for Maelstrom, and a small runner of our own."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from agent.app.maelstrom.workloads import WORKLOADS

    whats = parser.add_subparsers(dest="what", required=True)
    whats.add_parser("node", help="a node on standard input and output: lin-kv, broadcast, txn-list-append, txn-rw-register")
    run = whats.add_parser("run", help="run nodes, a network and clients, and judge the history")
    run.add_argument("--workload", choices=tuple(WORKLOADS), default="lin-kv")
    run.add_argument("--nodes", type=int, default=3)
    run.add_argument("--clients", type=int, default=6)
    run.add_argument("--seconds", type=float, default=10.0)
    run.add_argument("--latency", type=float, default=5.0, metavar="MS", help="mean, one way, between nodes (default %(default)s)")
    run.add_argument("--loss", type=float, default=0.0, help="share of the messages between nodes that are lost")
    run.add_argument("--partition", action="store_true", help="cut the network in two, at another place each time, half of the time")
    run.add_argument("--seed", type=int, default=1, help="of operations, delays and cuts; processes keep their own time")
    run.add_argument("--history", type=Path, metavar="FILE", help="write the history there, a JSON object a line")
    run.add_argument("node", nargs="*", help="command that starts a node (default: this one's)")


def run(args: argparse.Namespace) -> int:
    if args.what == "node":
        from agent.app.maelstrom.stdio import serve

        return serve()
    from agent.app.maelstrom import runner

    plan = runner.Plan(
        workload=args.workload,
        nodes=args.nodes,
        clients=args.clients,
        seconds=args.seconds,
        latency_s=args.latency / 1e3,
        loss=args.loss,
        partition=args.partition,
        seed=args.seed,
    )
    result = runner.run(plan, args.node) if args.node else runner.run(plan)
    if args.history is not None:
        args.history.write_text(result.history, encoding="utf-8")
    print(f"{args.workload}: {result.answered} operations answered, {result.failed} refused, {result.unknown} of unknown outcome;", end=" ")
    print(f"p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms; {result.between} messages between nodes")
    print(result.text)
    if not result.good:
        print(result.stderr, file=sys.stderr)
    return 0 if result.good else 1
