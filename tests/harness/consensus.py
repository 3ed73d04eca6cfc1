"""Agents that are a group, each a real process with a folder of its own that outlives it."""

import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.mesh import Mesh
from tests.harness.wait import wait_until

CONSENSUS_PORT = 17948
TIMING = {"heartbeat": "50ms", "election": "500ms", "settle": "300ms", "replace_after": "3s"}
BOUND_S = 30.0


class Group(Mesh):
    """`founders`: who has them in `bootstrap`; the others join. `own`: what one's `consensus` has besides."""

    def __init__(
        self, *names: str, founders: tuple[str, ...] = (), own: dict[str, dict[str, Any]] | None = None, consensus: Any = None, **more: Any
    ) -> None:
        super().__init__(*names, **more)
        self.founders = founders or names
        self.own = own or {}
        self.consensus = consensus or {}
        self.folders = Path(tempfile.mkdtemp(prefix="pilotfish-group-"))

    def section(self, name: str) -> dict[str, Any]:
        base = {
            "bind": f"{self.hosts[name]}:{CONSENSUS_PORT}",
            "data": str(self.folders / name),
            "timing": TIMING,
            "learners": 0,
            "api": {"listen": "127.0.0.1:0"},
        }
        if name in self.founders:
            base["bootstrap"] = list(self.founders)
        found = {**base, **self.consensus, **self.own.get(name, {})}
        return {key: value for key, value in found.items() if value is not None}

    def start(self, name: str) -> AgentProcess:
        old = self.agents.get(name)
        if old is not None:
            old.__exit__(AssertionError, None, None)  # its folder goes; that it did not crash was looked at by whoever stopped it
        return self.start_with(name, {"consensus": self.section(name)})

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        try:
            super().__exit__(kind, value, trace)
        finally:
            shutil.rmtree(self.folders, ignore_errors=True)

    def wipe(self, name: str) -> None:
        """Its disk is empty."""
        shutil.rmtree(self.folders / name, ignore_errors=True)

    # -- how it stands

    @property
    def running(self) -> list[str]:
        return [name for name, agent in self.agents.items() if agent.process is not None and agent.process.poll() is None]

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.agents[name].get("/consensus")
        return found

    def leader(self, *among: str) -> str:
        """Who leads, once all of these (or all that run) say the same and it is one of them that leads."""
        names = among or tuple(self.running)

        def agreed() -> str:
            found = {self.status(name)["leader_name"] for name in names}
            one = found.pop() if len(found) == 1 else ""
            return one if one in names and self.status(one)["role"] == "leader" else ""

        return wait_until(agreed, f"a leader of {names}", BOUND_S)

    def voters(self, by: str) -> set[str]:
        rows = self.status(by)["members"]
        return {row["name"] for row in rows if row["role"] in ("leader", "voter")} | {
            row["name"] for row in rows if row["becomes"] == "voter"
        }

    def wait_for_voters(self, *names: str, by: str = "") -> None:
        """Until the group has exactly these voters, and no change is under way."""

        def so() -> bool:
            rows = self.status(by or self.leader())["members"]
            voters = {row["name"] for row in rows if row["role"] in ("leader", "voter")}
            return voters == set(names) and not any(row["becomes"] for row in rows)

        wait_until(so, f"{names} to be the voters", BOUND_S)

    def wait_for_applied(self, index: int, *names: str) -> None:
        wait_until(lambda: all(self.status(name)["applied"] >= index for name in names or self.running), f"index {index}", BOUND_S)


class Client:
    """Of one agent's state API. Answers are (status, body, headers)."""

    def __init__(self, group: Group, name: str) -> None:
        self.group = group
        self.name = name

    def call(self, method: str, path: str, body: bytes | None = None, limit_s: float = 15.0, **headers: str) -> tuple[int, bytes, Any]:
        found = self.group.agents[self.name].addresses.get("state")
        if not found:
            raise ConnectionRefusedError("it is not ready yet")
        address = found[0]
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{address}{path}", body, fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=limit_s) as response:
                return response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def put(self, key: str, value: str, **headers: str) -> int:
        return self.call("PUT", f"/v1/kv/{key}", value.encode(), Content_Type="application/octet-stream", **headers)[0]

    def get(self, key: str, query: str = "") -> str | None:
        status, body, _ = self.call("GET", f"/v1/kv/{key}{query}")
        return body.decode() if status == 200 else None
