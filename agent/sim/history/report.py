"""Verdicts for people: what cannot be, what was going on then, and what came before."""

from math import inf

from agent.sim.history.linearizable import Verdict
from agent.sim.history.operation import Operation, short

ORDER_SHOWN = 8
AROUND_SHOWN = 16
WIDTH = 40


def explain(verdicts: list[Verdict]) -> str:
    """A paragraph for each key that is not linearizable, or not known to be; one line when all are."""
    wrong = [verdict for verdict in verdicts if not verdict.linearizable]
    if not wrong:
        count = sum(len(verdict.operations) for verdict in verdicts)
        return f"linearizable: {count} operations on {len(verdicts)} keys"
    return "\n\n".join(map(_paragraph, wrong))


def _paragraph(verdict: Verdict) -> str:
    stuck = verdict.stuck
    assert stuck is not None
    place = "" if verdict.key is None else f"key {verdict.key!r}: "
    if verdict.linearizable is None:
        head = f"{place}not decided: after {verdict.configurations} configurations the search had come up to the return of"
    else:
        head = f"{place}not linearizable as a {verdict.model.name}. No order of its {len(verdict.operations)} operations allows"
    before = sum(one.end < stuck.end for one in verdict.operations)
    lines = [
        head,
        f"  {_told(stuck)}",
        f"All {before} returns before it can be explained. Operations around it (time →, > not yet or never answered):",
        *_timeline(verdict, stuck),
        "States that were possible before its return, each with the end of an order that leads there:",
    ]
    for state, order in verdict.ends:
        lines.append(f"  {short(state)}")
        lines.extend(f"      {_told(one)}" for one in order[-ORDER_SHOWN:])
    return "\n".join(lines)


def _told(one: Operation) -> str:
    return f"process {one.process}: {one!r}"


def _timeline(verdict: Verdict, stuck: Operation) -> list[str]:
    """A bar for each operation that was open while the one that cannot be was, and for the last that returned before."""
    shown = [one for one in verdict.operations if one.start <= stuck.end and one.end >= stuck.start]
    earlier = sorted((one for one in verdict.operations if one.end < stuck.start), key=lambda one: one.end)
    shown = sorted([*earlier[-4:], *shown], key=lambda one: one.start)
    if len(shown) > AROUND_SHOWN:
        shown = [one for one in shown if one is not stuck][-AROUND_SHOWN + 1 :]
        shown = sorted([*shown, stuck], key=lambda one: one.start)
    first = min(one.start for one in shown)
    last = max([stuck.end, *(one.end for one in shown if one.end != inf)])
    scale = (WIDTH - 1) / (last - first) if last > first else 0.0
    lines = []
    for one in shown:
        begin = int((one.start - first) * scale)
        end = WIDTH - 1 if one.end == inf else int((one.end - first) * scale)
        bar = "=" * (end - begin) + (">" if one.end == inf else "|")
        mark = "✗" if one is stuck else " "
        lines.append(f"  {mark} {' ' * begin + '|' + bar:<{WIDTH + 1}} {_told(one)}")
    return lines
