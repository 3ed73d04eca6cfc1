"""The figures of the replicated state and its API at a scrape."""

from typing import Any

from agent.admin.catalogue import Families

PREFIX = "pilotfish_state_"


def state_metrics(families: Families, api: Any) -> None:
    """`api`: of `agent.state.api`."""
    figures = api.figures
    for methods in api.router.routes.values():
        for route in methods.values():
            families.add(PREFIX + "requests", (route.label,), route.count)
    for code, count in sorted(figures.errors.items()):
        families.add(PREFIX + "errors", (code,), count)
    for name, value in (
        ("connections", len(api.connections)),
        ("reads", api.reads.asked),
        ("read_rounds", api.reads.rounds),
        ("replayed", figures.replayed),
        ("waiting", len(api.waits)),
        ("watches", figures.watches),
        ("watch_events", figures.events),
        ("watches_compacted", figures.compacted),
        ("watches_slow", figures.slow),
    ):
        families.add(PREFIX + name, (), value)
    machine = api.service.machine
    if machine is None:
        return
    for name, value in (
        ("revision", machine.revision),
        ("keys", len(machine.kv.records)),
        ("bytes", machine.kv.bytes),
        ("history_events", len(machine.kv.history)),
        ("history_bytes", machine.kv.history.bytes),
        ("leases", len(machine.leases.table)),
        ("sessions", len(machine.sessions.table)),
        ("idempotency_keys", len(machine.once.table)),
        ("locks", len(machine.locks.table)),
        ("elections", len(machine.elections.table)),
        ("counters", len(machine.counters.table)),
        ("barriers", len(machine.barriers.table)),
    ):
        families.add(PREFIX + name, (), value)
