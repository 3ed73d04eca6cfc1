"""What applications and operators tell the agent about data and load: purges, here and on every agent of the cluster, and reports."""

from typing import Any, Final

from aiohttp import web

from agent.core.units import quantity
from agent.proxy.purging import KINDS, purge, subject

WAIT_S_MAX: Final = 60.0
TTL_S_MAX: Final = 3_600.0


class BadWishError(Exception):
    """The body cannot be used; the text says why."""


class Wish:
    """A purge as it is asked for."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.soft = _flag(body, "soft", False)
        self.cluster = _flag(body, "cluster", True)
        self.waits = "wait" in body
        self.wait_s = _seconds(body, "wait", 0.0, WAIT_S_MAX)
        self.after = _text(body, "after")
        if (self.waits or self.after) and not self.cluster:
            raise BadWishError("wait, after: are of no use with cluster: false")
        if len(body) != 1 or not body.keys() <= set(KINDS):
            raise BadWishError(f"found {sorted(body) or 'none'}, expected one of {', '.join(KINDS)} (and soft, cluster, wait, after)")
        self.kind, value = next(iter(body.items()))
        if self.kind == "all" and value is not True:
            raise BadWishError(f"all: found {value!r}, expected true")
        if self.kind != "all" and not isinstance(value, str):
            raise BadWishError(f"{self.kind}: found {value!r}, expected text")
        try:
            self.host, self.value = subject(self.kind, value)
        except ValueError as error:
            expected = "http://host/path" if self.kind in ("url", "prefix") else "text"
            raise BadWishError(f"{self.kind}: found {value!r}, expected {expected}: {error}") from None


async def on_purge(agent: Any, request: web.Request) -> web.Response:
    """``POST /cache/purge``."""
    try:
        wish = Wish(await body_of(request))
    except BadWishError as error:
        return bad(str(error))
    count = purge(agent.path, wish.kind, wish.host, wish.value, wish.soft)
    answer: dict[str, Any] = {"purged": count, "soft": wish.soft}
    mesh = agent.mesh if wish.cluster else None
    try:
        if mesh is not None and (wish.waits or wish.after):
            result = await mesh.purge_and_wait(wish.kind, wish.host, wish.value, wish.soft, wish.wait_s, wish.after)
            answer.update(_shown(result))
        elif mesh is not None:
            answer["context"] = mesh.purge(wish.kind, wish.host, wish.value, wish.soft)
        elif wish.waits:
            answer.update(acked=1, of=1, missing=[], early=[], context="")
    except ValueError as error:
        return bad(f"{count} responses were purged here, and the other agents cannot be told: {error}")
    return web.json_response(answer)


def _shown(result: Any) -> dict[str, Any]:
    """How far a purge came; of regions where there are several."""
    shown = {
        "acked": result.acked,
        "of": result.of,
        "missing": list(result.missing),
        "early": list(result.early),
        "context": result.context,
    }
    if result.regions:
        shown["regions"] = {name: {"acked": each.acked, "of": each.of} for name, each in result.regions.items()}
        shown["unreachable"] = list(result.unreachable)
    return shown


async def on_load(agent: Any, request: web.Request) -> web.Response:
    """``POST /load``."""
    if agent.mesh is None:
        return bad("there is no cluster to tell it to: `cluster` is not configured", 409)
    try:
        body = await body_of(request)
        ttl_s = _seconds(body, "ttl", 30.0, TTL_S_MAX)
        ai = body.pop("ai", None)
        if ai is not None and (isinstance(ai, bool) or not isinstance(ai, int | float) or not 0.0 <= ai <= 1.0):
            raise BadWishError(f"ai: found {ai!r}, expected a share from 0 to 1")
        in_flight, queue = _count(body, "in_flight"), _count(body, "queue")
        if body:
            raise BadWishError(f"found {sorted(body)}, expected ai, in_flight, queue, ttl")
        if ai is None and in_flight is None and queue is None:
            raise BadWishError("found nothing, expected at least one of ai, in_flight, queue")
    except BadWishError as error:
        return bad(str(error))
    agent.mesh.report(float(ai) if ai is not None else None, in_flight, queue, ttl_s)
    return web.json_response({"taken": True, "ttl_s": ttl_s})


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request. Raises `BadWishError`."""
    try:
        body = await request.json()
    except (ValueError, LookupError, RecursionError) as error:
        raise BadWishError(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadWishError("the body is not a JSON object")
    return body


def bad(message: str, status: int = 400) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _flag(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.pop(name, default)
    if not isinstance(value, bool):
        raise BadWishError(f"{name}: found {value!r}, expected true or false")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.pop(name, "")
    if not isinstance(value, str):
        raise BadWishError(f"{name}: found {value!r}, expected text")
    return value


def _count(body: dict[str, Any], name: str) -> int | None:
    value = body.pop(name, None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000):
        raise BadWishError(f"{name}: found {value!r}, expected a whole number from 0 to 1,000,000")
    return value


def _seconds(body: dict[str, Any], name: str, default: float, most: float) -> float:
    """A duration as configuration has them: text with a unit, or a number of seconds."""
    value = body.pop(name, default)
    seconds = quantity(value, "duration") if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.0 <= seconds <= most:
        raise BadWishError(f"{name}: found {value!r}, expected a duration such as 2s, at most {most:g}s")
    return float(seconds)
