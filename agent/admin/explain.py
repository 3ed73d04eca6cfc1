"""Why a recent request was answered as it was, put together from what the data path kept of it."""

from typing import Any

from agent.core.cache.rules import evaluate
from agent.proxy import counters
from agent.proxy.exchange import Exchange
from agent.proxy.flags import MEANING


def explain_recent(agent: Any, request_id: str, target: str) -> dict[str, Any] | None:
    """The chain of decisions of the latest request with that id (or target); None where none is kept."""
    wanted = request_id.encode("latin-1", "replace")
    aim = target.encode("latin-1", "replace")
    for item in reversed(agent.path.recent):
        head = item.head if isinstance(item, Exchange) else item[0]
        own = head.get(b"x-request-id") or (item.request_id if isinstance(item, Exchange) else b"")
        if (wanted and own == wanted) or (aim and head.target == aim):
            return explain_exchange(agent, item) if isinstance(item, Exchange) else _explain_hit(agent, item)
    return None


def _request(agent: Any, head: Any) -> dict[str, Any]:
    return {
        "method": head.method.decode("latin-1"),
        "authority": head.authority.decode("latin-1"),
        "target": head.target.decode("latin-1"),
    }


def _explain_hit(agent: Any, item: Any) -> dict[str, Any]:
    head, entry, now, elapsed = item
    policy = agent.path.policy_for(agent.path.table.match(head), entry.service)
    verdict = evaluate(entry, head, min(now, entry.fresh_until - 0.001), policy.cache)
    return {
        "request": _request(agent, head),
        "status": entry.status,
        "outcome": "hit",
        "ms": round(elapsed * 1000, 3),
        "steps": [
            *agent.path.table.explain(head),
            {"step": "lookup", "found": True, "verdict": verdict.rule, "section": verdict.section, "hits": entry.hits},
        ],
    }


def explain_exchange(agent: Any, exchange: Exchange) -> dict[str, Any]:
    """The chain of decisions of one exchange."""
    policy = exchange.policy
    steps = list(agent.path.table.explain(exchange.head))
    if policy is not None:
        cluster = policy.cluster
        steps.append(
            {
                "step": "admission",
                "service": cluster.name,
                "breaker": cluster.snapshot(agent.loop.time())["breaker"],
                "concurrency_limit": round(cluster.limit.limit, 1),
                "in_flight": cluster.in_flight,
            }
        )
    if exchange.trace:
        steps.extend(exchange.trace)
    elif exchange.upstream:
        steps.append({"step": "upstream", "endpoint": exchange.upstream})
    return {
        "request": _request(agent, exchange.head),
        "id": exchange.request_id.decode("latin-1"),
        "status": exchange.status,
        "outcome": counters.OUTCOMES[exchange.outcome],
        "cache_status": exchange.cache_status.decode("latin-1"),
        "flag": exchange.flag,
        "flag_meaning": MEANING.get(exchange.flag, ""),
        "detail": exchange.detail,
        "endpoint": exchange.upstream,
        "steps": steps,
    }
