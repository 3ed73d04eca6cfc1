"""What befalls a swarm, by name. A scenario draws from chance of its own, so that every setting meets the same misfortunes."""

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from agent.sim.network import NetworkConfig
from agent.sim.recorder import Recorder
from agent.sim.swarm import Host, Swarm

SETTLE_S = 5.0
DOWN_S = 40.0
"""How long a crashed member stays away."""
UNWELL_SHARE = 0.25
"""As in the Lifeguard paper's worst runs: 32 of 128."""
PARTITION_S = 20.0
PARTITION_EVERY_S = 60.0

Scenario = Callable[[Swarm, Recorder, Random, float], None]


def steady(_swarm: Swarm, _recorder: Recorder, _random: Random, _end: float) -> None:
    """nothing happens"""


def crash(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """members crash one after another and come back 40 s later"""
    _crashes(swarm, recorder, random, end, swarm.hosts)


def _crashes(swarm: Swarm, recorder: Recorder, random: Random, end: float, hosts: list[Host]) -> None:
    # A fifth of a small cluster is away at most, and a death has time to be noticed everywhere before the end.
    last = end - 30.0
    room = max(1, len(swarm.hosts) // 5)
    step_s = max(DOWN_S / room, (last - SETTLE_S) / 200)
    when = SETTLE_S
    while when < last:
        swarm.engine.at(when + random.random() * step_s / 2, _crash_one, recorder, hosts, random.random())
        when += step_s


def _crash_one(recorder: Recorder, hosts: list[Host], chance: float) -> None:
    up = [host for host in hosts if host.up and not host.left]
    if len(up) > 1:
        host = up[int(chance * len(up))]
        recorder.crash(host)
        recorder._swarm.engine.after(DOWN_S, recorder.restart, host)


def _unwell(swarm: Swarm, random: Random) -> list[Host]:
    chosen = random.sample(swarm.hosts, max(1, int(len(swarm.hosts) * UNWELL_SHARE)))
    for host in chosen:
        host.healthy = False
    return chosen


def _cycle(swarm: Swarm, host: Host, random: Random, run_s: tuple[float, float], stop_s: tuple[float, float]) -> None:
    stop = random.uniform(*stop_s)
    swarm.pause(host, stop)
    least, most = run_s
    # Log-uniform, as the Lifeguard paper's intervals are: most of the time it runs too little to hear what it is told.
    swarm.engine.after(stop + least * (most / least) ** random.random(), _cycle, swarm, host, random, run_s, stop_s)


def pause(swarm: Swarm, _recorder: Recorder, random: Random, _end: float) -> None:
    """a quarter of the members stop for about 5 s again and again, and run a moment between"""
    for host in _unwell(swarm, random):
        own = Random(random.random())
        swarm.engine.at(SETTLE_S + 5 * own.random(), _cycle, swarm, host, own, (0.002, 2.0), (4.0, 6.0))


def slow(swarm: Swarm, _recorder: Recorder, random: Random, _end: float) -> None:
    """a quarter of the members have a few milliseconds of CPU now and then, as under a tight cgroup quota"""
    for host in _unwell(swarm, random):
        own = Random(random.random())
        swarm.engine.at(SETTLE_S + own.random(), _cycle, swarm, host, own, (0.002, 0.1), (0.1, 3.0))


def loss(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """5 % of the packets are lost, some come twice or late; members crash too"""
    crash(swarm, recorder, random, end)


def partition(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """every minute the network falls into halves for 20 s"""
    _partitions(swarm, recorder, random, end, 0.5, False)


def asymmetric(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """every minute a tenth of the members is heard but does not hear, for 20 s"""
    _partitions(swarm, recorder, random, end, 0.9, True)


def _partitions(swarm: Swarm, recorder: Recorder, random: Random, end: float, share: float, one_way: bool) -> None:
    for host in swarm.hosts:
        host.healthy = False
    when = SETTLE_S
    while when + PARTITION_S + 15.0 < end:
        order = random.sample(range(len(swarm.hosts)), len(swarm.hosts))
        border = max(1, int(len(order) * share))
        swarm.engine.at(when, _part, swarm, [order[:border], order[border:]], one_way)
        swarm.engine.at(when + PARTITION_S, _heal, swarm, recorder)
        when += PARTITION_EVERY_S


def _part(swarm: Swarm, sides: list[list[int]], one_way: bool) -> None:
    swarm.network.partition(sides, one_way=one_way)


def _heal(swarm: Swarm, recorder: Recorder) -> None:
    swarm.network.heal()
    recorder.watch_convergence()


def partial(swarm: Swarm, _recorder: Recorder, random: Random, _end: float) -> None:
    """a tenth of the pairs cannot reach each other, all the time; everybody reaches most"""
    count = len(swarm.hosts)
    for _ in range(count * count // 20):
        one, other = random.randrange(count), random.randrange(count)
        swarm.network.cut(one, other)
        swarm.network.cut(other, one)


def skew(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """clocks are hours apart and run up to 2 % fast or slow; members crash too"""
    for host in swarm.hosts:
        swarm.skew(host, random.uniform(0.0, 10000.0), random.uniform(0.98, 1.02))
    crash(swarm, recorder, random, end)


def churn(swarm: Swarm, recorder: Recorder, random: Random, end: float) -> None:
    """members leave gracefully, one after another, and come back 40 s later"""
    when = SETTLE_S
    step_s = max(1.0, DOWN_S / max(1, len(swarm.hosts) // 5))
    while when < end - 10.0:
        swarm.engine.at(when, _leave_one, swarm, recorder, random.random())
        when += step_s


def _leave_one(swarm: Swarm, recorder: Recorder, chance: float) -> None:
    living = swarm.living()
    if len(living) > 1:
        host = living[int(chance * len(living))]
        swarm.leave(host)
        swarm.engine.after(swarm.config.leave_timeout_s + 1.0, swarm.crash, host)
        swarm.engine.after(DOWN_S, recorder.restart, host)


SCENARIOS: dict[str, Scenario] = {
    "steady": steady,
    "crash": crash,
    "pause": pause,
    "slow": slow,
    "loss": loss,
    "partition": partition,
    "asymmetric": asymmetric,
    "partial": partial,
    "skew": skew,
    "churn": churn,
}


def network_for(scenario: str, config: NetworkConfig) -> NetworkConfig:
    """The network that the scenario wants."""
    if scenario == "loss":
        return replace(config, loss=max(config.loss, 0.05), duplication=0.01, reordering=0.05)
    return config
