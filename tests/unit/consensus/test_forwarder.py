"""How commands find the leader, and what is said again and what is not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from agent.cluster.consensus import forwarder as module
from agent.cluster.consensus.faces import Job
from agent.cluster.consensus.forwarder import Forwarder
from agent.cluster.consensus.messages import Ask, Commands, Outcomes, Told
from agent.core.machine.outcome import Outcome, encode_outcome

DONE = Outcome("", 7, 1)


class FakeHost:
    def __init__(self) -> None:
        self.leads = True
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)


class World:
    """A `Ways`: an own replica or none, a leader elsewhere or none, and everything that was said."""

    def __init__(self) -> None:
        self.own: FakeHost | None = None
        self.leader = ""
        self.reachable = True
        self.said: list[tuple[str, Commands | Outcomes]] = []
        self.heard: list[tuple[str, Outcome | None]] = []
        self.forwarder = Forwarder(self)

    def host(self) -> Any:
        return self.own

    def leader_name(self) -> str:
        return self.leader

    def say(self, name: str, message: Commands | Outcomes) -> bool:
        if self.reachable:
            self.said.append((name, message))
        return self.reachable

    def submit(self, timeout_s: float = 5.0, **more: Any) -> None:
        self.forwarder.submit(b"command", lambda reason, outcome: self.heard.append((reason, outcome)), timeout_s, **more)

    def asks(self) -> list[Ask]:
        return [item for _, message in self.said if isinstance(message, Commands) for item in message.items]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what is waited for is other code's
                await asyncio.sleep(0.005)


def run(work: Callable[[World], Awaitable[None]]) -> None:
    async def inside() -> None:
        world = World()
        await work(world)
        world.forwarder.stop()

    uvloop.run(inside())


def test_the_own_replica_takes_commands_where_it_leads() -> None:
    async def work(world: World) -> None:
        world.own = FakeHost()
        world.submit()
        assert world.heard == [] and len(world.own.jobs) == 1
        world.own.jobs[0].finish(DONE)
        assert world.heard == [("", DONE)] and world.forwarder.under_way == 0

    run(work)


def test_commands_of_one_turn_go_to_the_leader_in_one_message_and_its_answers_come_back() -> None:
    async def work(world: World) -> None:
        world.leader = "b"
        for _ in range(3):
            world.submit()
        await world.until(lambda: world.said)
        assert len(world.said) == 1 and len(world.asks()) == 3
        world.forwarder.take_outcomes(tuple(Told(ask.ticket, "", encode_outcome(DONE)) for ask in world.asks()))
        assert world.heard == [("", DONE)] * 3
        world.forwarder.take_outcomes((Told(world.asks()[0].ticket, "", encode_outcome(DONE)),))
        assert len(world.heard) == 3, "an answer that comes twice is heard once"

    run(work)


@pytest.mark.parametrize("reason", sorted(module.AGAIN))
def test_what_came_to_nothing_is_said_again_to_the_next_leader(reason: str) -> None:
    async def work(world: World) -> None:
        world.leader = "b"
        world.submit()
        await world.until(world.asks)
        world.leader = "c"
        world.forwarder.take_outcomes((Told(world.asks()[0].ticket, reason),))
        await world.until(lambda: len(world.asks()) == 2)
        assert [name for name, _ in world.said] == ["b", "c"]
        assert world.heard == []

    run(work)


def test_where_nobody_knows_what_became_of_it_only_what_is_safe_is_said_again() -> None:
    async def work(world: World) -> None:
        world.leader = "b"
        world.submit()
        world.submit(session=4, request=9, acked=8)
        world.submit(safe=True)
        await world.until(lambda: len(world.asks()) == 3)
        world.forwarder.lost("c")
        assert world.heard == []
        world.forwarder.lost("b")
        assert world.heard == [("unknown", None)]
        await world.until(lambda: len(world.asks()) == 5)
        again = world.asks()[3:]
        assert {(ask.session, ask.request, ask.acked) for ask in again} == {(4, 9, 8), (0, 0, 0)}
        assert not {ask.ticket for ask in again} & {ask.ticket for ask in world.asks()[:3]}

    run(work)


def test_a_new_leader_is_told_what_the_old_one_has_where_that_is_safe() -> None:
    async def work(world: World) -> None:
        world.leader = "b"
        world.submit()
        world.submit(session=4, request=1)
        await world.until(lambda: len(world.asks()) == 2)
        world.leader = "c"
        world.forwarder.leader_changed()
        await world.until(lambda: len(world.asks()) == 3)
        assert world.asks()[2].session == 4
        first = world.asks()[0].ticket
        world.forwarder.take_outcomes((Told(first, "", encode_outcome(DONE)),))
        assert world.heard == [("", DONE)], "the old leader may still answer for the other"

    run(work)


def test_without_a_leader_it_waits_and_is_given_up_in_time_with_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINES_S", 0.02)

    async def work(world: World) -> None:
        world.submit(0.1)
        await world.until(lambda: world.heard)
        assert world.heard == [("timeout", None)], "nobody had it"
        world.leader = "b"
        world.submit(0.1)
        await world.until(lambda: len(world.heard) == 2)
        assert world.heard[1] == ("unknown", None), "b had it and says nothing"
        world.leader = ""
        world.submit(5.0)
        world.leader = "c"
        await world.until(lambda: len(world.asks()) == 2)

    run(work)


def test_a_leader_that_cannot_be_reached_has_not_got_it() -> None:
    async def work(world: World) -> None:
        world.leader, world.reachable = "b", False
        world.submit()
        await asyncio.sleep(0.05)
        assert world.heard == [] and world.asks() == []
        world.reachable = True
        await world.until(lambda: len(world.asks()) == 1)

    run(work)


def test_too_many_are_refused_and_final_refusals_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOBS_MAX", 2)

    async def work(world: World) -> None:
        world.own = FakeHost()
        for _ in range(3):
            world.submit()
        await world.until(lambda: world.heard)
        assert world.heard == [("busy", None)]
        world.own.jobs[0].fail("too_large", 0)
        assert world.heard[1] == ("too_large", None)
        assert world.forwarder.failed_count == {"busy": 1, "too_large": 1}

    run(work)


def test_others_commands_are_served_where_the_own_replica_leads_and_handed_back_where_not() -> None:
    async def work(world: World) -> None:
        ask = Ask(5, 1, 2, 1, b"theirs")
        world.leader = "c"
        world.forwarder.take_commands("b", (ask,))
        await world.until(lambda: world.said)
        assert world.said == [("b", Outcomes((Told(5, "not_leader", b"", "c"),)))]
        world.own = FakeHost()
        world.forwarder.take_commands("b", (ask, Ask(6, 0, 0, 0, b"more")))
        world.own.jobs[0].finish(DONE)
        world.own.jobs[1].fail("lost", 0)
        await world.until(lambda: len(world.said) == 2)
        assert world.said[1] == ("b", Outcomes((Told(5, "", encode_outcome(DONE)), Told(6, "lost"))))

    run(work)


def test_at_the_end_everybody_hears_so() -> None:
    async def work(world: World) -> None:
        world.submit()
        world.leader = "b"
        world.submit()
        world.forwarder.stop()
        assert sorted(world.heard) == [("stopped", None), ("unknown", None)]
        world.submit()
        await asyncio.sleep(0)
        assert world.heard[2] == ("stopped", None)

    run(work)


def test_one_that_is_refused_is_said_again_soon_though_nothing_else_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINES_S", 60.0)

    async def work(world: World) -> None:
        world.leader = "b"
        world.submit()
        await world.until(world.asks)
        world.forwarder.take_outcomes((Told(world.asks()[0].ticket, "transferring"),))
        await world.until(lambda: len(world.asks()) == 2)

    run(work)
