"""Local applications beside meshed agents: small HTTP servers, each a process of its own that can be killed."""

import subprocess
import sys
import threading
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.mesh import Mesh
from tests.harness.wait import wait_until

PROGRAM = """
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
name, count = sys.argv[1], 0
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global count
        count += self.path != "/healthz"
        self.answer(f"{name} {count}".encode())
    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(b"written")
    do_POST = do_PUT
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Cache-Tag", "all-of-it")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    request_queue_size = 128
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class App:
    """One of them. `address` stays."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, name], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Fleet(Mesh):
    """A mesh of pods: an agent with an application that it announces as `web`. Those in `alone` have none."""

    def __init__(self, *names: str, alone: tuple[str, ...] = (), service: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(*names, **more)
        self.service = service or {}
        self.apps = {name: App(name) for name in names if name not in alone}

    def configuration(self, name: str) -> dict[str, Any]:
        config: dict[str, Any] = {"services": {"web": {"hosts": ["web"], "discovered": True, **self.service}}}
        if name in self.apps:
            check = {"path": "/healthz", "interval": "0.2s", "unhealthy": 1}
            config["announce"] = [{"service": "web", "address": self.apps[name].address, "health": check}]
        return config

    def start(self, name: str) -> AgentProcess:
        return self.start_with(name, self.configuration(name))

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        try:
            super().__exit__(kind, value, trace)
        finally:
            for app in self.apps.values():
                app.kill()

    # -- what agents know and answer

    def endpoints(self, name: str) -> dict[str, str]:
        """Address to origin, as that agent has them."""
        return {row["address"]: row["origin"] for cluster in self.agents[name].get("/clusters") for row in cluster["endpoints"]}

    def wait_for_endpoints(self, *announcing: str, by: tuple[str, ...] = (), limit_s: float = 10.0) -> None:
        """Until these agents (all that run) have exactly the applications of those members."""
        wanted = {self.apps[name].address: f"member {name}" for name in announcing}
        watching = by or self.running
        wait_until(lambda: all(self.endpoints(name) == wanted for name in watching), f"{wanted} everywhere", limit_s)

    def kill_pod(self, name: str) -> None:
        """Agent and application, at once, without a word."""
        self.apps[name].kill()
        self.agents[name].kill()

    @property
    def running(self) -> tuple[str, ...]:
        """The agents that are."""
        return tuple(name for name, agent in self.agents.items() if agent.process is not None and agent.process.poll() is None)

    def ask(self, name: str, target: str = "/", method: str = "GET", *lines: str) -> tuple[int, str, str]:
        """Status, body and Cache-Status of a request through that agent."""
        with RawClient(self.agents[name].egress) as client:
            reply = client.get(target, "web", *lines, method=method)
            return reply.status, reply.body.decode(), reply.header("Cache-Status") or ""


class Traffic:
    """One client at each of some agents, a request every few milliseconds, each on a connection that is kept. A context manager;
    `failures` has all that was not 200."""

    def __init__(self, fleet: Fleet, *names: str, pause_s: float = 0.005) -> None:
        self.failures: list[str] = []
        self.counts = dict.fromkeys(names, 0)
        self._fleet = fleet
        self._pause_s = pause_s
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(name,), daemon=True) for name in names]

    def _run(self, name: str) -> None:
        number = 0
        try:
            with RawClient(self._fleet.agents[name].egress) as client:
                while not self._over.wait(self._pause_s):
                    number += 1
                    reply = client.get(f"/{name}/{number}", "web")
                    self.counts[name] += 1
                    if reply.status != 200:
                        self.failures.append(f"{name}: {reply.status} {reply.body!r}")
        except (OSError, EOFError) as error:
            self.failures.append(f"{name}: {error!r}")

    def more(self, count: int) -> None:
        """Wait until each client has had so many more answers."""
        wanted = {name: had + count for name, had in self.counts.items()}
        wait_until(lambda: self.failures or all(self.counts[name] >= least for name, least in wanted.items()), "traffic", 30.0)

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        self.more(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
