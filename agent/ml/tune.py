"""Learn election timeouts from simulated groups, and say how the learnt choice compares with the rule: ``python -m agent.ml.tune``.

A scenario is a group under load on a network (round trip, its spread, loss) with crashes of members. For each of a few timeouts it is
run, and the mean time that commands took is what the model learns. Judged on scenarios that it has not seen, by the timeout that it
chooses, against the rule (ten round trips, within bounds), the default, and the best that was tried.
"""

import argparse
from math import log
from random import Random
from statistics import mean
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent.core.modes.epoch import ELECTION_MS, clip
from agent.core.modes.forest import Forest
from agent.ml.export import flat
from agent.sim.network import NetworkConfig
from agent.sim.switching import RAFT, Plan, simulate

CANDIDATES_MS: Final = (150, 300, 600, 1200, 2400)
DEFAULT_MS: Final = 1000
FEATURES: Final = ("log_rtt", "spread", "loss", "crashes", "log_timeout")
WORST_S: Final = 15.0


class Scenario(Struct, frozen=True):
    seed: int
    rtt_s: float
    spread: float
    loss: float
    crashes: int

    def row(self, timeout_ms: int) -> tuple[float, ...]:
        return (log(self.rtt_s), self.spread, self.loss, float(self.crashes), log(timeout_ms))


def scenario(seed: int) -> Scenario:
    random = Random(seed)
    rtt_s = 10 ** random.uniform(-3.3, -0.7)
    return Scenario(seed, rtt_s, random.uniform(0.1, 0.9), random.choice((0.0, 0.0, 0.01, 0.05)), random.randrange(6))


def cost_s(one: Scenario, timeout_ms: int) -> float:
    """The mean time of a command, in seconds."""
    timeout_s = timeout_ms / 1000.0
    raft = replace(RAFT, election_s=timeout_s, heartbeat_s=min(0.1, timeout_s / 5))
    network = NetworkConfig(same_zone_s=one.rtt_s / 2, spread=one.spread)
    plan = Plan(
        one.seed,
        (),
        bad_s=12.0,
        good_s=9.0,
        commands=60,
        crashes=one.crashes,
        blackouts=0,
        partitions=0,
        loss=one.loss,
        raft=raft,
        network=network,
    )
    group = simulate(plan)
    return mean(min(WORST_S, (asked.done_at if asked.done else WORST_S + asked.asked_at) - asked.asked_at) for asked in group.asked)


def rule_ms(one: Scenario) -> int:
    """Ten round trips (Raft dissertation, 3.9 and 9: broadcast time an order of magnitude below), within the same bounds."""
    return clip(max(150, int(10_000 * one.rtt_s)), ELECTION_MS)


def choose(forest: Forest, one: Scenario) -> int:
    """What the model finds cheapest."""
    return min(CANDIDATES_MS, key=lambda timeout_ms: forest.predict(one.row(timeout_ms)))


def train(rows: list[tuple[float, ...]], costs: list[float]) -> Any:
    import lightgbm
    import numpy

    data = lightgbm.Dataset(numpy.array(rows), numpy.log(numpy.array(costs)), feature_name=list(FEATURES))
    settings = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 10, "learning_rate": 0.1, "verbose": -1, "seed": 1}
    return lightgbm.train(settings, data, num_boost_round=60)


def compare(forest: Forest, scenarios: list[Scenario]) -> dict[str, float]:
    """Mean cost in seconds, by who chooses."""
    found: dict[str, list[float]] = {"default": [], "rule": [], "model": [], "best tried": []}
    for one in scenarios:
        tried = {timeout_ms: cost_s(one, timeout_ms) for timeout_ms in CANDIDATES_MS}
        found["model"].append(tried[choose(forest, one)])
        found["best tried"].append(min(tried.values()))
        found["rule"].append(cost_s(one, rule_ms(one)))
        found["default"].append(cost_s(one, DEFAULT_MS))
    return {name: mean(costs) for name, costs in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agent.ml.tune", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=120, help="to learn from; a third as many to judge by")
    parser.add_argument("--out", default="", help="write the flat model there, as JSON")
    options = parser.parse_args()
    learn = [scenario(seed) for seed in range(options.scenarios)]
    judge = [scenario(1_000_000 + seed) for seed in range(options.scenarios // 3)]
    cases = [(one.row(timeout_ms), cost_s(one, timeout_ms)) for one in learn for timeout_ms in CANDIDATES_MS]
    forest = flat(train([row for row, _ in cases], [cost for _, cost in cases]))
    for name, cost in compare(forest, judge).items():
        print(f"{name:12} {cost * 1000:8.1f} ms")
    if options.out:
        with open(options.out, "wb") as file:
            file.write(msgspec.json.encode(forest))


if __name__ == "__main__":
    main()
