"""Why a request was answered as it was: the chain of decisions, put together only when somebody asks.

What the data path keeps of a request is a `Story` (agent.proxy.story); here its steps get their names and their order.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from agent.core.routing.breaker import STATE_NAMES
from agent.proxy.counters import OUTCOMES
from agent.proxy.flags import MEANING
from agent.proxy.story import Story

Step = tuple[Any, ...]
"""When it was taken (seconds of perf_counter), its name, and the values that `STEPS` names."""

STEPS: Final[dict[str, tuple[str, ...]]] = {
    "plugin": ("plugin", "did"),
    "rate limit": ("limit", "allowed", "tokens_left"),
    "fault": ("abort_status", "delay_s"),
    "split": ("service",),
    "lookup": ("verdict", "section", "age_s", "fresh_for_s"),
    "collapsed": ("readers_before",),
    "admission": ("service", "breaker", "in_flight", "concurrency_limit", "retries_under_way", "state"),
    "refused": ("flag", "detail"),
    "try": ("number", "endpoint", "hedge", "compared"),
    "no endpoint": ("flag", "detail", "compared"),
    "response": ("endpoint", "status", "try"),
    "response discarded": ("endpoint", "status"),
    "try failed": ("endpoint", "outcome", "detail"),
    "retry": ("after_ms",),
    "retry refused": ("detail",),
    "hedge refused": ("detail",),
    "storage": ("store", "verdict", "section", "lifetime"),
}
"""The steps of a trace and what each says."""


def find(stories: Iterable[Story], request_id: str, target: str) -> Story | None:
    """The latest story with that X-Request-Id (or target); None where none is kept."""
    wanted = request_id.encode("latin-1", "replace")
    aim = target.encode("latin-1", "replace")
    for story in reversed(list(stories)):
        head = story.head
        if (wanted and wanted in (story.request_id, head.get(b"x-request-id"))) or (aim and head.target == aim):
            return story
    return None


def told(agent_id: str, story: Story) -> bytes:
    """The explanation as JSON, the answer to a request with X-Pilotfish-Why."""
    return json.dumps(explain(agent_id, story), indent=2).encode("ascii") + b"\n"


def explain(agent_id: str, story: Story) -> dict[str, Any]:
    """The explanation: the request, what became of it, and the steps in the order that they were taken."""
    head = story.head
    steps = list(story.table.explain(head))
    steps.extend(_step(entry, story.started) for entry in sorted([*_usual(story), *story.more], key=lambda entry: float(entry[0])))
    return {
        "agent": agent_id,
        "id": (story.request_id or head.get(b"x-request-id") or b"").decode("latin-1"),
        "request": {
            "method": head.method.decode("latin-1"),
            "authority": head.authority.decode("latin-1"),
            "target": head.target.decode("latin-1"),
        },
        "service": story.service,
        "status": story.status,
        "outcome": OUTCOMES[story.outcome],
        "cache_status": _cache_status(story),
        "flag": story.flag,
        "flag_meaning": MEANING.get(story.flag, ""),
        "detail": story.detail,
        "endpoint": story.endpoint,
        "ms": round(story.elapsed_s * 1000, 3),
        "steps": steps,
    }


def _cache_status(story: Story) -> str:
    """As the client was told; a plain hit does not keep it."""
    if not story.cache_status and OUTCOMES[story.outcome] == "hit":
        return f"pilotfish; hit; ttl={int(story.fresh_for_s)}"
    return story.cache_status.decode("latin-1")


def _usual(story: Story) -> list[Step]:
    """The steps that have fields of their own."""
    steps: list[Step] = []
    if story.looked_at:
        found = (story.age_s, story.fresh_for_s) if story.age_s or story.fresh_for_s else ()
        steps.append((story.looked_at, "lookup", story.looked, story.section, *found))
    if story.admitted_at:
        steps.append(
            (
                story.admitted_at,
                "admission",
                story.admitted_to,
                story.breaker,
                story.in_flight,
                story.concurrency_limit,
                story.retries_under_way,
                None,
            )
        )
    if story.tried_at:
        compared = (story.first, story.first_cost, story.second, story.second_cost) if story.first else None
        steps.append((story.tried_at, "try", 1, story.tried, False, compared))
    if story.answered_at:
        steps.append((story.answered_at, "response", story.answered_by, story.answered_status, story.answered_try))
    storage = story.storage
    if storage is not None:
        lifetime = storage.lifetime
        fresh = (lifetime.seconds, lifetime.rule, lifetime.section) if lifetime is not None else None
        steps.append((story.storage_at, "storage", storage.store, storage.rule, storage.section, fresh))
    return steps


def _step(entry: Step, started: float) -> dict[str, Any]:
    when, name, *values = entry
    step: dict[str, Any] = {"step": name, "at_ms": round((when - started) * 1000, 3)}
    for key, value in zip(STEPS[name], values, strict=False):
        if key == "breaker":
            step[key] = STATE_NAMES[value]
        elif key == "compared":
            step[key] = _compared(value)
        elif key == "lifetime":
            step[key] = {"seconds": value[0], "rule": value[1], "section": value[2]} if value is not None else None
        elif key == "state":
            step.update(value or {})
        elif value != "":
            step[key] = round(value, 3) if isinstance(value, float) else value
    return step


def _compared(value: Any) -> list[dict[str, Any]]:
    """Rows in full where the explanation was asked for with the request, else addresses and scores."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    first, first_cost, second, second_cost = value
    return [{"address": first, "cost": round(first_cost, 6)}, {"address": second, "cost": round(second_cost, 6)}]
