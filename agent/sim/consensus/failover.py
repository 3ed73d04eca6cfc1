"""How long nobody can write when a leader is gone: from its crash to the next command that a client is told of."""

from random import Random

from msgspec import Struct

from agent.sim.consensus.clients import Clients, ClientsConfig
from agent.sim.consensus.oracle import Oracle
from agent.sim.consensus.run import Core
from agent.sim.consensus.settings import Settings
from agent.sim.engine import Engine
from agent.sim.network import NetworkConfig

SETTLE_S = 2.5
MOST_S = 30.0
STEP_S = 0.02
CLIENTS = ClientsConfig(count=4, read_shares=(0.0,), think_s=0.04, timeout_s=0.1)


class Failover(Struct, frozen=True):
    """`took_s`: sorted, a crash each. `never`: crashes after which no command was answered within 30 s."""

    took_s: list[float]
    never: int

    def quantile(self, share: float) -> float:
        return self.took_s[min(len(self.took_s) - 1, int(len(self.took_s) * share))]


def measure(core: Core, seeds: range, voters: int = 3, zone_s: float = 0.0005) -> Failover:
    """One crash a seed. `zone_s`: one-way latency between the machines (median)."""
    took = [_one(core, seed, voters, zone_s) for seed in seeds]
    return Failover(sorted(seconds for seconds in took if seconds is not None), sum(seconds is None for seconds in took))


def _one(core: Core, seed: int, voters: int, zone_s: float) -> float | None:
    engine = Engine(seed)
    network = NetworkConfig(same_zone_s=zone_s, same_region_s=zone_s)
    swarm = core.swarm(engine, core.factory, Settings(voters=voters, network=network, snapshot_every=100_000))
    oracle = Oracle(swarm, durable_majorities=core.durable_majorities, one_leader=core.one_leader)
    swarm.watch(oracle)
    swarm.start()
    random = Random(f"{seed}/failover")
    clients = Clients(swarm, oracle, CLIENTS, random)
    engine.run(SETTLE_S + random.random())
    leader = swarm.leader()
    if leader is None:
        return None
    crashed = engine.now
    swarm.crash(leader, power=False)
    while engine.now < crashed + MOST_S:
        engine.run(engine.now + STEP_S)
        # What was asked before may have been committed before as well: only commands asked of those who are left count.
        after = [when for when, took in clients.latencies if when - took > crashed]
        if after:
            return min(after) - crashed
    return None
