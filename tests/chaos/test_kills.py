"""Processes that die under load: upstreams, and the agent itself."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"hello"
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
s = S(("127.0.0.1", int(sys.argv[1])), H)
print(s.server_port, flush=True)
s.serve_forever()
"""


class Instance:
    """One upstream process."""

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Load:
    """Clients that ask without pause, each on its own connection, and count what they get."""

    def __init__(self, agent: AgentProcess, clients: int = 4) -> None:
        self.agent = agent
        self.good = 0
        self.bad: list[str] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def _run(self) -> None:
        client: RawClient | None = None
        while not self.stop.is_set():
            try:
                client = client or RawClient(self.agent.egress)
                reply = client.get("/")
                if reply.status == 200 and reply.body == b"hello":
                    self.good += 1
                else:
                    self.bad.append(f"{reply.status} {reply.body[:200]!r}")
                if (reply.header("connection") or "").lower() == "close":
                    client.close()
                    client = None
            except (OSError, AssertionError, EOFError) as error:
                self.bad.append(repr(error))
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()

    def more(self, count: int) -> None:
        """Wait for so many more good answers."""
        goal = self.good + count
        wait_until(lambda: self.good >= goal, f"{count} more answers ({self.bad[-1:]})")

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(20)


def test_upstreams_killed_under_load_fail_no_request() -> None:
    instances = [Instance() for _ in range(3)]
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [one.address for one in instances]}}
        with AgentProcess({"services": services}) as agent, Load(agent) as load:
            load.more(200)
            instances[0].kill()
            load.more(200)
            instances[0] = Instance(instances[0].port)
            load.more(100)
            instances[1].kill()
            load.more(200)
            assert load.bad == []
    finally:
        for one in instances:
            one.kill()


def test_all_upstreams_dead_is_told_and_passes() -> None:
    instance = Instance()
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [instance.address]}}
        with AgentProcess({"services": services}) as agent, RawClient(agent.egress) as client:
            assert client.get("/").status == 200
            instance.kill()
            reply = client.get("/")
            assert reply.status == 503
            assert reply.header("x-pilotfish-reason") in ("UF", "UH", "CB")
            instance = Instance(instance.port)
            wait_until(lambda: client.get("/").status == 200, "the service is used again")
    finally:
        instance.kill()


def test_an_agent_killed_under_load_comes_back_on_its_ports() -> None:
    instance = Instance()
    try:
        services = {"web": {"hosts": ["*"], "endpoints": [instance.address]}}
        with socket.create_server(("127.0.0.1", 0)) as free:
            egress = f"127.0.0.1:{free.getsockname()[1]}"
        listen = {"egress": egress, "admin": "127.0.0.1:0"}
        with AgentProcess({"listen": listen, "services": services}) as agent, Load(agent) as load:
            load.more(100)
            agent.kill()
            agent.start()
            load.more(100)
        assert os.path.exists(f"/proc/{instance.process.pid}")
    finally:
        instance.kill()


@pytest.mark.parametrize("how", ["file", "signal"])
def test_reloads_under_load_fail_no_request(how: str) -> None:
    instances = [Instance() for _ in range(2)]
    try:
        both = {"web": {"hosts": ["*"], "endpoints": [one.address for one in instances]}}
        one = {"web": {"hosts": ["*"], "endpoints": [instances[0].address]}}
        with AgentProcess({"services": both}) as agent, Load(agent) as load:
            load.more(50)
            for turn in range(6):
                before = agent.metric("pilotfish_config_generation")
                agent.write({**agent.config, "services": one if turn % 2 == 0 else both})
                if how == "signal":
                    agent.signal(signal.SIGHUP)
                wait_until(lambda before=before: agent.metric("pilotfish_config_generation") > before, "the configuration is taken")
                load.more(50)
            assert load.bad == []
    finally:
        for instance in instances:
            instance.kill()
