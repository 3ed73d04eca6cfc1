"""The cluster's figures at a scrape."""

from typing import Any

from agent.admin.catalogue import Families

PREFIX = "pilotfish_cluster_"


def cluster_metrics(families: Families, fabric: Any) -> None:
    """`fabric`: of `agent.cluster.fabric`; one that has no figures (a test's) has no metrics either."""
    figures = getattr(fabric, "figures", None)
    if figures is None:
        return
    gossip = figures.gossip()
    counters = fabric.swim.counters
    for state, count in figures.states().items():
        families.add(PREFIX + "members", (state,), count)
    families.add(PREFIX + "health_score", (), fabric.swim.health)
    round_trips = figures.round_trips()
    gateway = fabric.gateway
    if gateway is not None and gateway.wan is not None:
        _wan(families, gateway)
    for quantile in (0.5, 0.99, 1.0) if round_trips else ():
        families.add(
            PREFIX + "probe_rtt_seconds", (f"{quantile:g}",), round_trips[min(int(quantile * len(round_trips)), len(round_trips) - 1)]
        )
    for result, count in (
        ("sent", counters.probes),
        ("indirect", counters.probes_indirect),
        ("stream", counters.probes_stream),
        ("failed", counters.probes_failed),
    ):
        families.add(PREFIX + "probes", (result,), count)
    for kind, count in sorted(fabric.events.counts.items()):
        families.add(PREFIX + "events", (kind,), count)
    for unit in ("packets", "bytes", "streams"):
        for direction in ("in", "out"):
            families.add(PREFIX + unit, (direction,), gossip[f"{unit}_{direction}"])
    for reason, count in sorted(figures.dropped().items()):
        families.add(PREFIX + "dropped", (reason,), count)
    for queue in ("members", "users"):
        families.add(PREFIX + "queue", (queue,), gossip[f"queued_{queue}"])
    families.add(PREFIX + "queue", ("packets",), gossip["waiting_packets"])
    for event, count in figures.invalidations().items():
        families.add(PREFIX + "invalidations", (event,), count)
    for source, looked in fabric.discovery.looked.items():
        families.add(PREFIX + "discovery_failures", (source,), looked.failures)
    for name, value in (
        ("suspicions", counters.suspicions),
        ("refutations", counters.refutations),
        ("stream_failures", gossip["stream_failures"]),
        ("foreign", gossip["foreign"]),
        ("send_errors", fabric.inlet.send_errors),
        ("clock_skew_seconds", gossip["clock_skew_s"]),
        ("clocks_refused", gossip["clocks_refused"]),
        ("lost_time_seconds", counters.lag_s),
        ("throttled_share", gossip["throttled_share"]),
        ("nodes", gossip["nodes"]),
        ("origins", gossip["origins"]),
        ("faults", gossip["faults"]),
    ):
        families.add(PREFIX + name, (), value)


def _wan(families: Families, gateway: Any) -> None:
    wan = gateway.wan
    gossip = wan.figures.gossip()
    for state, count in wan.figures.states().items():
        families.add(PREFIX + "wan_members", (state,), count)
    for unit in ("packets", "bytes"):
        for direction in ("in", "out"):
            families.add(f"{PREFIX}wan_{unit}", (direction,), gossip[f"{unit}_{direction}"])
    for event, count in {**wan.figures.invalidations(), "made_up": gateway.bridge.made_up}.items():
        families.add(PREFIX + "wan_invalidations", (event,), count)
