"""Agents that form a cluster on loopback addresses, each a real process."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.serf import PORT, loopback_address
from tests.harness.wait import wait_until

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()


def clustered(name: str, host: str, seeds: list[str], **more: Any) -> dict[str, Any]:
    """A configuration. `cluster` in `more` replaces what stands there."""
    section = {"bind": f"{host}:{PORT}", "name": "blue", "preset": "local", "seeds": seeds, "keys": [KEY], **more.pop("cluster", {})}
    return {"agent": {"id": name, "region": "eu", "zone": "a"}, "cluster": {k: v for k, v in section.items() if v is not None}, **more}


class Mesh:
    """Agents by name. A context manager: they stop at the end, in whatever state. `each(name)`: what one's `cluster` has besides."""

    def __init__(self, *names: str, each: Callable[[str], dict[str, Any]] = lambda name: {}, **more: Any) -> None:
        self.hosts = {name: loopback_address() for name in names}
        self.seeds = [f"{host}:{PORT}" for host in list(self.hosts.values())[:2]]
        self.each = each
        self.more = more
        self.agents: dict[str, AgentProcess] = {}
        self.wrappers: dict[str, tuple[str, ...]] = {}
        """What an agent's command line is handed to."""

    def start(self, name: str) -> AgentProcess:
        """Start it (again), under the same name at the same address."""
        return self.start_with(name, {})

    def start_with(self, name: str, own: dict[str, Any]) -> AgentProcess:
        """The same with a configuration of its own beside what all have."""
        more = {**own, **self.more, "cluster": {**self.more.get("cluster", {}), **self.each(name)}}
        agent = AgentProcess(clustered(name, self.hosts[name], self.seeds, **more), wrapper=self.wrappers.get(name, ()))
        self.agents[name] = agent
        return agent.start()

    def __enter__(self) -> "Mesh":
        try:
            for name in self.hosts:
                self.start(name)
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        for agent in self.agents.values():
            agent.__exit__(kind, value, trace)

    def sees(self, name: str) -> dict[str, str]:
        """Member to state, as that agent sees it."""
        return {row["name"]: row["state"] for row in json.loads(self.agents[name].call("/cluster/members")[1])}

    def wait_for(self, by: list[str], limit_s: float = 10.0, **states: str) -> None:
        """Until all of these agents see all these members so."""

        def seen() -> bool:
            return all(self.sees(name).get(member) == state for name in by for member, state in states.items())

        wait_until(seen, f"{by} to see {states}; they see {[self.sees(name) for name in by]}", limit_s)

    def row(self, by: str, name: str) -> dict[str, Any]:
        return next(row for row in self.agents[by].get("/cluster/members") if row["name"] == name)
