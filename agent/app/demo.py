"""``pilotfish demo``: an application of four instances, an agent in front of it, a trickle of requests, and a live view."""

import argparse
import ctypes
import http.client
import io
import os
import random
import re
import shutil
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

PR_SET_PDEATHSIG = 1
DEFAULTS = ("127.0.0.1:15001", "127.0.0.1:15020")
INSTANCES = (("swift", 0.002, 0.0), ("steady", 0.004, 0.0), ("slow", 0.08, 0.0), ("flaky", 0.004, 0.15))
"""Name, mean delay in seconds, share of failures."""
PATHS = ("/personas/ada", "/personas/bob", "/personas/eve", "/static/logo.svg", "/static/app.js", "/chat/now", "/feed/now")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--for", dest="seconds", type=_seconds, default=0.0, help="stop by itself after so long, such as 10s")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--svg", type=Path, help="at the end, write the view as a picture into this file")
    parser.add_argument("--proxy", default=DEFAULTS[0])
    parser.add_argument("--admin", default=DEFAULTS[1])


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
            self.children[name] = _child(command, stdout=subprocess.PIPE)
        for name, child in self.children.items():
            assert child.stdout is not None
            said = child.stdout.readline()
            if not said.strip().isdigit():
                raise RuntimeError(f"the instance {name!r} did not start")
            self.ports[name] = int(said)
        config = folder / "demo.yaml"
        config.write_text(self.configuration(), encoding="utf-8")
        command = [sys.executable, "-m", "agent", "agent", "--config", str(config)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PILOTFISH_")}
        with (folder / "agent.log").open("w", encoding="utf-8") as log:
            self.children["agent"] = _child(command, stderr=log, env=clean)
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
            "drain: { delay: 0s, timeout: 5s }\n"
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

    def names(self) -> dict[str, str]:
        """What the view calls each endpoint: the instance, and how to kill it."""
        named = {}
        for name, port in self.ports.items():
            child = self.children[name]
            named[f"127.0.0.1:{port}"] = f"{name} (pid {child.pid})" if child.poll() is None else f"{name} (gone)"
        return named

    def agent_runs(self) -> bool:
        return self.children["agent"].poll() is None

    def introduction(self) -> str:
        found = [
            f"{wanted} is in use; listening on {taken} instead"
            for wanted, taken in zip(self.wanted, (self.proxy, self.admin), strict=True)
            if wanted != taken and not wanted.endswith(":0")
        ]
        here = f"--proxy http://{self.proxy} --admin http://{self.admin}" if self.wanted != DEFAULTS else ""
        found += [
            f"proxy  http://{self.proxy}    admin  http://{self.admin}",
            "try, in another terminal:",
            f"  curl -i http://{self.proxy}/personas/zoe            # a miss, and then a hit (see Cache-Status)",
            f"  curl -i http://{self.proxy}/chat/hello              # never stored",
            f"  curl -s http://{self.admin}/clusters                # endpoints, latency, breakers",
            f"  curl -s http://{self.admin}/metrics                 # for Prometheus",
            f"  {command()} why http://{self.proxy}/personas/zoe {here}".rstrip(),
            f"  kill -9 {self.children['swift'].pid}                # the instance 'swift': the view shows it, and nothing fails",
        ]
        return "\n".join(found)

    def stop(self) -> None:
        """End every process that was started, the agent first so that it can finish what it does."""
        self.stopping.set()
        for names in (["agent"], list(self.children)):
            running = [self.children[name] for name in names if name in self.children and self.children[name].poll() is None]
            for child in running:
                child.terminate()
            for child in running:
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _child(command: list[str], **options: Any) -> "subprocess.Popen[str]":
    """A process that the terminal's signals do not reach (the demo ends it), and that does not outlive the demo."""
    return subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent, **options)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def command() -> str:
    """How this program is called here: by its name where the shell finds it, by its path in a virtual environment that is not active."""
    here = Path(sys.argv[0])
    return "pilotfish" if shutil.which("pilotfish") or here.name != "pilotfish" else os.path.relpath(here)


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 also when a signal ends it, which is how a demo ends; 1 where it cannot run."""
    demo = Demo(args.proxy, args.admin, args.rate)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    try:
        with tempfile.TemporaryDirectory(prefix="pilotfish-demo-") as folder:
            try:
                demo.start(Path(folder))
                print(demo.introduction(), flush=True)
                _watch(demo, ended, args.seconds)
                if args.svg is not None:
                    args.svg.write_text(picture(demo), encoding="utf-8")
            finally:
                demo.stop()
        print(f"stopped: {demo.sent} requests, {demo.failed} failed", flush=True)
    except (RuntimeError, AdminError) as error:
        print(f"pilotfish demo: {error}", file=sys.stderr)
        return 1
    except OSError:
        # The terminal is gone. Everything has been ended.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (what is still buffered has nowhere to go)
        return 1
    return 0


def _watch(demo: Demo, ended: threading.Event, seconds: float) -> None:
    """Show what happens until it is enough. RuntimeError when the agent ends."""
    admin = Admin(demo.admin)
    deadline = time.monotonic() + seconds if seconds else float("inf")
    if not sys.stdout.isatty():
        while time.monotonic() < deadline and not ended.wait(min(2.0, max(deadline - time.monotonic(), 0.0))):
            print("\n".join(lines(_snapshot(demo, admin), demo.names())), flush=True)
        return
    from rich.live import Live

    with Live(table(_snapshot(demo, admin), demo.names()), refresh_per_second=4) as view:
        while time.monotonic() < deadline and not ended.wait(0.5):
            view.update(table(_snapshot(demo, admin), demo.names()))


def _snapshot(demo: Demo, admin: Admin) -> dict[str, Any]:
    if not demo.agent_runs():
        raise RuntimeError("the agent has ended")
    return admin.snapshot()


def picture(demo: Demo) -> str:
    """The view as it is now, as SVG. It names no font that would have to be fetched."""
    from rich.console import Console

    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
    console.print(table(Admin(demo.admin).snapshot(), demo.names()))
    drawn = console.export_svg(title="pilotfish demo", unique_id="pilotfish")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
