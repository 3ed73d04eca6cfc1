"""Microseconds a decision of the balancer takes: each policy at a few, at ten and at a thousand endpoints.

Measured is what the data path does for a request besides input and output: choose an endpoint, announce the request to it and
tell it how it went, with some requests always under way. A decision that walked over the endpoints would show as a line that
grows with their number.
"""

import json
import subprocess
import sys
from time import perf_counter

from agent.core.routing import cluster as measured
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Balance, Service
from agent.core.routing.endpoint import OK, EndpointSpec, hash_of
from loadtest.builds import ROOT, build

POLICIES = ("p2c_ewma", "least_request", "round_robin", "random", "ring_hash", "maglev")
COUNTS = (2, 10, 1000)
DECISIONS = 40_000
ROUNDS = 5
UNDER_WAY = 16


def one(policy: str, count: int, zone: str = "", decisions: int = DECISIONS) -> float:
    """The least of several rounds, µs a decision."""
    specs = [EndpointSpec(f"10.0.{number >> 8}.{number & 255}", 80, 1, "ab"[number % 2]) for number in range(count)]
    cluster = Cluster("web", Service(balance=Balance(policy=policy, hash_on="path")), zone, 1)  # type: ignore[arg-type]
    cluster.update(specs, 0.0)
    keys = [hash_of(b"/%d" % number) for number in range(1024)]
    now = 1.0
    under_way = [endpoint for endpoint in (cluster.pick(now, key) for key in keys[:UNDER_WAY]) if endpoint is not None]
    for endpoint in under_way:
        endpoint.begin(now)
    best = 1e9
    for _ in range(ROUNDS):
        begun = perf_counter()
        for number in range(decisions):
            now += 0.0001
            endpoint = cluster.pick(now, keys[number & 1023])
            assert endpoint is not None
            endpoint.begin(now)
            slot = number % UNDER_WAY
            under_way[slot].finish(now, 0.01 + 0.001 * (number & 7), OK)
            under_way[slot] = endpoint
        best = min(best, perf_counter() - begun)
    return best / decisions * 1e6


def rows() -> dict[str, list[float]]:
    """µs by policy, in the order of `COUNTS`; the last row is the default policy with a zone preferred."""
    found = {policy: [one(policy, count) for count in COUNTS] for policy in POLICIES}
    found["p2c_ewma, in zones"] = [one("p2c_ewma", count, "a") for count in COUNTS]
    return found


def table() -> str:
    """Both builds side by side, as text."""
    found: dict[str, dict[str, list[float]]] = {}
    for compiled in (False, True):
        try:
            folder = build(compiled)
        except RuntimeError as error:
            print(f"no compiled build: {error}", file=sys.stderr)
            continue
        script = f"import sys; sys.path.append({str(ROOT)!r}); from loadtest import micro; micro.inside()"
        run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
        answer = json.loads(run.stdout)
        assert answer["file"].startswith(str(folder)), answer["file"]
        found["compiled" if compiled else "interpreted"] = answer["rows"]
    lines = ["µs a decision (choose, announce, tell the outcome)", ""]
    lines.append(f"{'policy':<20}" + "".join(f"{kind} at {count}".rjust(20) for kind in found for count in COUNTS))
    for name in next(iter(found.values())):
        lines.append(f"{name:<20}" + "".join(f"{value:.2f}".rjust(20) for kind in found.values() for value in kind[name]))
    return "\n".join(lines)


def main() -> int:
    """``python -m loadtest micro``."""
    print(table())
    return 0


def inside() -> None:
    """Measure the build in whose folder this runs; JSON for `table`."""
    print(json.dumps({"file": str(measured.__file__), "rows": rows()}))
