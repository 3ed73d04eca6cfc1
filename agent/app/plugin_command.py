"""``pilotfish plugin new`` makes a working plugin; ``pilotfish plugin list`` shows those that can be loaded."""

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from agent.app.plugin_template import filled
from agent.app.settings import ConfigError, load
from agent.hooks import HOOKS, Plugin
from agent.proxy.plugin_load import PluginError, bundled_names, find_plugin_class, installed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="new|list")
    new = commands.add_parser("new", help="make a package with a plugin, its tests and an example configuration")
    new.add_argument("name", help="lower-case letters, digits and dashes, such as rate-card")
    new.add_argument("--dir", type=Path, default=Path(), help="where to make the directory NAME; here where absent")
    shown = commands.add_parser("list", help="plugins that are bundled, installed, or named in a configuration")
    shown.add_argument("--config", type=Path, help="a configuration whose plugins are listed too")
    shown.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    return make(args.name, args.dir) if args.what == "new" else show(args.config, args.json)


def make(name: str, directory: Path) -> int:
    """Write the files. 2 where the name or the place is not usable."""
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        print(f"pilotfish plugin: found name {name!r}, expected lower-case letters, digits and dashes, such as rate-card", file=sys.stderr)
        return 2
    if name.replace("-", "_") in bundled_names():
        print(f"pilotfish plugin: {name!r} is the name of a bundled plugin", file=sys.stderr)
        return 2
    place = directory / name
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        print(f"pilotfish plugin: {place} is there already", file=sys.stderr)
        return 2
    try:
        for path, text in filled(name).items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"pilotfish plugin: {error}", file=sys.stderr)
        return 1
    print(f"{place}: made. Next:\n  cd {place}\n  python -m pytest\n  pilotfish check --config pilotfish.yaml")
    return 0


def show(config: Path | None, as_json: bool) -> int:
    """1 where one of them does not load, 2 where the configuration does not."""
    try:
        rows = found(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['name']:<16} {row['origin']}\n{'':16} {row['error'] or row['summary']}")
            if row["hooks"]:
                print(f"{'':16} {', '.join(row['hooks'])}")
    return 1 if any(row["error"] for row in rows) else 0


def found(config: Path | None) -> list[dict[str, Any]]:
    """Every plugin that can be named, with where it is from. Raises ConfigError."""
    bundled = bundled_names()
    rows = [_row(name, "", "bundled") for name in bundled]
    for point in sorted(installed(), key=lambda point: point.name):
        if point.name not in bundled:
            home = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "?"
            rows.append(_row(point.name, "", f"installed: {home} ({point.value})"))
    if config is not None:
        settings = load(config, os.environ)
        rows.extend(_row(entry.name, entry.path, f"path: {entry.path}") for entry in settings.plugins if entry.path)
    return rows


def _row(name: str, path: str, origin: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "origin": origin, "summary": "", "hooks": [], "error": ""}
    try:
        cls = find_plugin_class(name, path, name)
    except PluginError as error:
        row["error"] = f"does not load: {error.message}"
        return row
    text = sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""
    row["summary"] = text.strip().partition("\n")[0]
    row["hooks"] = [hook for hook in HOOKS if getattr(cls, hook) is not getattr(Plugin, hook)]
    return row
