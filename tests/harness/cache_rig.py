"""An agent with a cache before an upstream that answers each target by a script of the test's own."""

import itertools
import threading
from collections.abc import Callable
from email.utils import formatdate
from time import time
from types import FunctionType
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient, Reply
from tests.harness.upstream import Answer, Close, Received, Upstream, response

Script = bytes | type[Close] | Callable[[Received], Answer]


class Rig:
    """`caches`: a cache policy for each host name ("{name}.test"); every one is a service before the same upstream."""

    def __init__(
        self, caches: dict[str, dict[str, Any]], *, store: dict[str, Any] | None = None, service: dict[str, Any] | None = None
    ) -> None:
        self.upstream = Upstream(self._answer)
        self.scripts: dict[str, list[Script]] = {}
        self.seen: dict[str, list[Received]] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        services = {
            name: {
                "hosts": [f"{name}.test"],
                "endpoints": [self.upstream.address],
                "retries": {"attempts": 0},
                "breaker": {"enabled": False},
                "outlier": {"enabled": False},
                "cache": {"enabled": True, **policy},
                **(service or {}),
            }
            for name, policy in caches.items()
        }
        config: dict[str, Any] = {"services": services}
        if store:
            config["cache"] = store
        self.agent = AgentProcess(config)

    def _answer(self, request: Received) -> Answer:
        with self._lock:
            seen = self.seen.setdefault(request.target, [])
            seen.append(request)
            scripts = self.scripts.get(request.target) or [response(b"no script", 404)]
            script = scripts[min(len(seen), len(scripts)) - 1]
        return script(request) if isinstance(script, FunctionType) else script  # type: ignore[return-value]

    def script(self, *answers: Script, target: str = "") -> str:
        """Say how the upstream answers a target, in order; the last answer stays. Returns the target (a new one unless given)."""
        target = target or f"/{next(self._numbers)}"
        self.scripts[target] = list(answers)
        self.seen[target] = []
        return target

    def count(self, target: str) -> int:
        """How many requests for the target the upstream saw."""
        return len(self.seen.get(target, []))

    def client(self) -> RawClient:
        return RawClient(self.agent.egress)

    def get(self, target: str, *lines: str, host: str = "web.test", method: str = "GET") -> Reply:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.get(target, host, *lines, method=method)

    def post(self, target: str, host: str = "web.test", method: str = "POST") -> Reply:
        with self.client() as client:
            client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi".encode())
            return client.reply(method)

    def __enter__(self) -> "Rig":
        self.agent.__enter__()
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        try:
            self.agent.__exit__(kind, value, trace)
        finally:
            self.upstream.close()


def date(offset_s: float = 0.0) -> str:
    """An HTTP date so many seconds from now."""
    return formatdate(time() + offset_s, usegmt=True)


def answer(*lines: str, body: bytes | str = b"hello", status: int = 200, reason: str = "OK") -> bytes:
    """A response with fields given as lines."""
    return response(body, status, [(name, value) for name, value in (line.split(": ", 1) for line in lines)], reason=reason)
