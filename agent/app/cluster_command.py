"""``pilotfish cluster``: the cluster that a running agent is a member of, through its admin port."""

import argparse
import base64
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from agent.app import cluster_text as text
from agent.app.admin_client import Admin, AdminError

STATES: Final = ("alive", "suspect", "dead", "left")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--admin", default="127.0.0.1:15020", help="the agent's admin address: host:port or unix:/path")
    common.add_argument("--json", action="store_true", help="JSON instead of tables; for events, an object a line")
    commands = parser.add_subparsers(dest="command", required=True, metavar="members|health|keys|leave|ping|events")
    members = commands.add_parser("members", parents=[common], help="who there is")
    members.add_argument("--state", choices=STATES, help="only these")
    members.add_argument("--zone", help="only this zone")
    members.add_argument("--wan", action="store_true", help="the gateways of all regions instead, as one of this region sees them")
    commands.add_parser("health", parents=[common], help="exit 1 where a member, or this agent, is not well")
    keys = commands.add_parser("keys", parents=[common], help="fingerprints, or a step of a rotation")
    keys.add_argument("op", nargs="?", choices=("list", "install", "use", "remove", "generate"), help="without one: this agent's own")
    keys.add_argument("key", nargs="?", default="", help="a file with the key in base64, or - for standard input; a key here would be seen")
    commands.add_parser("leave", parents=[common], help="leave the cluster; the agent goes on alone")
    ping = commands.add_parser("ping", parents=[common], help="probe a member")
    ping.add_argument("member")
    ping.add_argument("--count", type=_count, default=1)
    events = commands.add_parser("events", parents=[common], help="what happens, as it happens; Ctrl-C ends it")
    events.add_argument("--recent", type=_count, default=0, help="begin with so many of the latest")
    events.add_argument("--count", type=_count, default=0, help="end after so many")


def _count(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a whole number")
    return int(word)


def run(args: argparse.Namespace) -> int:
    try:
        return _COMMANDS[args.command](Admin(args.admin), args)
    except (AdminError, OSError, ValueError) as error:
        print(f"pilotfish cluster {args.command}: {text.plain(str(error))}", file=sys.stderr)
        return 1


def _members(admin: Admin, args: argparse.Namespace) -> int:
    if args.wan:
        found = admin.get("/cluster/wan")
        shown = [row for row in found["members"] or () if args.state in (None, row["state"])]
        text.tell(args.json, {**found, "members": shown if found["members"] is not None else None}, lambda: text.wan(found, shown))
        return 0 if found["members"] is not None else 1
    rows = [row for row in admin.get("/cluster/members") if args.state in (None, row["state"]) and args.zone in (None, row["zone"])]
    text.tell(args.json, rows, lambda: text.members(rows))
    return 0


def _health(admin: Admin, args: argparse.Namespace) -> int:
    found = admin.get("/cluster/health")
    text.tell(args.json, found, lambda: text.health(found))
    return 1 if found["unwell"] or found["health_score"] or found["health"]["level"] != "ok" else 0


def _keys(admin: Admin, args: argparse.Namespace) -> int:
    if args.op == "generate":
        print(base64.b64encode(os.urandom(32)).decode())
        return 0
    if args.op is None:
        found = admin.get("/cluster/keys")
        text.tell(args.json, found, lambda: text.keys(found))
        return 0
    wish = {"op": args.op}
    if args.op != "list":
        if not args.key:
            raise ValueError("a file with the key, or - for standard input, is needed")
        wish["key"] = (sys.stdin.read() if args.key == "-" else Path(args.key).read_text(encoding="ascii")).strip()
    found = admin.post("/cluster/keys", wish)
    text.tell(args.json, found, lambda: text.keys_changed(found))
    return 0 if found["acknowledged"] == found["of"] and not found["errors"] else 1


def _leave(admin: Admin, args: argparse.Namespace) -> int:
    found = admin.post("/cluster/leave", {})
    text.tell(args.json, found, lambda: "left; the agent goes on alone")
    return 0


def _ping(admin: Admin, args: argparse.Namespace) -> int:
    for _ in range(max(args.count, 1)):
        found = admin.post("/cluster/ping", {"member": args.member})
        line = f"{text.plain(found['member'])}: {found['rtt_ms']:g} ms"
        text.tell(args.json, found, partial(str, line))
    return 0


def _events(admin: Admin, args: argparse.Namespace) -> int:
    for seen, (name, event) in enumerate(admin.events(f"/cluster/events?recent={args.recent}"), 1):
        print(json.dumps(event) if args.json else text.event(name, event), flush=True)
        if seen == args.count:
            return 0
    print("pilotfish cluster events: the agent ended the stream", file=sys.stderr)
    return 1


_COMMANDS: Final[dict[str, Callable[[Admin, argparse.Namespace], int]]] = {
    "members": _members,
    "health": _health,
    "keys": _keys,
    "leave": _leave,
    "ping": _ping,
    "events": _events,
}
