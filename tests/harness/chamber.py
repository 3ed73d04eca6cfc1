"""Agents of a group, each in a network namespace of its own on one bridge, so that any direction between two of them can be cut."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.consensus import Group
from tests.harness.network import own_network, run

API_PORT = 15030
TOOLS = ("nft", "ip")
MISSING = "network namespaces need root" if os.geteuid() != 0 else ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)
_numbers = itertools.count(1)


class Storied(Group):
    """A group with its API within reach, whose agents are killed, stopped and gone on with. No replica may ever have found itself in a
    state that it does not understand (`broken`)."""

    def __init__(self, *names: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self._started: list[AgentProcess] = []

    @property
    def broken(self) -> list[str]:
        """Why replicas stopped, and what else was logged as an error, of every process that was started. A full disk is none."""
        lines = (line for agent in self._started for line in agent.stderr)
        return [line for line in lines if ('"level": "error"' in line and '"wal_full"' not in line) or "Traceback" in line]

    def section(self, name: str) -> dict[str, Any]:
        return {**super().section(name), "api": {"listen": f"{self.hosts[name]}:{API_PORT}"}}

    def start_with(self, name: str, own: dict[str, Any]) -> AgentProcess:
        agent = super().start_with(name, {**own, "listen": {"admin": f"{self.hosts[name]}:0"}})
        self._started.append(agent)
        return agent

    @property
    def places(self) -> dict[str, tuple[str, int]]:
        return {name: (host, API_PORT) for name, host in self.hosts.items()}

    def kill(self, *names: str) -> None:
        """kill -9, all at once."""
        for name in names:
            self.agents[name].signal(signal.SIGKILL)
        for name in names:
            process = self.agents[name].process
            assert process is not None
            process.wait(10)

    def pause(self, name: str) -> None:
        self.agents[name].signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self.agents[name].signal(signal.SIGCONT)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        for name in self.running:
            self.resume(name)
        super().__exit__(kind, value, trace)
        if kind is None:
            assert not self.broken, self.broken


class Chamber(Storied):
    """Needs root (`MISSING`). A context manager; within it, this thread is in the namespace that has the bridge."""

    def __init__(self, *names: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self.hosts = {name: f"10.93.0.{number}" for number, name in enumerate(names, 1)}
        self.seeds = [f"{host}:{seed.rpartition(':')[2]}" for host, seed in zip(self.hosts.values(), self.seeds, strict=False)]
        self._spaces = {name: f"pf{os.getpid()}-{next(_numbers)}" for name in names}
        self.wrappers = {name: ("ip", "netns", "exec", space) for name, space in self._spaces.items()}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Chamber":
        with contextlib.ExitStack() as stack:
            stack.enter_context(own_network())
            stack.enter_context(self._networks())
            super().__enter__()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        try:
            super().__exit__(kind, value, trace)
        finally:
            self._stack.close()

    @contextlib.contextmanager
    def _networks(self) -> Iterator[None]:
        try:
            run("ip", "link", "add", "hub", "type", "bridge")
            run("ip", "address", "add", "10.93.0.254/24", "dev", "hub")
            run("ip", "link", "set", "hub", "up")
            for number, (name, space) in enumerate(self._spaces.items(), 1):
                run("ip", "netns", "add", space)
                run("ip", "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
                run("ip", "link", "set", f"to{number}", "master", "hub", "up")
                run("ip", "-n", space, "address", "add", f"{self.hosts[name]}/24", "dev", "eth0")
                run("ip", "-n", space, "link", "set", "eth0", "up")
                run("ip", "-n", space, "link", "set", "lo", "up")
            yield
        finally:
            for space in self._spaces.values():
                subprocess.run(("ip", "netns", "delete", space), capture_output=True, check=False)

    def cut(self, *pairs: tuple[str, str]) -> None:
        """Nothing gets from the first to the second of each pair any more (the other way it does), in place of what was cut before."""
        self.heal()
        for to in self.hosts:
            sources = [source for source, target in pairs if target == to]
            if sources:
                rules = "\n".join(f"ip saddr {self.hosts[source]} drop" for source in sources)
                table = f"table ip cut {{\nchain in {{\ntype filter hook input priority 0;\n{rules}\n}}\n}}\n"
                run("ip", "netns", "exec", self._spaces[to], "nft", "-f", "-", stdin=table)

    def split(self, *groups: tuple[str, ...]) -> None:
        """Nothing gets from one group to another, either way."""
        self.cut(*((a, b) for one in groups for other in groups if one is not other for a in one for b in other))

    def heal(self) -> None:
        for space in self._spaces.values():
            subprocess.run(("ip", "netns", "exec", space, "nft", "delete", "table", "ip", "cut"), capture_output=True, check=False)


@contextlib.contextmanager
def small_disks(folder: Path, names: list[str], size: str) -> Iterator[None]:
    """A file system of its own, of that size, for each agent's folder there."""
    mounted: list[Path] = []
    try:
        for name in names:
            path = folder / name
            path.mkdir(parents=True, exist_ok=True)
            run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path))
            mounted.append(path)
        yield
    finally:
        for path in mounted:
            subprocess.run(("umount", "-l", str(path)), capture_output=True, check=False)
