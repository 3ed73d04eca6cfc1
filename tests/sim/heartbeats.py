"""Phi-accrual on heartbeats between a few gateways, beside SWIM's probes: ``python -m tests.sim.heartbeats --loss 0.02``.

Every gateway sends each other one a heartbeat each second and judges it by the history of the gaps (Hayashibara 2004, section 4.2):
phi(t) = -log10 P(a gap longer than t), normally distributed. `--grace` is added to the mean, as Akka's acceptable-heartbeat-pause is.
"""

import argparse
from collections import deque
from math import erfc, sqrt
from random import Random
from statistics import fmean, pstdev

from agent.sim.network import Network, NetworkConfig

INTERVAL_S = 1.0
WINDOW = 200
"""Gaps remembered of each peer."""
DEVIATION_MIN_S = 0.05
CHECK_S = 0.05
DOWN_S = 40.0


class History:
    """What one gateway has heard of another."""

    def __init__(self) -> None:
        self.gaps: deque[float] = deque([INTERVAL_S] * 10, WINDOW)
        self.last = 0.0
        self.suspected = False
        self.limit_s = 0.0

    def heard(self, now: float, deviations: float, grace_s: float) -> None:
        if not self.suspected:
            self.gaps.append(now - self.last)
        self.last = now
        self.suspected = False
        self.limit_s = fmean(self.gaps) + grace_s + deviations * max(DEVIATION_MIN_S, pstdev(self.gaps))


def deviations_for(phi: float) -> float:
    """How many standard deviations above the mean phi is reached."""
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * erfc(middle / sqrt(2.0)) > 10**-phi else (low, middle)
    return high


def run(nodes: int, minutes: float, seed: int, across_s: float, loss: float, phi: float, grace_s: float) -> dict[str, float]:
    random = Random(seed)
    network = Network(NetworkConfig(across_s=across_s, loss=loss), [(i, 0) for i in range(nodes)], random)
    histories = {(i, j): History() for i in range(nodes) for j in range(nodes) if i != j}
    deviations = deviations_for(phi)
    arrivals: list[tuple[float, int, int]] = []
    send_at = [INTERVAL_S * random.random() for _ in range(nodes)]
    down, down_at, next_down_at = -1, 0.0, 60.0
    found: list[float] = []
    false_suspicions = packets = 0
    now = 0.0
    while now < minutes * 60:
        now += CHECK_S
        if down < 0 and now >= next_down_at:
            down, down_at, noticed = int(random.random() * nodes), now, False
        elif down >= 0 and now >= down_at + DOWN_S:
            down, next_down_at = -1, now + 20.0
        for i in range(nodes):
            if send_at[i] <= now:
                send_at[i] += INTERVAL_S
                for j in range(nodes):
                    if i not in (j, down):
                        packets += 1
                        arrivals += [(now + delay_s, j, i) for delay_s in network.delays(i, j)]
        for when, here, there in sorted(arrival for arrival in arrivals if arrival[0] <= now):
            if here != down:
                histories[here, there].heard(when, deviations, grace_s)
        arrivals = [arrival for arrival in arrivals if arrival[0] > now]
        for (here, there), history in histories.items():
            if here == down:
                history.last = now
            elif not history.suspected and history.limit_s and now - history.last > history.limit_s:
                history.suspected = True
                if there != down:
                    false_suspicions += 1
                elif not noticed:
                    noticed = True
                    found.append(now - down_at)
    found.sort()
    return {
        "crashes": len(found),
        "first suspected p50": round(found[len(found) // 2], 2),
        "max": round(found[-1], 2),
        "false suspicions an hour": round(false_suspicions * 60 / minutes, 1),
        "packets / member / s": round(packets / nodes / minutes / 60, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--across", type=float, default=0.1)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--phi", type=float, default=8.0)
    parser.add_argument("--grace", type=float, default=0.0)
    args = parser.parse_args()
    print(run(args.nodes, args.minutes, args.seed, args.across, args.loss, args.phi, args.grace))


if __name__ == "__main__":
    main()
