"""What is remembered of one request so that it can be explained later: values that were at hand anyway, in one object.

The steps that nearly every request takes once have fields of their own; what is rarer, or comes again, goes into `more`. Nothing
here is as large as a body, and nothing holds on to a connection. `agent.proxy.explain` gives all of it names.
"""

from time import perf_counter
from typing import Any

from agent.core.cache.storage import Storage
from agent.core.http.head import RequestHead
from agent.core.routing.cluster import Cluster
from agent.core.routing.endpoint import Endpoint
from agent.core.routing.table import RouteTable


class Story:
    """One request's. Times are seconds of `perf_counter`; 0 where a step was not taken."""

    def __init__(self, head: RequestHead, table: RouteTable, started: float) -> None:
        self.head = head
        self.table = table
        self.started = started
        self.in_full = False
        """The explanation was asked for with the request: note all that was looked at."""
        self.request_id = b""
        self.service = ""
        self.status = 0
        self.outcome = 0
        self.flag = ""
        self.detail = ""
        self.cache_status = b""
        self.endpoint = ""
        self.elapsed_s = 0.0
        self.looked_at = 0.0
        """The cache was asked: what it had to say and where that is written, the age of what is stored and how long it is fresh."""
        self.looked = ""
        self.section = ""
        self.age_s = 0.0
        self.fresh_for_s = 0.0
        self.admitted_at = 0.0
        self.admitted_to = ""
        self.breaker = 0
        self.in_flight = 0
        self.concurrency_limit = 0.0
        self.retries_under_way = 0
        self.tried_at = 0.0
        """The first try."""
        self.tried = ""
        self.first = ""
        """The two addresses that were compared for it, and what they cost; empty where none were."""
        self.first_cost = 0.0
        self.second = ""
        self.second_cost = 0.0
        self.answered_at = 0.0
        """The response head that was passed on."""
        self.answered_by = ""
        self.answered_status = 0
        self.answered_try = 0
        self.storage_at = 0.0
        self.storage: Storage | None = None
        self.more: list[tuple[Any, ...]] = _NOTHING

    def note(self, step: str, *details: Any) -> None:
        """A step of `agent.proxy.explain.STEPS` with its values."""
        if self.more is _NOTHING:
            self.more = []
        self.more.append((perf_counter(), step, *details))


_NOTHING: list[tuple[Any, ...]] = []


def note_look(story: Story, at: float, verdict: str, section: str, age_s: float = 0.0, fresh_for_s: float = 0.0) -> None:
    """What the cache said."""
    story.looked_at = at
    story.looked = verdict
    story.section = section
    story.age_s = age_s
    story.fresh_for_s = fresh_for_s


def note_admission(story: Story, cluster: Cluster, now: float) -> None:
    """What a request was let in, or refused, by."""
    if story.admitted_at > 0.0 or story.in_full:
        state = cluster.state(now) if story.in_full else None
        story.note("admission", cluster.name, cluster.breaker.state, cluster.in_flight, cluster.limit.limit, cluster.budget.spent, state)
        return
    story.admitted_at = now
    story.admitted_to = cluster.name
    story.breaker = cluster.breaker.state
    story.in_flight = cluster.in_flight
    story.concurrency_limit = cluster.limit.limit
    story.retries_under_way = cluster.budget.spent


def note_try(story: Story, cluster: Cluster, endpoint: Endpoint, number: int, now: float, hedge: bool) -> None:
    """The endpoint of a try, and which it was compared with."""
    if story.tried_at > 0.0 or story.in_full:
        compared: Any = cluster.explain(now) if story.in_full else cluster.compared()
        story.note("try", number, endpoint.address, hedge, compared)
        return
    story.tried_at = now
    story.tried = endpoint.address
    chooser = cluster.chose
    if chooser is not None and chooser.first is not None and chooser.second is not None:
        story.first = chooser.first.address
        story.first_cost = chooser.first_cost
        story.second = chooser.second.address
        story.second_cost = chooser.second_cost
