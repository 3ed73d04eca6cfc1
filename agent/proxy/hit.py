"""The shortest way through the agent: a plain request for a fresh stored response, answered at once."""

from agent.core.cache.cost import WIRE_BODY_MAX
from agent.core.http.fields import REQUEST_ID
from agent.core.http.head import RequestHead
from agent.proxy.counters import HIT
from agent.proxy.gate import Plan
from agent.proxy.reply import Downstream
from agent.proxy.serve import hit_wire
from agent.proxy.story import Story, note_look


def answer_hit(connection: Downstream, head: RequestHead, plan: Plan, started: float) -> bool:
    """Answer a plain request from a fresh stored response, if there is one (RFC 9111 section 4)."""
    gate = connection.gate
    path = gate.path
    store = path.store
    slot = store.find(plan.key)
    if slot is None:
        return False
    entry = slot.entry
    if entry is None:
        return False
    now = path.wall()
    if now >= entry.fresh_until or entry.asked_at < store.stale_before or entry.no_cache or path.draining:
        return False
    second = int(now)
    wire = entry.wire
    if entry.wire_second != second:
        wire = hit_wire(path, entry, second)
    if entry.length <= WIRE_BODY_MAX:
        connection.transport.write(wire)
    else:
        connection.transport.writelines([wire, *entry.body])
    store.on_hit(entry)
    entry.hits += 1
    policy = plan.policy
    if policy is None:
        return True
    counters = policy.counters
    elapsed = path.clock() - started
    if entry.status < 300:
        counters.hit_ok.record(elapsed)
    else:
        counters.record(HIT, entry.status, elapsed)
    if path.access_log is not None:
        path.access_log.record_hit(connection, head, entry, policy, elapsed)
    if head.flags & REQUEST_ID and path.tells:
        story = Story(head, gate.table, started)
        story.service = counters.name
        story.status = entry.status
        story.outcome = HIT
        story.elapsed_s = elapsed
        note_look(story, started, "fresh", "RFC 9111 4.2", now - entry.age_base, entry.fresh_until - now)
        path.recent.append(story)
    return True
