"""What the cluster's answers look like on a terminal. What comes from members is shown as it is, never obeyed."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

COLOURS: Final = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "bright_black"}
LEVELS: Final = {"ok": "green", "degraded": "yellow", "unhealthy": "red", "leaving": "bright_black"}


def plain(found: str) -> str:
    """Without what a terminal would act on."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in found)


def show(what: RenderableType) -> None:
    """Print; as wide as it has to be where nobody looks at it through a terminal, so that lines can be cut by other tools."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=250)
    console.print(what)


def tell(as_json: bool, value: Any, shown: Callable[[], Any]) -> None:
    """As JSON where that is asked for, else as a person reads it."""
    if as_json:
        print(json.dumps(value, indent=2))
    else:
        show(shown())


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def ago(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _level(health: dict[str, str] | None) -> Text:
    if health is None:
        return Text("-", style="bright_black")
    reason = f" ({plain(health['reason'])})" if health["reason"] else ""
    return Text(health["level"] + reason, style=LEVELS.get(health["level"], ""))


def members(rows: list[dict[str, Any]]) -> RenderableType:
    """A line a member, by region and zone."""
    table = _table(
        "member", "state", "for", "region", "zone", "address", "health", "rtt ms", "cpu", "in flight", right=("for", "rtt ms", "cpu")
    )
    for row in sorted(rows, key=lambda row: (row["region"], row["zone"], row["name"])):
        load = row["load"]
        table.add_row(
            Text(plain(row["name"])),
            Text(row["state"], style=COLOURS.get(row["state"], "")),
            ago(row["since_s"]),
            Text(plain(row["region"])),
            Text(plain(row["zone"])),
            Text(plain(row["address"])),
            _level(row["health"]),
            "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.2f}",
            "-" if load is None else f"{load['cpu']:.0%}",
            "-" if load is None else str(load["in_flight"]),
        )
    return Group(table, _totals(counts(rows)))


def wan(found: dict[str, Any], rows: list[dict[str, Any]]) -> RenderableType:
    """A line a gateway, and a line for the regions."""
    lines: list[RenderableType] = []
    if found["members"] is None:
        lines.append(Text("no gateway of this region answers; cluster.wan makes an agent one", style="yellow"))
    else:
        table = _table("gateway", "region", "state", "for", "address", "rtt ms", right=("for", "rtt ms"))
        for row in rows:
            table.add_row(
                Text(plain(row["name"])),
                Text(plain(row["region"])),
                Text(row["state"], style=COLOURS.get(row["state"], "")),
                ago(row["since_s"]),
                Text(plain(row["address"])),
                "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.2f}",
            )
        lines.append(table)
    said = Text(f"this region: {plain(found['region']) or '-'}")
    for name, rtt_ms in sorted(found["regions"].items()):
        said.append(f"  {plain(name)}: ")
        said.append("unreachable" if rtt_ms is None else f"{rtt_ms:.2f} ms", style="red" if rtt_ms is None else "green")
    return Group(*lines, said)


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    found = dict.fromkeys(COLOURS, 0)
    for row in rows:
        found[row["state"]] += 1
    return found


def _totals(found: dict[str, int]) -> Text:
    shown = Text()
    for state, count in found.items():
        if count:
            shown.append(f"{count} {state}  ", style=COLOURS[state])
    return shown


def health(found: dict[str, Any]) -> RenderableType:
    """This agent, the counts, and a line for each member that is not well."""
    own = Text(f"{plain(found['name'])}: ")
    own.append_text(_level(found["health"]))
    score = found["health_score"]
    own.append("; hears others well" if score == 0 else f"; hears others badly (score {score}: probes are stretched so many times)")
    own.append("; encrypted" if found["encrypted"] else "; NOT encrypted", style="" if found["encrypted"] else "yellow")
    parts: list[RenderableType] = [own, _totals(found["counts"])]
    if found["unwell"]:
        table = _table("not well", "state", "says")
        for row in found["unwell"]:
            says = _level({"level": row["level"], "reason": row["reason"]}) if row["level"] else Text("-")
            table.add_row(Text(plain(row["name"])), Text(row["state"], style=COLOURS[row["state"]]), says)
        parts.append(table)
    return Group(*parts)


def keys(found: dict[str, Any]) -> RenderableType:
    """This agent's own keys."""
    if not found["encrypted"]:
        return Text("no keys: what members say to each other is not encrypted", style="yellow")
    table = _table("fingerprint", "bits", "primary", right=("bits",))
    for row in found["keys"]:
        table.add_row(plain(row["fingerprint"]), str(row["bits"]), "yes" if row["primary"] else "")
    return table


def keys_changed(found: dict[str, Any]) -> RenderableType:
    """How far a step of a rotation went, who did not follow, and who holds what now."""
    everywhere = found["acknowledged"] == found["of"] and not found["errors"]
    where = "by members of the cluster" if found["scope"] == "cluster" else "by this agent alone: repeat it at every other"
    parts: list[RenderableType] = [
        Text(f"{found['op']}: acknowledged {found['acknowledged']} of {found['of']} {where}", style="" if everywhere else "yellow")
    ]
    parts.extend(Text(f"  {plain(name)}: {plain(told)}", style="red") for name, told in sorted(found["errors"].items()))
    table = _table("fingerprint", "primary", "members", right=("members",))
    for row in found["keys"]:
        table.add_row(plain(row["fingerprint"]), "yes" if row["primary"] else "", f"{row['members']} of {found['of']}")
    return Group(*parts, table)


def event(name: str, found: dict[str, Any]) -> str:
    """One line."""
    if name == "gap":
        missed = found["missed"]
        return f"-- missed {'an unknown number of' if missed is None else missed} events --"
    at = datetime.fromtimestamp(found["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{at}  {plain(found['kind']):<9}{plain(found['member'])}  {plain(found['detail'])}".rstrip()
