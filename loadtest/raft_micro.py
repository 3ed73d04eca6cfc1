"""What a command costs in the Raft core: three replicas in one process, no disk, no network; the core's own time, for each step.

Messages are handed over as they are (`core`), or through the wire's codec (`codec`: encoding and decoding, which the transport pays).
"""

import json
import subprocess
import sys
from collections import deque
from random import Random
from time import perf_counter

from agent.core.raft import core, wire
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.replica import io
from agent.core.replica.log import Members, Peer, Recovered, SnapshotMeta
from loadtest.builds import ROOT, build

BATCHES = (1, 8, 32, 64, 256)
COMMANDS = 64_000
STRETCH = 512
"""Commands of one measurement."""
COMMAND_BYTES = 120
"""An envelope with a key and 64 octets of value."""


class Bench:
    """The replicas' time is counted for the leader and one follower; the other is there for the majority."""

    def __init__(self) -> None:
        ids = (1, 2, 3)
        members = Members(voters=ids, peers=tuple(Peer(one, f"n{one}") for one in ids))
        begin = Recovered(snapshot=SnapshotMeta(index=1, term=1, members=members))
        self.raft = {one: Raft(one, RaftConfig(), Random(one), begin, 0.0) for one in ids}
        self.spent = dict.fromkeys(ids, 0.0)
        self.codec = 0.0
        self.now = 0.0
        self.committed = 0
        while self.leader() is None:
            self.now += 0.05
            for one in ids:
                self.run(one, io.Wake())

    def leader(self) -> Raft | None:
        return next((one for one in self.raft.values() if one.role == "leader"), None)

    def run(self, at: int, event: io.Input, codec: bool = False) -> None:
        queue = deque([(at, event)])
        spent = self.spent
        while queue:
            at, event = queue.popleft()
            begin = perf_counter()
            effects = self.raft[at].step(self.now, event)
            spent[at] += perf_counter() - begin
            for effect in effects:
                if isinstance(effect, io.Send):
                    message = effect.message
                    if codec:
                        begin = perf_counter()
                        message = wire.decode(wire.encode(message))
                        self.codec += perf_counter() - begin
                    queue.append((effect.to, io.Receive(at, message)))
                elif isinstance(effect, io.Persist):
                    # After the messages, as on a disk.
                    queue.append((at, io.Stored(effect.number)))
                elif isinstance(effect, io.Deliver) and self.raft[at].role == "leader":
                    self.committed += len(effect.entries)


def measure(batch: int, commands: int = COMMANDS) -> tuple[float, float, float]:
    """µs a command: in the leader, in a follower, in the codec for both followers. The lowest tenth of many short stretches: other
    processes of the machine take their time from the rest."""
    bench = Bench()
    leader = bench.leader()
    assert leader is not None
    follower = next(one for one in bench.raft if one != leader.me)
    data = bytes(COMMAND_BYTES)
    rounds = max(STRETCH // batch, 1)
    found: list[tuple[float, float, float]] = []
    for codec in (False, True):
        for _ in range(commands // STRETCH):
            bench.spent = dict.fromkeys(bench.spent, 0.0)
            bench.codec = 0.0
            before = bench.committed
            for _ in range(rounds):
                bench.now += 0.001
                if bench.now >= leader.next_wake():
                    bench.run(leader.me, io.Wake())
                items = tuple([(ticket, data) for ticket in range(batch)])
                bench.run(leader.me, io.Propose(items), codec)
            meta = io.SnapshotTaken(SnapshotMeta(index=leader.commit - 1, term=leader.term, members=leader.members, size=1))
            for one in bench.raft:
                bench.run(one, meta)
            total = (bench.committed - before) / 1e6
            found.append((bench.spent[leader.me] / total, bench.spent[follower] / total, bench.codec / total))
    half = len(found) // 2
    return (lowest([one[0] for one in found[:half]]), lowest([one[1] for one in found[:half]]), lowest([one[2] for one in found[half:]]))


def lowest(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]


def rows() -> list[tuple[float, float, float]]:
    return [measure(batch) for batch in BATCHES]


def main() -> int:
    """``python -m loadtest raft``: both builds."""
    print(f"{'µs a command':<24}" + "".join(f"{name:>12}" for name in ("leader", "follower", "codec")))
    for compiled in (False, True):
        try:
            folder = build(compiled)
        except RuntimeError as error:
            print(f"no compiled build: {error}", file=sys.stderr)
            continue
        script = f"import sys; sys.path.append({str(ROOT)!r}); from loadtest import raft_micro; raft_micro.inside()"
        run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
        answer = json.loads(run.stdout)
        assert answer["file"].startswith(str(folder)), answer["file"]
        for batch, row in zip(BATCHES, answer["rows"], strict=True):
            name = f"{'compiled' if compiled else 'interpreted'}, batch of {batch}"
            print(f"{name:<24}" + "".join(f"{value:12.2f}" for value in row))
    return 0


def inside() -> None:
    """Measure the build in whose folder this runs; JSON for `main`."""
    print(json.dumps({"file": str(core.__file__), "rows": rows()}))
