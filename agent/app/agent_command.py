"""``pilotfish agent``: run one agent until a signal ends it."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from agent.app.config import Settings
from agent.app.reload import Reloader
from agent.app.settings import ConfigError, load, redacted
from agent.app.wiring import Agent
from agent.proxy.listener import ListenError
from agent.proxy.plugin_load import PluginError
from agent.runtime.log import Logger


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


async def _serve(path: Path, settings: Settings, log: Logger) -> int:
    from agent.admin.server import AdminServer

    agent = Agent(settings, log)
    reloader = Reloader(path, agent, log)
    admin = AdminServer(agent, reloader.reload, redacted)
    try:
        await agent.start()
        await admin.start(settings.listen.admin)
        if agent.fabric is not None:
            agent.fabric.admin_at(admin.address)
        agent.collector.settle()
    except (PluginError, ListenError, OSError) as error:
        log.error("cannot start", error=str(error))
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reloader.request, "SIGHUP")
    reloader.start()
    log.info("ready", id=agent.agent_id, pid=os.getpid(), admin=admin.address, **agent.addresses)
    admin.on_drain = stop.set
    await stop.wait()
    reloader.stop()
    await agent.drain()
    await agent.stop()
    await admin.stop()
    return 0
