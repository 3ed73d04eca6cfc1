"""``pilotfish check``: every problem with a configuration, or a summary of it."""

import argparse
import os
import sys
from pathlib import Path

from agent.app.settings import ConfigError, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True)


def run(args: argparse.Namespace) -> int:
    try:
        settings = load(args.config, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{error.source}: {problem}", file=sys.stderr)
        print(f"{len(error.problems)} problem(s)", file=sys.stderr)
        return 2
    from agent.proxy.plugin_load import PluginError, build_plugin

    failed = False
    for index, plugin in enumerate(settings.plugins):
        try:
            build_plugin(plugin, f"plugins[{index}]")
        except PluginError as error:
            print(f"{args.config}: {error}", file=sys.stderr)
            failed = True
    if failed:
        return 2
    print(f"{args.config}: good; {len(settings.services)} service(s), egress {settings.listen.egress}, admin {settings.listen.admin}")
    return 0
