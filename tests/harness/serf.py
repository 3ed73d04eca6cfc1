"""Real `serf agent` processes, members that we did not write, and a member of ours beside them. Each has a loopback address."""

import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvloop

from agent.core.swim.config import LOCAL
from agent.core.swim.core import Swim
from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Deliver, Effect, Input, Join, Leave, MemberEvent, PacketIn
from agent.core.swim.messages import STATE_NAMES, NodeState, Ping
from agent.core.swim.serf import encode_tags, leave_intent
from agent.core.swim.wire import encoded_size
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.transport.sockets import SocketTransport
from tests.harness.wait import wait_until

SERF = shutil.which("serf")
PORT = 17946
RPC_PORT = 17373
_numbers = itertools.count(1)


def loopback_address() -> str:
    """An address of 127/8 that no other test process uses."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 8) % 64}.{pid & 0xFF}.{next(_numbers) % 254 + 1}"


class SerfAgent:
    """A process between construction and `kill` or `stop`. `flags`: as on its command line."""

    def __init__(self, name: str, *flags: str, join: str = "", host: str = "") -> None:
        assert SERF is not None
        self.name = name
        self.host = host or loopback_address()
        self.rpc = f"-rpc-addr={self.host}:{RPC_PORT}"
        self._directory = tempfile.TemporaryDirectory(prefix="pilotfish-serf-")
        self._log = Path(self._directory.name) / "log"
        joining = [f"-join={join}:{PORT}"] if join else []
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                [SERF, "agent", f"-node={name}", f"-bind={self.host}:{PORT}", self.rpc, "-profile=local", *joining, *flags],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.process.poll() is not None or self.members(), f"{name} to answer")
        assert self.process.poll() is None, self.log()

    def command(self, verb: str, *arguments: str) -> str:
        """Run one of Serf's commands on this agent; what it said."""
        assert SERF is not None
        done = subprocess.run([SERF, verb, self.rpc, *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def members(self) -> dict[str, str]:
        """Name to state (alive, leaving, left, failed) as this agent sees it."""
        said = self.command("members", "-format=json")
        return {each["name"]: each["status"] for each in json.loads(said)["members"]} if said.startswith("{") else {}

    def wait_for(self, **states: str) -> None:
        """Until this agent sees all these members so."""

        def seen() -> bool:
            members = self.members()
            return all(members.get(name) == state for name, state in states.items())

        wait_until(seen, f"{self.name} to see {states}; it sees {self.members()}", 30.0)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._directory.cleanup()

    def __enter__(self) -> "SerfAgent":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


class Watched(Swim):
    """The core, counting the pings that it was sent by each member."""

    pings: dict[str, int]

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        if isinstance(event, PacketIn) and isinstance(event.message, Ping):
            source = event.message.source_node
            self.pings[source] = self.pings.get(source, 0) + 1
        return super().step(now, event)


class OurMember:
    """A member of ours on real sockets, in a thread of its own."""

    def __init__(self, name: str, envelope: Envelope | None = None, state: bytes = b"") -> None:
        self.name = name
        self.host = loopback_address()
        self.envelope = envelope or Envelope()
        self.events: list[tuple[str, str]] = []
        self.delivered: list[bytes] = []
        self._state = state
        self._started = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10), "our member did not start"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        own = NodeState(self.name, socket.inet_aton(self.host), PORT, 1, 0, encode_tags({"role": "pilotfish"}))
        self.core = Watched(LOCAL, own, random.Random(self.name).random, time.monotonic(), encoded_size, lambda _join: self._state)
        self.core.pings = {}
        self.driver = Driver(self.core, SocketTransport((self.host, PORT)), self.envelope, self._tell, Logger("error"))
        await self.driver.start()
        self._started.set()
        await self._stopping.wait()
        await self.driver.stop()

    def _tell(self, effect: Effect) -> None:
        if isinstance(effect, MemberEvent):
            self.events.append((effect.kind, effect.member.name))
        elif isinstance(effect, Deliver):
            self.delivered.append(effect.payload)

    def feed(self, event: Input) -> None:
        """From another thread than the member's."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self.driver.feed(event), done.set()))
        assert done.wait(10)

    def join(self, host: str) -> None:
        self.feed(Join(((host, PORT),)))

    def leave(self) -> None:
        self.feed(leave_intent(self.name, 100))
        self.feed(Leave())
        self.wait_for_event("leave", self.name)

    def members(self) -> dict[str, str]:
        return {node.name: STATE_NAMES[node.state] for node in self.core.members()}

    def wait_for(self, **states: str) -> None:
        """Until we see all these members so."""
        wait_until(
            lambda: all(self.members().get(name) == state for name, state in states.items()),
            f"our member to see {states}; it sees {self.members()}",
            30.0,
        )

    def wait_for_event(self, kind: str, name: str) -> None:
        wait_until(lambda: (kind, name) in self.events, f"{kind} of {name}; there were {self.events}", 30.0)

    def stop(self) -> None:
        """Fall silent, as a process that is killed."""
        if self._thread.is_alive():
            assert self._stopping is not None
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    def __enter__(self) -> "OurMember":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
