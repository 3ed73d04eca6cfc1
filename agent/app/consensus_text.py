"""What a group's answers look like on a terminal."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.app.cluster_text import plain

ROLES: Final = {"leader": "green", "voter": "", "learner": "bright_black", "client": "bright_black", "absent": "yellow"}


def size(octets: int) -> str:
    """In its largest unit."""
    found = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if found < 1024:
            return f"{found:.0f} {unit}"
        found /= 1024
    return f"{found:.1f} GiB"


def status(found: dict[str, Any]) -> RenderableType:
    """How it stands, a line a thing, and then the members."""
    lines = [
        ("agent", f"{found['name']}: {found['state']}, {found['role']}" + ("" if found["durable"] else ", in memory")),
        ("group", f"{found['group']} {found['group_id']}".strip()),
        ("leader", found["leader_name"] or "nobody"),
        ("term, mode", f"{found['term']}, {found['mode']}"),
        ("committed, applied", f"{found['commit']}, {found['applied']}"),
        ("log, snapshot", f"{size(found['log_bytes'])}, {size(found['snapshot_bytes'])} up to {found['snapshot_index']}"),
    ]
    if found["reason"]:
        lines.append(("waits for" if found["state"] != "off" else "off", found["reason"]))
    if not found["writable"] and found["state"] == "member":
        lines.append(("disk", "takes nothing: this agent is read-only until there is space"))
    if found["groups_seen"] > 1:
        lines.append(("groups", f"{found['groups_seen']} of this name are there: one must go (docs/consensus.md)"))
    if found["last_change"]:
        lines.append(("last change", found["last_change"]))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines:
        table.add_row(Text(name, style="bold"), Text(plain(str(value))))
    return Group(table, Text(""), members(found["members"]))


def members(rows: list[dict[str, Any]]) -> RenderableType:
    """A line a member."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("agent", "role", "becomes", "there", "zone", "region", "priority", "address", "log", "match"):
        table.add_column(name, overflow="fold")
    for row in sorted(rows, key=lambda row: (row["role"] not in ("leader", "voter"), row["role"] != "learner", row["name"])):
        table.add_row(
            Text(plain(row["name"])),
            Text(row["role"], style=ROLES[row["role"]]),
            Text(row["becomes"]),
            Text("yes" if row["alive"] else "no", style="" if row["alive"] else "red"),
            Text(plain(row["zone"])),
            Text(plain(row["region"])),
            Text(str(row["priority"])),
            Text(plain(row["address"])),
            Text("disk" if row["durable"] else "memory"),
            Text("" if row["match"] is None else str(row["match"])),
        )
    return table
