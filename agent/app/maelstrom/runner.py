"""A small stand-in for Maelstrom: node processes, a network between them that is slow, loses and is cut, clients, and a verdict."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from msgspec import Struct

from agent.app.maelstrom.workloads import WORKLOADS, Body, Workload, definite
from agent.sim.history.operation import Recorder, dump

LINE_BYTES_MAX: Final = 16 << 20
INIT_S: Final = 30.0
SETTLE_S: Final = 30.0
"""For the last reads of all nodes to be equal, after the network is whole again."""


class Plan(Struct, frozen=True):
    workload: str = "lin-kv"
    nodes: int = 3
    clients: int = 6
    seconds: float = 10.0
    latency_s: float = 0.005
    """Mean of an exponential distribution, one way, between nodes. Clients are beside theirs."""
    loss: float = 0.0
    partition: bool = False
    """Cut the network in two, at another place each time, half of the time."""
    partition_s: float = 3.0
    client_timeout_s: float = 1.0
    seed: int = 1


class Result(Struct, frozen=True):
    good: bool
    text: str
    answered: int
    failed: int
    unknown: int
    p50_ms: float
    p99_ms: float
    between: int
    """Messages between nodes."""
    history: str
    """`agent/sim/history/operation.py`'s lines."""
    stderr: str


class Runner:
    """`command`: starts a node."""

    def __init__(self, plan: Plan, command: Sequence[str]) -> None:
        self.plan = plan
        self.names = [f"n{number}" for number in range(1, plan.nodes + 1)]
        self._command = command
        self._random = Random(plan.seed)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._waiting: dict[tuple[str, int], asyncio.Future[Body]] = {}
        self._number = 0
        self._side: dict[str, int] = dict.fromkeys(self.names, 0)
        self._recorder = Recorder(time.monotonic)
        self._workload: Workload = WORKLOADS[plan.workload](Random(plan.seed))
        self._failed = 0
        self._between = 0

    async def run(self) -> Result:
        with tempfile.TemporaryFile() as stderr:
            try:
                await self._start(stderr)
                finals = await self._play()
            finally:
                for process in self._processes.values():
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        operations = self._recorder.operations
        good, text = self._workload.judge(operations, finals)
        took = sorted(one.end - one.start for one in operations if one.known) or [0.0]
        return Result(
            good,
            text,
            sum(one.known for one in operations),
            self._failed,
            sum(not one.known for one in operations),
            took[len(took) // 2] * 1e3,
            took[len(took) * 99 // 100] * 1e3,
            self._between,
            dump(operations),
            said,
        )

    async def _start(self, stderr: Any) -> None:
        pipe = asyncio.subprocess.PIPE
        self._pumps = []
        for name in self.names:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=stderr, limit=LINE_BYTES_MAX)
            self._processes[name] = process
            self._pumps.append(asyncio.create_task(self._pump(process)))
        init = [self._call("c0", name, {"type": "init", "node_id": name, "node_ids": self.names}, INIT_S) for name in self.names]
        for answer in await asyncio.gather(*init):
            if answer is None or answer["type"] != "init_ok":
                raise RuntimeError(f"a node answered init with {answer}")
        if self._workload.final_read:
            topology = {name: [other for other in self.names if other != name] for name in self.names}
            await asyncio.gather(*(self._call("c0", name, {"type": "topology", "topology": topology}, INIT_S) for name in self.names))

    async def _play(self) -> list[Body]:
        until = time.monotonic() + self.plan.seconds
        nemesis = asyncio.create_task(self._nemesis())
        await asyncio.gather(*(self._client(number, until) for number in range(1, self.plan.clients + 1)))
        nemesis.cancel()
        self._side = dict.fromkeys(self.names, 0)
        return await self._final_reads() if self._workload.final_read else []

    async def _final_reads(self) -> list[Body]:
        """When they are equal, or the last ones."""
        until = time.monotonic() + SETTLE_S
        while True:
            answers = await asyncio.gather(*(self._call("c0", name, {"type": "read"}, SETTLE_S) for name in self.names))
            finals = [answer or {"messages": []} for answer in answers]
            whole = {json.dumps(sorted(final["messages"])) for final in finals}
            if len(whole) == 1 or time.monotonic() > until:
                return finals
            await asyncio.sleep(0.2)

    # -- the network

    async def _pump(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message["dest"] in self._processes:
                self._between += 1
                if self._random.random() >= self.plan.loss:
                    delay_s = self._random.expovariate(1 / self.plan.latency_s) if self.plan.latency_s else 0.0
                    asyncio.get_running_loop().call_later(delay_s, self._deliver, message, line)
            else:
                waiting = self._waiting.pop((message["dest"], message["body"].get("in_reply_to")), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["body"])

    def _deliver(self, message: dict[str, Any], line: bytes) -> None:
        # Cut when it would arrive: what was on its way is lost as well.
        if self._side[message["src"]] == self._side[message["dest"]]:
            self._write(message["dest"], line)

    def _write(self, name: str, line: bytes) -> None:
        stdin = self._processes[name].stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(line)

    async def _nemesis(self) -> None:
        while self.plan.partition:
            await asyncio.sleep(self.plan.partition_s)
            names = self._random.sample(self.names, len(self.names))
            cut = self._random.randint(1, max(1, len(names) - 1))
            self._side = {name: int(place < cut) for place, name in enumerate(names)}
            await asyncio.sleep(self.plan.partition_s)
            self._side = dict.fromkeys(self.names, 0)

    # -- clients

    async def _call(self, client: str, node: str, body: Body, timeout_s: float) -> Body | None:
        self._number += 1
        number = self._number
        waiting: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._waiting[client, number] = waiting
        self._write(node, json.dumps({"src": client, "dest": node, "body": {**body, "msg_id": number}}).encode() + b"\n")
        try:
            return await asyncio.wait_for(waiting, timeout_s)
        except TimeoutError:
            self._waiting.pop((client, number), None)
            return None

    async def _client(self, number: int, until: float) -> None:
        """One operation after the other, at one node. After an unknown outcome it goes on as another process, as Jepsen's do."""
        node = self.names[number % len(self.names)]
        process = number
        while time.monotonic() < until:
            operation, body = self._workload.request(self._recorder, process)
            answer = await self._call(f"c{number}", node, body, self.plan.client_timeout_s)
            if answer is None or not definite(answer):
                process += self.plan.clients
                continue
            self._workload.answered(self._recorder, operation, answer)
            if answer["type"] == "error" and not operation.known:
                self._failed += 1
                await asyncio.sleep(0.05)


def run(plan: Plan, command: Sequence[str] = (sys.executable, "-m", "agent", "maelstrom", "node")) -> Result:
    return asyncio.run(Runner(plan, command).run())
