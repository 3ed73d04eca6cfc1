"""One run of a swarm from a plan to a report."""

from collections.abc import Iterable
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agent.core.swim.config import PRESETS, SwimConfig, lifeguard, plain, validate
from agent.sim.engine import Engine
from agent.sim.network import NetworkConfig
from agent.sim.recorder import Crash, Recorder
from agent.sim.scenarios import SCENARIOS, network_for
from agent.sim.swarm import Swarm

SETTINGS = ("ours", "lifeguard", "plain", "phi")
PHI_THRESHOLD = 8.0


class Plan(Struct, frozen=True):
    nodes: int = 100
    minutes: float = 2.0
    seed: int = 1
    scenario: str = "crash"
    preset: str = "lan"
    setting: str = "ours"
    """ours; lifeguard: the paper's; plain: SWIM with suspicion; phi: ours with phi-accrual on ack history."""
    loss: float = 0.0
    zones: int = 3
    regions: int = 1
    across_s: float = 0.04
    """Median one-way latency between regions."""
    changes: tuple[tuple[str, float], ...] = ()
    """Fields of the preset's configuration that are others here."""


class Report(Struct, frozen=True):
    """What a run showed. Times in seconds; rates for a member and second, over all the run."""

    plan: Plan
    trace: str
    events: int
    crashes: int
    detected: int
    """Of those that stayed away long enough: noticed by every member that was well."""
    suspected_s: dict[str, float]
    confirmed_s: dict[str, float]
    all_know_s: dict[str, float]
    false_positives: int
    false_positives_at_healthy: int
    false_suspicions: int
    unwell_declared_dead: int
    refutations: int
    left: int
    convergence_s: list[float | None]
    bytes_s: float
    packets_s: float
    stream_bytes_s: float
    overflows: int
    series: list[tuple[float, float, float, int]]


def config_of(plan: Plan) -> SwimConfig:
    """The membership configuration that a plan means. Raises ValueError with what was found and expected."""
    if plan.preset not in PRESETS:
        raise ValueError(f"preset: found {plan.preset!r}, expected one of {', '.join(PRESETS)}")
    config = _changed(PRESETS[plan.preset], plan.changes)
    if plan.setting == "plain":
        return plain(config)
    if plan.setting == "lifeguard":
        return lifeguard(config)
    if plan.setting == "phi":
        return replace(config, phi_threshold=PHI_THRESHOLD)
    if plan.setting == "ours":
        return config
    raise ValueError(f"setting: found {plan.setting!r}, expected one of {', '.join(SETTINGS)}")


def _changed(config: SwimConfig, changes: tuple[tuple[str, float], ...]) -> SwimConfig:
    for name, value in changes:
        kind = type(getattr(config, name, None))
        if kind not in (int, float, bool):
            raise ValueError(f"change: found {name!r}, expected a field of the membership configuration")
        config = replace(config, **{name: kind(value)})
    wrong = validate(config)
    if wrong:
        raise ValueError("; ".join(wrong))
    return config


def simulate(plan: Plan) -> Report:
    """Raises ValueError for a plan that cannot be; what a core raises carries a note of the seed."""
    config = config_of(plan)
    if plan.scenario not in SCENARIOS:
        raise ValueError(f"scenario: found {plan.scenario!r}, expected one of {', '.join(SCENARIOS)}")
    if not 1 <= plan.nodes <= 10000:
        raise ValueError(f"nodes: found {plan.nodes}, expected 1 to 10000")
    engine = Engine(plan.seed)
    network = network_for(plan.scenario, NetworkConfig(loss=plan.loss, across_s=plan.across_s))
    swarm = Swarm(engine, config, plan.nodes, network, zones=plan.zones, regions=plan.regions)
    recorder = Recorder(swarm)
    end = plan.minutes * 60.0
    SCENARIOS[plan.scenario](swarm, recorder, Random(f"{plan.seed}/{plan.scenario}/{plan.nodes}"), end)
    engine.run(end)
    return _report(plan, swarm, recorder, end)


def _report(plan: Plan, swarm: Swarm, recorder: Recorder, end: float) -> Report:
    hosts = swarm.hosts
    share = 1.0 / (len(hosts) * end)
    crashes = [crash for crash in recorder.crashes if crash.over or end - crash.at > 25.0]
    return Report(
        plan=plan,
        trace=f"{swarm.engine.trace:016x}",
        events=swarm.engine.events,
        crashes=len(crashes),
        detected=sum(crash.all_at is not None for crash in crashes),
        suspected_s=_quantiles(_since(crash, crash.suspected_at) for crash in crashes),
        confirmed_s=_quantiles(_since(crash, crash.confirmed_at) for crash in crashes),
        all_know_s=_quantiles(_since(crash, crash.all_at) for crash in crashes),
        false_positives=recorder.false_positives,
        false_positives_at_healthy=recorder.false_positives_at_healthy,
        false_suspicions=recorder.false_suspicions,
        unwell_declared_dead=recorder.unwell_declared_dead,
        refutations=recorder.refutations,
        left=recorder.left,
        convergence_s=recorder.convergence_s,
        bytes_s=sum(host.bytes_out for host in hosts) * share,
        packets_s=sum(host.packets_out for host in hosts) * share,
        stream_bytes_s=sum(host.stream_bytes for host in hosts) * share,
        overflows=sum(host.overflows for host in hosts),
        series=recorder.series,
    )


def _since(crash: Crash, when: float | None) -> float | None:
    return None if when is None else when - crash.at


def _quantiles(found: Iterable[float | None]) -> dict[str, float]:
    values = sorted(value for value in found if value is not None)
    if not values:
        return {}
    return {"p50": values[len(values) // 2], "p99": values[min(len(values) - 1, len(values) * 99 // 100)], "max": values[-1]}


def summary(report: Report) -> dict[str, Any]:
    """For JSON: without the series."""
    return {
        name: getattr(report, name) if name != "plan" else {field: getattr(report.plan, field) for field in report.plan.__struct_fields__}
        for name in report.__struct_fields__
        if name != "series"
    }
