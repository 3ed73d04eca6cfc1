"""``pilotfish agent``: run one agent until a signal ends it."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from time import time

import uvloop

from agent.app.settings import ConfigError, compare, load, redacted
from agent.app.wiring import Agent
from agent.proxy.listener import ListenError
from agent.proxy.plugin_load import PluginError
from agent.runtime.log import Logger

WATCH_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=os.environ.get("PILOTFISH_CONFIG"), help="the YAML file; $PILOTFISH_CONFIG where absent"
    )


def run(args: argparse.Namespace) -> int:
    if args.config is None:
        print("pilotfish agent: --config FILE is required", file=sys.stderr)
        return 2
    try:
        settings = load(Path(args.config), os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    log = Logger(settings.log.level, settings.log.format)
    return uvloop.run(_serve(Path(args.config), settings, log))


async def _serve(path: Path, settings: "object", log: Logger) -> int:
    from agent.admin.server import AdminServer
    from agent.app.config import Settings

    assert isinstance(settings, Settings)
    agent = Agent(settings, log)
    reloader = Reloader(path, agent, log)
    admin = AdminServer(agent, reloader.reload, redacted)
    try:
        await agent.start()
        await admin.start(settings.listen.admin)
        agent.collector.settle()
    except (PluginError, ListenError, OSError) as error:
        log.error("cannot start", error=str(error))
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reloader.reload, "SIGHUP")
    reloader.watch()
    log.info("ready", id=agent.agent_id, pid=os.getpid(), admin=admin.address, **agent.addresses)
    admin.on_drain = stop.set
    await stop.wait()
    await agent.drain()
    await agent.stop()
    await admin.stop()
    return 0


class Reloader:
    """Validates the whole file, refuses what needs a restart, then swaps at once; says how it went."""

    def __init__(self, path: Path, agent: Agent, log: Logger) -> None:
        self.path = path
        self.agent = agent
        self.log = log
        self._mark = self._look()

    def _look(self) -> tuple[object, ...]:
        """What the file is now; a ConfigMap's swapped symlink and an editor's rename change it too."""
        try:
            status = self.path.stat()
            return (os.path.realpath(self.path), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            return ()

    def watch(self) -> None:
        mark = self._look()
        if mark and mark != self._mark:
            self._mark = mark
            self.reload("file changed")
        self.agent.loop.call_later(WATCH_S, self.watch)

    def reload(self, cause: str) -> dict[str, object]:
        """Read the file again. The result is what `/reload`, `/status` and the metrics show."""
        agent = self.agent
        record = agent.reload
        problems: list[str] = []
        result = "ok"
        try:
            settings = load(self.path, os.environ)
            changed, refused = compare(agent.settings, settings)
            if refused:
                result = "refused"
                problems = [f"{path}: changing it needs a restart" for path in refused]
            elif not changed:
                result = "unchanged"
            else:
                agent.install(settings)
                agent.collector.settle()
                record["generation"] = int(str(record["generation"])) + 1
        except ConfigError as error:
            result = "invalid"
            problems = [str(problem) for problem in error.problems]
            changed = []
        record.update({"result": result, "at": time(), "problems": problems, "cause": cause})
        write = self.log.warning if problems else self.log.info
        write("configuration " + result, cause=cause, changed=changed, problems=problems)
        return dict(record)
