"""Groups of three members on this machine, each with a folder of its own on the same disk and fdatasync as in production."""

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadtest import builds
from loadtest.processes import Process, free_port, get, until

SIZE = 3
INTERPRETED = "interpreted"
"""In place of an interpreter that has the agent installed: these sources as they are. Empty: a compiled build of them."""


class Group(Protocol):
    """What is measured. Members are numbers from 0."""

    name: str
    version: str
    api: str
    """Which requests `lua/keys.lua` makes."""

    def start(self) -> None:
        """Start every member and wait until one leads and all follow."""

    def ports(self) -> list[int]:
        """Where each member answers applications."""

    def pids(self) -> list[int]:
        """Of the members that live."""

    def leader(self) -> int:
        """The member that leads. LookupError where none is known."""

    def kill(self, member: int) -> None:
        """kill -9."""

    def revive(self, member: int) -> None:
        """Start it again with what it had stored, and wait until it follows."""

    def put(self, member: int, key: str, value: bytes, timeout_s: float) -> bool:
        """Whether the write was acknowledged. OSError where the member cannot be reached."""

    def stop(self) -> None:
        """End every member."""


@dataclass
class Members:
    """The processes of a group."""

    folder: Path
    commands: list[list[str]]
    cwd: Path | None = None
    running: dict[int, Process] = field(default_factory=dict)

    def start(self, number: int) -> Process:
        process = Process(self.commands[number], None, self.folder / f"{number}.log", self.cwd)
        self.running[number] = process
        return process

    def kill(self, number: int) -> None:
        self.running.pop(number).kill()

    def pids(self) -> list[int]:
        return [process.pid for process in self.running.values() if process.alive()]

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
        self.running.clear()


class Etcd:
    """etcd with its defaults: heartbeat 100 ms, election timeout 1 s."""

    name = "etcd"
    api = "etcd"

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("etcd")
        if binary is None:
            raise FileNotFoundError("etcd: not installed (Debian and Ubuntu: apt-get install etcd-server)")
        self.version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0].split()[-1]
        self._clients = [free_port() for _ in range(SIZE)]
        peers = [free_port() for _ in range(SIZE)]
        cluster = ",".join(f"m{number}=http://127.0.0.1:{peer}" for number, peer in enumerate(peers))
        folder.mkdir()
        self._members = Members(
            folder,
            [
                [
                    *(binary, "--name", f"m{number}", "--data-dir", str(folder / f"m{number}"), "--log-level", "error"),
                    *("--listen-client-urls", f"http://127.0.0.1:{self._clients[number]}"),
                    *("--advertise-client-urls", f"http://127.0.0.1:{self._clients[number]}"),
                    *("--listen-peer-urls", f"http://127.0.0.1:{peers[number]}"),
                    *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[number]}"),
                    *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
                ]
                for number in range(SIZE)
            ],
        )

    def start(self) -> None:
        for number in range(SIZE):
            self._members.start(number)
        for number in range(SIZE):
            self._await(number)

    def _await(self, number: int) -> None:
        until(lambda: self.put(number, "ready", b"1", 2.0), self._members.running[number], f"etcd member {number}")

    def ports(self) -> list[int]:
        return self._clients

    def pids(self) -> list[int]:
        return self._members.pids()

    def leader(self) -> int:
        for number in self._members.running:
            try:
                _, _, body = get(self._clients[number], "/v3/maintenance/status", 1.0, "POST", b"{}")
            except OSError:
                continue
            told = json.loads(body)
            if told.get("leader") == told.get("header", {}).get("member_id"):
                return number
        raise LookupError("no etcd member leads")

    def kill(self, member: int) -> None:
        self._members.kill(member)

    def revive(self, member: int) -> None:
        self._members.start(member)
        self._await(member)

    def put(self, member: int, key: str, value: bytes, timeout_s: float) -> bool:
        body = json.dumps({"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value).decode()}).encode()
        return get(self._clients[member], "/v3/kv/put", timeout_s, "POST", body)[0] == 200

    def stop(self) -> None:
        self._members.stop()


class Pilotfish:
    """Agents with the defaults: heartbeat 100 ms, election timeout 1 s; authenticated and encrypted by the cluster's key."""

    name = "pilotfish"
    api = "pilotfish"

    def __init__(self, folder: Path, build: str) -> None:
        command, self._cwd = [build or sys.executable, "-m", "agent"], folder
        if not build or build == INTERPRETED:
            command, self._cwd = [sys.executable, "-m", "agent"], builds.build(compiled=not build)
        folder.mkdir()
        self.version = builds.version(command, self._cwd).removeprefix("pilotfish ")
        self._apis, self._admins, gossip, peers = ([free_port() for _ in range(SIZE)] for _ in range(4))
        names = [f"m{number}" for number in range(SIZE)]
        key = base64.b64encode(os.urandom(32)).decode()
        commands = []
        for number, name in enumerate(names):
            file = folder / f"{name}.json"
            file.write_text(
                json.dumps(
                    {
                        "agent": {"id": name},
                        "listen": {"egress": "127.0.0.1:0", "admin": f"127.0.0.1:{self._admins[number]}"},
                        "cluster": {
                            "bind": f"127.0.0.1:{gossip[number]}",
                            "preset": "local",
                            "seeds": [f"127.0.0.1:{port}" for port in gossip],
                            "keys": [key],
                        },
                        "consensus": {
                            "bind": f"127.0.0.1:{peers[number]}",
                            "data": str(folder / name),
                            "bootstrap": names,
                            "api": {"listen": f"127.0.0.1:{self._apis[number]}"},
                        },
                        "services": {},
                    }
                ),
                encoding="utf-8",
            )
            commands.append([*command, "agent", "--config", str(file)])
        self._members = Members(folder, commands, self._cwd)

    def start(self) -> None:
        for number in range(SIZE):
            self._members.start(number)
        for number in range(SIZE):
            self._await(number)

    def _await(self, number: int) -> None:
        until(lambda: self.put(number, "ready", b"1", 2.0), self._members.running[number], f"agent {number}", 60.0)

    def ports(self) -> list[int]:
        return self._apis

    def pids(self) -> list[int]:
        return self._members.pids()

    def leader(self) -> int:
        for number in self._members.running:
            try:
                status, _, body = get(self._admins[number], "/consensus", 1.0)
            except OSError:
                continue
            if status == 200 and json.loads(body).get("role") == "leader":
                return number
        raise LookupError("no agent leads")

    def kill(self, member: int) -> None:
        self._members.kill(member)

    def revive(self, member: int) -> None:
        self._members.start(member)
        self._await(member)

    def put(self, member: int, key: str, value: bytes, timeout_s: float) -> bool:
        return get(self._apis[member], f"/v1/kv/{key}", timeout_s, "PUT", value)[0] == 200

    def stop(self) -> None:
        self._members.stop()


NAMES = ("pilotfish", "etcd")


def make(name: str, folder: Path, build: str = "") -> Group:
    """The group of that name, not started. FileNotFoundError where it is not installed."""
    return Etcd(folder) if name == "etcd" else Pilotfish(folder, build)
