"""The measurements: each is a round of one group, so that groups can take turns."""

import itertools
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass

from loadtest import wrk
from loadtest.consensus.groups import Group
from loadtest.processes import cpu_s

ASK_TIMEOUT_S = 0.25
"""How long the client of a failover waits for one member before it asks another."""
MISSED_AFTER_S = 30.0


@dataclass(frozen=True)
class Load:
    """What is asked of a group: `spread` over all members, or of the leader alone."""

    name: str
    title: str
    operation: str
    connections: int
    spread: bool


LOADS = (
    Load("put-c1", "put, 1 client, at the leader", "put", 1, False),
    Load("put-c64", "put, 64 clients, at the leader", "put", 64, False),
    Load("put-c64-spread", "put, 64 clients over all members", "put", 64, True),
    Load("get-c64", "linearizable get, 64 clients, at the leader", "get", 64, False),
    Load("get-c64-spread", "linearizable get, 64 clients over all members", "get", 64, True),
)
LOAD_BY_NAME = {load.name: load for load in LOADS}


@dataclass(frozen=True)
class Sample:
    """One round: requests a second, latency in µs (of the slowest client where there are several), CPU of the members per request."""

    group: str
    load: str
    round: int
    rate: float
    p50_us: int
    p99_us: int
    cpu_us: float
    errors: dict[str, int]


@dataclass(frozen=True)
class Failover:
    """One kill -9 of a leader: seconds until the next write was acknowledged."""

    group: str
    round: int
    seconds: float


def warm(group: Group) -> None:
    """Put every key that a load reads. RuntimeError where wrk is absent or fails."""
    port = group.ports()[group.leader()]
    for salt in range(len(group.ports())):
        wrk.counted(*_client(group, port, "put", 1, 64, salt).communicate())


def loaded(group: Group, load: Load, number: int, seconds: int) -> Sample:
    """Put the load on the group for so many seconds. RuntimeError where wrk is absent or fails."""
    leader = group.leader()
    ports = group.ports() if load.spread else [group.ports()[leader]]
    share, rest = divmod(load.connections, len(ports))
    began = sum(cpu_s(pid) for pid in group.pids())
    clients = [_client(group, port, load.operation, seconds, share + (place < rest), place) for place, port in enumerate(ports)]
    counted = [wrk.counted(*client.communicate()) for client in clients]
    used = sum(cpu_s(pid) for pid in group.pids()) - began
    requests = sum(one.requests for one in counted)
    errors = {kind: sum(one.errors.get(kind, 0) for one in counted) for kind in {kind for one in counted for kind in one.errors}}
    return Sample(
        group.name,
        load.name,
        number,
        round(sum(one.requests / one.duration_s for one in counted), 1),
        max(one.p50_us for one in counted),
        max(one.p99_us for one in counted),
        round(used / max(1, requests) * 1e6, 1),
        errors,
    )


def _client(group: Group, port: int, operation: str, seconds: int, connections: int, salt: int) -> subprocess.Popen[str]:
    """wrk, started. `salt`: it has keys of its own."""
    words = {"LOADTEST_LUA": str(wrk.LUA), "LOADTEST_API": group.api, "LOADTEST_OP": operation, "LOADTEST_SALT": str(salt)}
    command = wrk.command(port, "/", seconds, connections, "keys.lua")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **words})


def failover(group: Group, number: int) -> Failover:
    """Kill the leader while a client writes; the client asks the others in turn. The dead member is started again after."""
    leader = group.leader()
    others = [member for member in range(len(group.ports())) if member != leader]
    group.put(leader, f"failover/{number}", b"before", 5.0)
    group.kill(leader)
    began = time.perf_counter()
    for member in itertools.cycle(others):
        try:
            if group.put(member, f"failover/{number}", b"after", ASK_TIMEOUT_S):
                break
        except OSError:
            pass
        if time.perf_counter() - began > MISSED_AFTER_S:
            raise RuntimeError(f"{group.name}: no write was acknowledged within {MISSED_AFTER_S:.0f} s of the leader's death")
        time.sleep(0.005)
    took = time.perf_counter() - began
    group.revive(leader)
    return Failover(group.name, number, round(took, 4))


def as_json(samples: list[Sample], failovers: list[Failover]) -> str:
    """For a file."""
    return json.dumps({"samples": [asdict(one) for one in samples], "failovers": [asdict(one) for one in failovers]}, indent=1) + "\n"
