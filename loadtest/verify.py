"""That a scenario is what it says: right answers, bodies that arrive, hits that are hits, protection and metrics that are on."""

import json
import os
import re
from typing import Any

from loadtest.processes import get
from loadtest.proxies import Proxy
from loadtest.scenarios import Scenario
from loadtest.upstream import body
from loadtest.wrk import Counted


def wrong_answer(port: int, scenario: Scenario) -> list[str]:
    """What is wrong with one answer of the scenario; for POST also whether the body reaches the upstream as it was sent."""
    status, _, content = get(port, scenario.path, method=scenario.method, body=b"x" * 1024 if scenario.method == "POST" else b"")
    if status != 200:
        return [f"status {status}"]
    if scenario.method == "POST":
        sent = os.urandom(512).hex().encode()
        if get(port, "/echo", method="POST", body=sent)[2] != sent:
            return ["the upstream did not get the body that was sent"]
    return [] if content == body(scenario.size) else [f"a wrong body of {len(content)} bytes"]


def wrong_counts(scenario: Scenario, counted: Counted, reached: int) -> list[str]:
    """What the counts show to be wrong: errors, short responses, hits that were none, forwards that did not reach the upstream."""
    faults = [f"{count} {kind} errors" for kind, count in counted.errors.items()]
    if not counted.requests:
        return [*faults, "no response"]
    if counted.bytes < counted.requests * scenario.size:
        faults.append("responses are short")
    # A few refreshes of an entry are no fault.
    if scenario.hit and reached > 10 + counted.requests // 1000:
        faults.append(f"{reached} of {counted.requests} hits reached the upstream")
    if not scenario.hit and reached < counted.requests:
        faults.append(f"only {reached} of {counted.requests} requests reached the upstream")
    return faults


def is_agent(proxy: Proxy) -> bool:
    """Whether it is ours, and so has an admin API to ask."""
    return proxy.name.startswith("agent")


def unprotected(proxy: Proxy) -> list[str]:
    """What of the agent's protection is off in its running configuration; the figures are to be those of the defaults."""
    if not is_agent(proxy):
        return []
    running: dict[str, Any] = json.loads(get(proxy.admin_port, "/config")[2])
    service = running["services"]["web"]
    missing = [name for name in ("breaker", "outlier", "concurrency") if not service[name]["enabled"]]
    missing += ["retries"] if not service["retries"]["attempts"] else []
    missing += ["why"] if not running["why"]["recent"] else []
    return [f"{', '.join(missing)} not switched on"] if missing else []


def own_count(proxy: Proxy) -> int:
    """Requests that the agent's own metrics count; 0 of others."""
    if not is_agent(proxy):
        return 0
    text = get(proxy.admin_port, "/metrics")[2].decode()
    found = re.findall(r"^pilotfish_request_duration_seconds_count\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    return int(sum(float(value) for value in found))


def wrong_own_count(proxy: Proxy, counted: Counted, before: int) -> list[str]:
    """Whether the agent's metrics missed requests that the client had answers to."""
    if not is_agent(proxy):
        return []
    seen = own_count(proxy) - before
    return [] if seen >= counted.requests else [f"the metrics count {seen} of {counted.requests} requests"]
