"""``pilotfish consensus``: the group that a running agent takes part in, through its admin port; and the way out of a lost quorum."""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from agent.app import cluster_text as text
from agent.app import consensus_text
from agent.app.admin_client import Admin, AdminError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--admin", default="127.0.0.1:15020", help="the agent's admin address: host:port or unix:/path")
    common.add_argument("--json", action="store_true", help="JSON instead of text")
    names = "status|members|add|remove|transfer|snapshot|recover"
    commands = parser.add_subparsers(dest="command", required=True, metavar=names)
    commands.add_parser("status", parents=[common], help="how the group stands; exit 1 where it cannot decide anything")
    commands.add_parser("members", parents=[common], help="its members, and who may become one")
    for name, told in (("add", "make an agent a voter"), ("remove", "let the group go on without a member")):
        order = commands.add_parser(name, parents=[common], help=told)
        order.add_argument("agent")
    transfer = commands.add_parser("transfer", parents=[common], help="hand the leadership over")
    transfer.add_argument("agent", nargs="?", default="", help="a voter; without one: whoever is best")
    commands.add_parser("snapshot", parents=[common], help="take a snapshot on this agent")
    recover = commands.add_parser("recover", help="begin a new group from what a stopped agent's folder holds, when a majority is lost")
    recover.add_argument("folder", help="the group's folder: consensus.data and the group's name, such as /var/lib/pilotfish/main")
    recover.add_argument("--name", required=True, help="the agent's id")
    recover.add_argument("--yes", action="store_true", help="do it; without, it is only said what would be done")


def run(args: argparse.Namespace) -> int:
    try:
        if args.command == "recover":
            from agent.app.consensus_recover import recover

            return recover(args.folder, args.name, sure=args.yes)
        return _COMMANDS[args.command](Admin(args.admin), args)
    except (AdminError, OSError, ValueError) as error:
        print(f"pilotfish consensus {args.command}: {text.plain(str(error))}", file=sys.stderr)
        return 1


def _status(admin: Admin, args: argparse.Namespace) -> int:
    found = admin.get("/consensus")
    text.tell(args.json, found, lambda: consensus_text.status(found))
    return 0 if found["ready"] else 1


def _members(admin: Admin, args: argparse.Namespace) -> int:
    rows = admin.get("/consensus/members")
    text.tell(args.json, rows, lambda: consensus_text.members(rows))
    return 0


def _order(admin: Admin, args: argparse.Namespace) -> int:
    found = admin.post(f"/consensus/{args.command}", {"agent": args.agent})
    text.tell(args.json, found, lambda: f"{args.command} {args.agent}".strip() + ": begun; `pilotfish consensus members` shows how it goes")
    return 0


def _snapshot(admin: Admin, args: argparse.Namespace) -> int:
    found = admin.post("/consensus/snapshot", {})
    text.tell(args.json, found, lambda: f"a snapshot of everything up to index {found['index']} is on disk")
    return 0


_COMMANDS: Final[dict[str, Callable[[Admin, argparse.Namespace], int]]] = {
    "status": _status,
    "members": _members,
    "add": _order,
    "remove": _order,
    "transfer": _order,
    "snapshot": _snapshot,
}
