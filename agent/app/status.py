"""``pilotfish status``: what a running agent does, through its admin port."""

import argparse
import json
import sys
import time
from typing import Any

from agent.app.admin_client import Admin, AdminError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--admin", default="127.0.0.1:15020", help="the agent's admin address: host:port or unix:/path")
    parser.add_argument("--once", action="store_true", help="print once instead of a live view")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    admin = Admin(args.admin)
    try:
        snapshot = admin.snapshot()
        if args.json:
            print(json.dumps(snapshot, indent=2))
        elif args.once or not sys.stdout.isatty():
            print("\n".join(lines(snapshot)))
        else:
            from rich.live import Live

            with Live(table(snapshot), refresh_per_second=4) as view:
                while True:
                    time.sleep(0.5)
                    view.update(table(admin.snapshot()))
    except AdminError as error:
        print(f"pilotfish status: {error}", file=sys.stderr)
        return 1
    return 0


def hit_ratio(outcomes: dict[str, int]) -> float:
    """Answered from the store, of what the cache was asked."""
    hits = outcomes.get("hit", 0) + outcomes.get("stale", 0)
    asked = hits + outcomes.get("miss", 0) + outcomes.get("revalidated", 0)
    return hits / asked if asked else 0.0


def lines(snapshot: dict[str, Any], names: dict[str, str] | None = None) -> list[str]:
    """The snapshot as plain lines. names: what to call endpoints beside their address."""
    status, cache = snapshot["status"], snapshot["cache"]
    state = "draining" if status["draining"] else "ready"
    found = [
        f"agent {status['id']}: {state}, up {status['uptime_s']:.0f} s, cache {cache['entries']} entries {cache['used_bytes']:,} B, "
        f"configuration {status['reload']['generation']} ({status['reload']['result']})"
    ]
    for name, row in status["services"].items():
        parts = " ".join(f"{key}={value}" for key, value in row["outcomes"].items())
        found.append(
            f"  {name}: {row['requests']} requests ({parts}), hit ratio {hit_ratio(row['outcomes']):.1%}, "
            f"p50 {_at_most(row, 'p50')} ms, p99 {_at_most(row, 'p99')} ms, retries {row['retries']}"
        )
    found.extend(_troubles(status))
    for cluster in snapshot["clusters"]:
        for row in cluster["endpoints"]:
            found.append(
                f"    {(names or {}).get(row['address'], cluster['name'])} {row['address']}: {condition(row)}, {row['ewma_ms']:.1f} ms, "
                f"{row['requests']} tries, {row['failures']} failed, breaker {row['breaker']}"
            )
    return found


def _at_most(row: dict[str, Any], quantile: str) -> str:
    value = row.get(f"{quantile}_ms_at_most", 0.0)
    return "> 30000" if value is None else f"<= {value:g}"


def _troubles(status: dict[str, Any]) -> list[str]:
    """What a person has to look at: draining, a configuration that was not taken, plugins that failed."""
    found = ["  draining: no new connections soon"] if status["draining"] else []
    found.extend(f"  configuration {status['reload']['result']}: {problem}" for problem in status["reload"]["problems"])
    for name, row in status.get("plugins", {}).items():
        if row["faults"]:
            state = "" if row["enabled"] else "SWITCHED OFF, "
            found.append(f"  plugin {name}: {state}{row['faults']} faults, the last: {row['last_fault']}")
    return found


def condition(row: dict[str, Any]) -> str:
    """One word for an endpoint."""
    if row["ejected_for_s"] > 0:
        return f"ejected {row['ejected_for_s']:.0f} s"
    if not row["healthy"]:
        return "unhealthy"
    return "usable" if row["usable"] else "waiting"


def table(snapshot: dict[str, Any], names: dict[str, str] | None = None) -> Any:
    """The snapshot as a rich table. names: what to call endpoints beside their address."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    status, cache = snapshot["status"], snapshot["cache"]
    services = Table(title=f"pilotfish agent {status['id']}", title_justify="left")
    for name in ("service", "requests", "hit", "miss", "stale", "bypass", "hit ratio", "p50 ms", "p99 ms", "retries", "5xx"):
        services.add_column(name, justify="left" if name == "service" else "right")
    for name, row in status["services"].items():
        out = row["outcomes"]
        services.add_row(
            name,
            str(row["requests"]),
            *(str(out.get(kind, 0)) for kind in ("hit", "miss", "stale", "bypass")),
            f"{hit_ratio(out):.1%}",
            _at_most(row, "p50"),
            _at_most(row, "p99"),
            str(row["retries"]),
            str(row["classes"].get("5xx", 0)),
        )
    endpoints = Table()
    for name in (*(["instance"] if names else []), "endpoint", "condition", "breaker", "EWMA ms", "in flight", "tries", "failed"):
        endpoints.add_column(name, justify="left" if name in ("instance", "endpoint", "condition", "breaker") else "right")
    for cluster in snapshot["clusters"]:
        for row in cluster["endpoints"]:
            colour = "green" if row["usable"] else "red"
            endpoints.add_row(
                *([names.get(row["address"], "")] if names else []),
                row["address"],
                Text(condition(row), style=colour),
                row["breaker"],
                f"{row['ewma_ms']:.1f}",
                str(row["in_flight"]),
                str(row["requests"]),
                str(row["failures"]),
            )
    foot = f"cache: {cache['entries']} entries, {cache['used_bytes']:,} of {cache['size_bytes']:,} bytes ({cache['policy']})"
    return Group(services, endpoints, Text(foot), *(Text(line.strip(), style="red") for line in _troubles(status)))
