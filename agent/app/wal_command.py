"""``pilotfish wal``: look into a replica's log on the disk. Reads only; the agent may be stopped or running."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from agent.core.wal.disk import SEGMENT
from agent.core.wal.errors import WAY_OUT
from agent.core.wal.inspect import Report, dump, inspect
from agent.runtime.wal.folder import RealFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True, metavar="verify|dump")
    verify = commands.add_parser("verify", help="check every octet; exit 1 where a replica would not start from it")
    verify.add_argument("folder", type=Path)
    verify.add_argument("--json", action="store_true", help="one JSON document")
    shown = commands.add_parser("dump", help="every record of a segment, or of all")
    shown.add_argument("path", type=Path, help="the folder, or one segment")


def run(args: argparse.Namespace) -> int:
    try:
        return _verify(args) if args.command == "verify" else _dump(args.path)
    except OSError as error:
        print(f"pilotfish wal {args.command}: {error}", file=sys.stderr)
        return 2


def _verify(args: argparse.Namespace) -> int:
    folder = RealFolder(args.folder)
    try:
        report = inspect(folder)
    finally:
        folder.close()
    if args.json:
        print(json.dumps(_plain(report), indent=2))
    else:
        _print(args.folder, report)
    return 0 if report.damage is None and report.segments else 1


def _plain(report: Report) -> Any:
    found = msgspec.to_builtins(report, builtin_types=(bytes,))
    if found["recovery"]:
        recovered = found["recovery"]["recovered"]
        # The entries themselves are the application's.
        recovered["entries"] = len(recovered["entries"])
    return json.loads(json.dumps(found, default=lambda octets: octets.hex()))


def _print(folder: Path, report: Report) -> None:
    if not report.segments:
        print(f"{folder}: no log here")
        return
    print(f"{folder}: group {report.group!r}")
    for row in report.segments:
        entries = f"{row.entries} entries, {row.first} to {row.last}" if row.entries else "no entries"
        print(f"  {row.name}  {row.records} records, {entries}; {row.end} of {row.size} octets")
        if row.cut_bytes:
            print(
                f"    {row.cut_bytes} octets at its end are of a write that was never reported durable; they are cut off at the next start"
            )
        if row.damage is not None:
            print(f"    damaged at {row.damage.offset}: found {row.damage.found}, expected {row.damage.expected}")
    for verdict in report.snapshots:
        meta = verdict.meta
        print(f"  {verdict.name}  " + (f"index {meta.index}, {meta.size} octets, good" if meta else f"damaged: {verdict.why}"))
    for name in report.aside:
        print(f"  {name}  unfinished; thrown away at the next start")
    if report.damage is not None:
        damage = report.damage
        print(
            f"damaged ({damage.reason}): {damage.file}, offset {damage.offset}: found {damage.found}, expected {damage.expected}\n{WAY_OUT}"
        )
    elif report.recovery is not None:
        recovered = report.recovery.recovered
        last = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
        print(
            f"good: member {report.recovery.me}, term {recovered.hard.term}, committed {recovered.hard.commit}, "
            f"snapshot {recovered.snapshot.index}, last entry {last}"
        )


def _dump(path: Path) -> int:
    names = [path.name] if path.is_file() else sorted(found.name for found in path.glob(f"*{SEGMENT}"))
    folder = RealFolder(path.parent if path.is_file() else path)
    try:
        for name in names:
            print(name)
            for line in dump(folder, name):
                print(f"  {line}")
    finally:
        folder.close()
    return 0
