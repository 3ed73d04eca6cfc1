"""Figures of the gossip cores in simulation: ``python -m tests.sim.gossip --nodes 1000 --loss 0.05``."""

import argparse
from statistics import median
from time import perf_counter

from agent.core.gossip.io import Invalidate, Publish
from tests.sim.gossip_net import Net, percentile


def invalidations(nodes: int, loss: float, seed: int, count: int, every_s: float) -> dict[str, float]:
    """How long until the others have each, and what it costs."""
    net = Net(nodes, seed, loss)
    net.run(1.5)
    names = list(net.hosts)
    sent: dict[tuple[str, int, int], float] = {}
    for number in range(count):
        host = net.hosts[net.random.choice(names)]
        host.give(Invalidate(number, "url", b"shop.example.com", b"/catalogue/item/%d?lang=en" % number))
        sent[host.name, 1, host.issued[-1].sequence] = net.now
        net.run(every_s)
    net.run(4.0)
    delays, missed = [], 0
    for host in net.live():
        for key, at in sent.items():
            if key[0] != host.name:
                if key in host.applied:
                    delays.append(host.applied[key] - at)
                else:
                    missed += 1
    return {
        "p50 ms": round(median(delays) * 1000, 1),
        "p99 ms": round(percentile(delays, 0.99) * 1000, 1),
        "p99.9 ms": round(percentile(delays, 0.999) * 1000, 1),
        "max ms": round(max(delays) * 1000, 1),
        "missed": missed,
        "questions for what is missing": sum(host.core.invalidations.repairs.asked for host in net.live()),
        "marked stale": sum(len(host.stale) for host in net.live()),
        "kB per node and invalidation": round(sum(net.bytes_by_kind[kind] for kind in (3, 4, 5, 6, 7)) / nodes / count / 1000, 2),
    }


def state(nodes: int, loss: float, seed: int, changes_s: float, seconds: float) -> dict[str, float]:
    """Every node publishes; then changes at random come at a rate, then it is quiet."""
    net = Net(nodes, seed, loss)
    net.push_pull_every(30.0)
    for host in net.hosts.values():
        host.give(Publish((("load", net.random.randbytes(60)), ("health", b"ok"))))
    began = net.now
    net.run(120.0, net.agrees)
    first = net.now - began
    before = sum(net.bytes.values())
    names = list(net.hosts)
    for _ in range(int(changes_s * seconds)):
        net.hosts[net.random.choice(names)].give(Publish((("load", net.random.randbytes(60)),)))
        net.run(1.0 / changes_s)
    busy = (sum(net.bytes.values()) - before) / nodes / seconds
    began = net.now
    agreed = net.run(60.0, net.agrees)
    settled = net.now - began if agreed else float("inf")
    net.run(10.0)
    before = sum(net.bytes.values())
    net.run(5.0)
    quiet = (sum(net.bytes.values()) - before) / nodes / 5.0
    return {
        "all agree from nothing s": round(first, 1),
        "all agree after the last change s": round(settled, 1),
        f"kB/s per node at {changes_s:g} changes/s": round(busy / 1000, 2),
        "kB/s per node, quiet": round(quiet / 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="invalidations")
    parser.add_argument("--changes", type=float, default=20.0, help="changes of state a second, over all nodes")
    parser.add_argument("--only", choices=("invalidations", "state"))
    args = parser.parse_args()
    for name in ("invalidations", "state"):
        if args.only in (None, name):
            began = perf_counter()
            if name == "invalidations":
                figures = invalidations(args.nodes, args.loss, args.seed, args.count, 0.2)
            else:
                figures = state(args.nodes, args.loss, args.seed, args.changes, 10.0)
            print(f"{name}: {args.nodes} nodes, {args.loss:.0%} loss, seed {args.seed} ({perf_counter() - began:.0f} s to simulate)")
            for what, figure in figures.items():
                print(f"  {what:40} {figure}")


if __name__ == "__main__":
    main()
