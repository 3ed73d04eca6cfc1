"""Traffic between gateways as a function of the number of regions: ``python -m tests.sim.regions``."""

import argparse

from agent.core.gossip.across import BORDER, region_of
from agent.core.gossip.io import Invalidate, Publish
from agent.sim.run import Plan, simulate
from tests.sim.gossip_net import percentile
from tests.sim.regions_net import WAN, Regions

QUIET_S = 30.0
FAR_BYTES = 400
"""Endpoints of a region in one of its parts: about four of them."""


def gossip(regions: int, members: int, gateways: int, seed: int, count: int) -> dict[str, float]:
    """What the gateways' gossip costs, and how soon a purge is everywhere. across: 50 ms one way."""
    net = Regions(regions, members, gateways, seed)
    for host in net.live():
        if WAN in host.name:
            region = host.name.partition("-")[0]
            host.give(Publish(tuple((f"far:{region}:{part}", net.random.randbytes(FAR_BYTES)) for part in range(8))))
    net.run(60.0)
    before = sum(net.wan_bytes.values())
    net.run(QUIET_S)
    quiet = (sum(net.wan_bytes.values()) - before) / len(net.bridges) / QUIET_S
    before = sum(net.wan_bytes.values())
    sent: dict[str, float] = {}
    ordinary = [host.name for host in net.members() if host.name not in net.bridges]
    for number in range(count):
        name = net.random.choice(ordinary)
        sent[f"{name}/{net.hosts[name].core.invalidations.own.highest + 1}"] = net.now
        net.issue(name, Invalidate(number, "url", b"shop.example.com", b"/catalogue/item/%d" % number))
        net.run(0.5)
    net.run(10.0)
    busy = (sum(net.wan_bytes.values()) - before) / len(net.bridges) - quiet * (count * 0.5 + 10.0)
    delays = [
        at - sent[f"{origin.partition(BORDER)[2]}/{sequence}"]
        for host in net.members()
        for (origin, _, sequence), at in host.applied.items()
        if region_of(origin)
    ]
    expected = count * members * (regions - 1)
    return {"quiet": quiet, "purge": busy / count, "p99_ms": percentile(delays, 0.99) * 1000, "missed": expected - len(delays)}


def membership(regions: int, gateways: int, seed: int) -> float:
    """Octets a second that membership among the gateways costs each."""
    report = simulate(Plan(regions * gateways, 5.0, seed, "steady", "wan", regions=regions, across_s=0.05))
    return report.bytes_s + report.stream_bytes_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--members", type=int, default=10, help="of a region")
    parser.add_argument("--gateways", type=int, default=2, help="of a region")
    parser.add_argument("--count", type=int, default=20, help="purges, anywhere")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(
        f"{args.gateways} gateways and {args.members} members a region, 50 ms one way, seed {args.seed}; octets sent by a gateway to others"
    )
    print(f"{'regions':>8}{'membership /s':>15}{'gossip /s, quiet':>18}{'for one purge':>15}{'everywhere p99 ms':>19}{'missed':>8}")
    for regions in args.regions:
        found = gossip(regions, args.members, args.gateways, args.seed, args.count)
        cost = membership(regions, args.gateways, args.seed)
        print(f"{regions:>8}{cost:>15.0f}{found['quiet']:>18.0f}{found['purge']:>15.0f}{found['p99_ms']:>19.0f}{found['missed']:>8.0f}")


if __name__ == "__main__":
    main()
