"""A group of one in this process: what the state API needs of a group, without consensus. And an API over it, to talk to.

`python -m tests.harness.state` serves it on a port, to look at and to measure.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from math import inf
from typing import Any

from agent.core.machine.config import Limits
from agent.core.machine.envelope import TICK, seal
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.replica.log import COMMAND, Entry
from agent.runtime.log import Logger
from agent.state.api import StateApi
from agent.state.config import ApiConfig
from agent.state.service import Consistency, Done, Ready

TICK_S = 0.05


class AloneService:
    """Commands are applied in the next turn of the loop, all of a turn together. A test may hold them back, or have them refused."""

    def __init__(self, limits: Limits | None = None, through: "AloneService | None" = None) -> None:
        self.machine: Machine | None = Machine(limits=limits) if through is None else None
        self.through = through
        """Whom this one asks, which has no state of its own then."""
        self.answers: Callable[[bytes], bytes] = lambda question: b""
        self.watchers: list[Callable[[int], None]] = []
        self.refuse = ""
        """A reason; everything is refused with it."""
        self.held = False
        """Nothing is applied or read until `release`."""
        self.fresh = True
        """Whether stale reads are fresh enough."""
        self.early = False
        """Commands under a session are answered before they are applied."""
        self.reads = 0
        self.submitted: list[tuple[bytes, int, int, int]] = []
        """Command, session, request and what is acknowledged, of everything."""
        self.remember = False
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self._commands: list[tuple[bytes, Done]] = []
        self._asked: list[Ready] = []
        self._scheduled = False
        self._ticking = self._loop.call_later(TICK_S, self._tick)

    # -- Service

    def submit(
        self, command: bytes, done: Done, timeout_s: float, session: int = 0, request: int = 0, acked: int = 0, *, safe: bool = False
    ) -> None:
        if self.through is not None and not self.refuse:
            self.through.submit(command, done, timeout_s, session, request, acked, safe=safe)
            return
        if self.early and session:
            # As the fast path does it: answered before it is applied, with nothing known of its place.
            self._loop.call_soon(done, "", Outcome())
            done = _unheard
        if self.remember:
            self.submitted.append((command, session, request, acked))
        if self.refuse:
            self._loop.call_soon(done, self.refuse, None)
            return
        if self.held:
            self._loop.call_later(timeout_s, self._late, (seal(self._now_ms(), session, request, acked, command), done))
        self._commands.append((seal(self._now_ms(), session, request, acked, command), done))
        self._schedule()

    def read(self, consistency: Consistency, ready: Ready, timeout_s: float, max_staleness_s: float = inf) -> None:
        self.reads += 1
        machine = self.machine
        if consistency == "stale" and machine is not None:
            if self.fresh or max_staleness_s == inf:
                ready("", machine.index)
            else:
                self._loop.call_soon(ready, "stale", 0)
        elif self.refuse or machine is None:
            self._loop.call_soon(ready, self.refuse or "stopped", 0)
        else:
            self._asked.append(ready)
            self._schedule()

    @property
    def client_only(self) -> bool:
        return self.through is not None

    def ask(self, question: bytes, lease: bool, answer: Callable[[str, bytes], None], timeout_s: float) -> None:
        through = self.through

        def asked(reason: str, index: int) -> None:
            assert through is not None
            answer(reason, through.answers(question) if not reason else b"")

        if through is None or self.refuse:
            self._loop.call_soon(answer, self.refuse or "timeout", b"")
        else:
            through.read("linearizable", asked, timeout_s)

    def answer_with(self, answer: Callable[[bytes], bytes]) -> None:
        self.answers = answer

    def status(self) -> dict[str, Any]:
        index = self.machine.index if self.machine is not None else 0
        return {
            "member": 1,
            "group": "main",
            "role": "leader",
            "term": 1,
            "leader": 1,
            "leader_name": "alone",
            "commit": index,
            "applied": index,
            "ready": self.machine is not None or self.client_only,
            "reason": "",
        }

    # -- what it does

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False
        self._schedule()

    def restore(self, chunks: list[bytes]) -> None:
        assert self.machine is not None
        self.machine.restore(chunks)
        self._tell()

    def pass_time(self, seconds: float) -> None:
        """Machine time goes forward."""
        self._began -= seconds

    def stop(self) -> None:
        self._ticking.cancel()

    def _now_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)

    def _schedule(self) -> None:
        if not self._scheduled and not self.held:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        machine = self.machine
        if machine is None:
            return
        commands, self._commands = self._commands, []
        asked, self._asked = self._asked, []
        outcomes = [machine.apply(Entry(1, machine.index + 1, COMMAND, data)) for data, _ in commands]
        for (_, done), outcome in zip(commands, outcomes, strict=True):
            done("", outcome)
        for ready in asked:
            ready("", machine.index)
        if commands:
            self._tell()

    def _late(self, item: tuple[bytes, Done]) -> None:
        if item in self._commands and self.held:
            self._commands.remove(item)
            item[1]("timeout", None)

    def _tell(self) -> None:
        assert self.machine is not None
        for watcher in list(self.watchers):
            watcher(self.machine.index)

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(TICK_S, self._tick)
        machine = self.machine
        if machine is not None and not self.held and self._now_ms() >= machine.next_due():
            machine.apply(Entry(1, machine.index + 1, COMMAND, seal(self._now_ms(), 0, 0, 0, TICK)))
            self._tell()


def _unheard(reason: str, outcome: Outcome | None) -> None:
    """It has been answered."""


async def serve(listen: str) -> None:
    service = AloneService()
    api = StateApi(service, ApiConfig(listen=listen), Logger(), "alone")
    await api.start()
    print(f"listening on {api.address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:15030"))
