"""``pilotfish demo``: an application of four instances, an agent in front of it, a trickle of requests, and a live view."""

import argparse
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from agent.app.admin_client import Admin, AdminError
from agent.app.status import lines, table
from agent.app.validate import parse_address

INSTANCES = (("swift", 0.002, 0.0), ("steady", 0.004, 0.0), ("slow", 0.08, 0.0), ("flaky", 0.004, 0.15))
"""Name, mean delay in seconds, share of failures."""
PATHS = ("/personas/ada", "/personas/bob", "/personas/eve", "/static/logo.svg", "/static/app.js", "/chat/now", "/feed/now")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--for", dest="seconds", type=_seconds, default=0.0, help="stop by itself after so long, such as 10s")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--proxy", default="127.0.0.1:15001")
    parser.add_argument("--admin", default="127.0.0.1:15020")


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def free_address(wanted: str) -> str:
    """The address, or another port on its host where the port is taken."""
    host, port = parse_address(wanted) or ("127.0.0.1", 0)
    with socket.socket() as sock:
        try:
            sock.bind((host, port))
            return f"{host}:{sock.getsockname()[1]}"
        except OSError:
            sock.close()
            with socket.socket() as other:
                other.bind((host, 0))
                return f"{host}:{other.getsockname()[1]}"
    return wanted


class Demo:
    """The processes of one demonstration."""

    def __init__(self, proxy: str, admin: str, rate: float) -> None:
        self.proxy = free_address(proxy)
        self.admin = free_address(admin)
        self.wanted = (proxy, admin)
        self.rate = rate
        self.children: dict[str, subprocess.Popen[str]] = {}
        self.ports: dict[str, int] = {}
        self.stopping = threading.Event()
        self.sent = 0
        self.failed = 0

    def start(self, folder: Path) -> None:
        """Instances, configuration, agent, trickle. Raises RuntimeError when the agent does not come up."""
        for name, delay_s, failing in INSTANCES:
            command = [sys.executable, "-m", "agent.app.demo_app", name, str(delay_s), str(failing)]
            self.children[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for name, child in self.children.items():
            assert child.stdout is not None
            self.ports[name] = int(child.stdout.readline())
        config = folder / "demo.yaml"
        config.write_text(self.configuration(), encoding="utf-8")
        log = open(folder / "agent.log", "w", encoding="utf-8")  # noqa: SIM115 (handed to the child)
        command = [sys.executable, "-m", "agent", "agent", "--config", str(config)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PILOTFISH_")}
        self.children["agent"] = subprocess.Popen(command, stderr=log, text=True, start_new_session=True, env=clean)
        admin = Admin(self.admin)
        for _ in range(200):
            if self.children["agent"].poll() is not None:
                break
            try:
                admin.get("/readyz")
            except AdminError:
                time.sleep(0.05)
                continue
            threading.Thread(target=self._trickle, daemon=True).start()
            return
        raise RuntimeError("the agent did not start: " + (folder / "agent.log").read_text(encoding="utf-8")[-2000:])

    def configuration(self) -> str:
        endpoints = ", ".join(f'"127.0.0.1:{port}"' for port in self.ports.values())
        return (
            "agent: { id: demo, zone: a }\n"
            f'listen: {{ egress: "{self.proxy}", admin: "{self.admin}" }}\n'
            "services:\n"
            "  app:\n"
            '    hosts: ["*"]\n'
            f"    endpoints: [{endpoints}]\n"
            "    cache: { enabled: true, stale_if_error: 60s }\n"
            "    health: { path: /health, interval: 1s }\n"
            "    retries: { on: [connect-failure, reset, gateway-error, 5xx] }\n"
        )

    def _trickle(self) -> None:
        host, port = parse_address(self.proxy) or ("127.0.0.1", 0)
        dice = random.Random(1)
        connection = http.client.HTTPConnection(host, port, timeout=10)
        while not self.stopping.wait(1.0 / self.rate):
            try:
                connection.request("GET", dice.choice(PATHS))
                answer = connection.getresponse()
                answer.read()
                self.sent += 1
                if answer.status >= 500:
                    self.failed += 1
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
        connection.close()

    def introduction(self) -> str:
        for wanted, taken in zip(self.wanted, (self.proxy, self.admin), strict=True):
            if wanted != taken:
                print(f"{wanted} is in use; listening on {taken} instead")
        return "\n".join(
            [
                f"proxy  http://{self.proxy}    admin  http://{self.admin}",
                "try, in another terminal:",
                f"  curl -i http://{self.proxy}/personas/zoe            # a miss, and then a hit (see Cache-Status)",
                f"  curl -i http://{self.proxy}/chat/hello              # never stored",
                f"  curl -s http://{self.admin}/clusters                # endpoints, latency, breakers",
                f"  curl -s http://{self.admin}/metrics                 # for Prometheus",
                f"  pilotfish why http://{self.proxy}/personas/zoe --proxy http://{self.proxy} --admin http://{self.admin}",
                f"  kill -9 {self.children['swift'].pid}                                # the instance 'swift'; nothing fails",
            ]
        )

    def stop(self) -> None:
        """End every process that was started, the agent first so that it can finish what it does."""
        self.stopping.set()
        for name in ["agent", *self.ports]:
            child = self.children.get(name)
            if child is None or child.poll() is not None:
                continue
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def run(args: argparse.Namespace) -> int:
    demo = Demo(args.proxy, args.admin, args.rate)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="pilotfish-demo-") as folder:
        try:
            demo.start(Path(folder))
            print(demo.introduction(), flush=True)
            _watch(demo, ended, args.seconds)
        except RuntimeError as error:
            print(f"pilotfish demo: {error}", file=sys.stderr)
            return 1
        finally:
            demo.stop()
    print(f"stopped: {demo.sent} requests, {demo.failed} failed")
    return 0


def _watch(demo: Demo, ended: threading.Event, seconds: float) -> None:
    admin = Admin(demo.admin)
    deadline = time.monotonic() + seconds if seconds else float("inf")
    if not sys.stdout.isatty():
        while time.monotonic() < deadline and not ended.wait(min(2.0, max(deadline - time.monotonic(), 0.0))):
            print("\n".join(lines(admin.snapshot())), flush=True)
        return
    from rich.live import Live

    view: Any
    with Live(table(admin.snapshot()), refresh_per_second=4) as view:
        while time.monotonic() < deadline and not ended.wait(0.5):
            try:
                view.update(table(admin.snapshot()))
            except AdminError:
                continue
