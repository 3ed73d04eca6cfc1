"""A cluster that does as a test says, behind the face that the admin server knows; and an agent in this process that has it."""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.admin.server import AdminServer
from agent.app.settings import load, redacted
from agent.app.wiring import Agent
from agent.runtime.log import Logger

KEY = "c2l4dGVlbiBvY3RldHMhIQ=="
"""16 octets."""
OTHER_KEY = "AAECAwQFBgcICQoLDA0ODw=="


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def member(name: str, zone: str = "a", state: str = "alive", **more: Any) -> dict[str, Any]:
    """A row as the fabric gives it."""
    row = {
        "name": name,
        "address": f"10.0.0.{len(name) % 250}:7946",
        "region": "eu-1",
        "zone": zone,
        "state": state,
        "since_s": 12.5,
        "incarnation": 3,
        "rtt_ms": 0.42,
        "roles": ["agent"],
        "admin": "127.0.0.1:15020",
        "tags": {"role": "web"},
        "versions": {"agent": "0.1.0", "protocol": 5},
        "health": {"level": "ok", "reason": ""},
        "load": {"cpu": 0.31, "memory": 0.5, "loop_lag_s": 0.001, "in_flight": 4, "queue": 0, "ai": 0.0, "latency": {}},
        "cache": {"entries": 10, "bytes": 4096, "hits": 80, "asked": 100},
        "hot": {"keys": 3, "bits": 64},
        "peers_ms": {"test-1": 0.5},
        "announced": [],
        "judgements": [],
    }
    return {**row, **more}


class FakeFabric:
    """`rows` are the members, ourselves (`test-1`) first; `emit` makes something happen. Whatever is not the test's answers well."""

    def __init__(self) -> None:
        self.rows = [member("test-1", rtt_ms=None, cache=None, peers_ms=None), member("web-2"), member("web-3", "b")]
        self.keyring = [KEY]
        self.left = False
        self.round_trips: dict[str, float | None] = {"web-2": 0.00042, "web-3": None}
        self.encrypted = True
        self._callbacks: list[Callable[[dict[str, Any]], None]] = []

    def snapshot(self) -> dict[str, Any]:
        return {
            "self": {
                "name": "test-1",
                "address": "10.0.0.1:7946",
                "region": "eu-1",
                "zone": "a",
                "cluster": "blue",
                "preset": "lan",
                "incarnation": 1,
                "encrypted": self.encrypted,
                "health_score": 0,
                "health": {"level": "ok", "reason": ""},
            },
            "members": self.rows,
            "keys": [{"fingerprint": fingerprint(key), "bits": 128, "primary": at == 0} for at, key in enumerate(self.keyring)],
            "gossip": {"packets_sent": 10},
            "invalidations": {"applied": 2},
            "wan": None,
        }

    async def wan(self) -> dict[str, Any]:
        row = {"name": "web-1.eu-1", "address": "10.0.0.1:7947", "region": "eu-1", "state": "alive", "since_s": 3.0, "rtt_ms": None}
        return {"region": "eu-1", "gateway": True, "regions": {"us": 80.5, "ap": None}, "members": [row]}

    async def ping(self, name: str) -> float:
        found = self.round_trips[name]
        if found is None:
            raise TimeoutError
        return found

    async def leave(self) -> None:
        self.left = True
        self.rows = self.rows[:1]

    async def change_keys(self, op: str, key: str) -> dict[str, Any]:
        if op == "install":
            self.keyring.append(key)
        elif op != "list" and key not in self.keyring:
            raise ValueError(f"the key {key} is not installed")
        elif op == "use":
            self.keyring.insert(0, self.keyring.pop(self.keyring.index(key)))
        elif op == "remove":
            if key == self.keyring[0]:
                raise ValueError("the primary key cannot be removed; use another before")
            self.keyring.remove(key)
        keys = [{"fingerprint": fingerprint(key), "primary": at == 0, "members": 2} for at, key in enumerate(self.keyring)]
        return {"op": op, "scope": "cluster", "acknowledged": 2, "of": 3, "errors": {"web-3": "does not answer"}, "keys": keys}

    def subscribe(self, callback: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def stop(self) -> None:
        """It has nothing to end."""

    def emit(self, kind: str, name: str, detail: str = "", at: float = 1_700_000_000.0) -> None:
        for callback in self._callbacks:
            callback({"at": at, "kind": kind, "member": name, "detail": detail})


class AdminThread:
    """An agent and its admin port in a thread. `do` runs a function on its loop. A context manager."""

    def __init__(self, config: Path, fabric: FakeFabric | None = None) -> None:
        self._config = config
        self.fabric = fabric
        self.address = ""
        self.agent: Any = None
        self.server: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def do(self, function: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(20)

    async def _start(self) -> None:
        settings = load(self._config, {})
        self.agent = Agent(settings, Logger("error", "json"))
        self.agent.fabric = self.fabric

        async def reload(cause: str) -> dict[str, object]:
            return dict(self.agent.reload)

        self.server = AdminServer(self.agent, reload, redacted)
        await self.agent.start()
        await self.server.start(settings.listen.admin)
        self.address = self.server.address

    async def _stop(self) -> None:
        await self.agent.drain()
        await self.agent.stop()
        await self.server.stop()

    def __enter__(self) -> "AdminThread":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


def configuration(folder: Path, **more: Any) -> Path:
    """A file for `AdminThread`: ports that the kernel chooses, no waiting at the end."""
    path = folder / "agent.yaml"
    config = {
        "agent": {"id": "test-1", "region": "eu-1", "zone": "a"},
        "listen": {"egress": "127.0.0.1:0", "admin": "127.0.0.1:0"},
        "drain": {"delay": "0s", "timeout": "1s"},
        **more,
    }
    path.write_bytes(msgspec.json.encode(config))  # JSON is YAML
    return path
