"""A host with a core that does as the test says: what goes in, in which order things are carried out, what a fault does."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest
import uvloop

from agent.cluster.consensus import applier as applier_module
from agent.cluster.consensus import host as host_module
from agent.cluster.consensus.faces import Job
from agent.cluster.consensus.host import Host
from agent.cluster.consensus.reader import Reader
from agent.core.machine.commands import Put
from agent.core.machine.envelope import encode_command, unseal
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.replica.io import (
    Applied,
    Changed,
    Deliver,
    Effect,
    Input,
    Persist,
    Propose,
    Proposed,
    Read,
    ReadReady,
    Refused,
    Send,
    Stored,
)
from agent.core.replica.log import Entry, Members
from agent.runtime.log import Logger

COMMAND = encode_command(Put(b"k", b"v"))


class Script:
    """A core: gives each proposal the next place and delivers it when it is stored; `before` answers inputs first."""

    def __init__(self) -> None:
        self.leader = 1
        self.commit = 0
        self.inputs: list[Input] = []
        self.index = 0
        self.term = 1
        self.waiting: list[tuple[Entry, ...]] = []
        self.before: Callable[[Input], tuple[Effect, ...] | None] = lambda event: None

    def step(self, now: float, event: Input) -> tuple[Effect, ...]:
        self.inputs.append(event)
        found = self.before(event)
        if found is not None:
            return found
        if isinstance(event, Propose):
            out: list[Effect] = []
            entries = []
            for ticket, data in event.items:
                self.index += 1
                entries.append(Entry(self.term, self.index, 0, data))
                out.append(Proposed(ticket, self.index, self.term))
            self.waiting.append(tuple(entries))
            return (*out, Persist(self.index, None, tuple(entries)), Send(2, "append"))
        if isinstance(event, Stored):
            batches, self.waiting = self.waiting, []
            return tuple(Deliver(batch) for batch in batches)
        if isinstance(event, Read):
            return (ReadReady(event.ticket, self.index),)
        return ()

    def next_wake(self) -> float:
        return inf


class Store:
    def __init__(self) -> None:
        self.batches: list[Persist] = []

    def persist(self, batch: Persist) -> None:
        self.batches.append(batch)

    def compact(self, index: int) -> None:
        """Nothing is kept."""


class Told(Job):
    __slots__ = ("told",)

    def __init__(self) -> None:
        super().__init__(COMMAND, 0, 0, 0, False, 0.0)
        self.told: list[Any] = []

    def finish(self, outcome: Outcome) -> None:
        self.told.append(outcome)

    def fail(self, reason: str, leader: int) -> None:
        self.told.append(reason)


class Rig:
    def __init__(self) -> None:
        self.core = Script()
        self.store = Store()
        self.machine = Machine()
        self.host = Host(1, self.core, self.store, self.machine, Logger("error"))
        self.did: list[str] = []
        self.host.send = lambda to, message: self.did.append(f"send {to}")
        self.host.flush = lambda: self.did.append("flush")

    async def turn(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def stored(self) -> None:
        self.host.feed(Stored(self.store.batches[-1].number))


def run(work: Callable[[Rig], Awaitable[None]]) -> None:
    async def inside() -> None:
        await work(Rig())

    uvloop.run(inside())


def test_what_one_turn_brings_is_one_proposal_one_write_and_one_flush_and_is_answered_when_it_is_applied() -> None:
    async def work(rig: Rig) -> None:
        jobs = [Told() for _ in range(50)]
        for job in jobs:
            rig.host.submit(job)
        await rig.turn()
        proposals = [event for event in rig.core.inputs if isinstance(event, Propose)]
        assert [len(one.items) for one in proposals] == [50]
        assert len(rig.store.batches) == 1
        assert rig.did[:2] == ["send 2", "flush"]
        assert all(not job.told for job in jobs)
        rig.stored()
        await rig.turn()
        assert [job.told[0].revision for job in jobs] == list(range(1, 51))
        assert rig.host.applier.index == 50 and Applied(50) in rig.core.inputs
        assert rig.host.figures.commit_s.count == 50 and rig.host.under_way == 0

    run(work)


def test_a_command_whose_place_another_term_has_was_lost() -> None:
    async def work(rig: Rig) -> None:
        job = Told()
        rig.host.submit(job)
        await rig.turn()
        other = Entry(2, 1, 0, rig.core.waiting[0][0].data)
        rig.core.waiting = [(other,)]
        rig.stored()
        await rig.turn()
        assert job.told == ["lost"]

    run(work)


def test_a_refusal_is_told_and_never_within_the_call() -> None:
    async def work(rig: Rig) -> None:
        rig.core.before = lambda event: (Refused(event.items[0][0], "not_leader", 3),) if isinstance(event, Propose) else None
        job = Told()
        rig.host.submit(job)
        assert job.told == []
        await rig.turn()
        assert job.told == ["not_leader"] and rig.host.under_way == 0

    run(work)


def test_more_than_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "TICKETS_MAX", 2)

    async def work(rig: Rig) -> None:
        jobs = [Told() for _ in range(3)]
        for job in jobs:
            rig.host.submit(job)
        await rig.turn()
        assert [job.told for job in jobs] == [[], [], ["busy"]]

    run(work)


def test_reads_of_one_turn_share_one_question_and_wait_until_the_state_has_come_so_far() -> None:
    async def work(rig: Rig) -> None:
        rig.host.submit(Told())
        await rig.turn()
        heard: list[tuple[str, int]] = []
        for _ in range(10):
            rig.host.read(lambda reason, index: heard.append((reason, index)))
        rig.host.read(lambda reason, index: heard.append((reason, index)), lease=True)
        await rig.turn()
        reads = [event for event in rig.core.inputs if isinstance(event, Read)]
        assert [one.lease for one in reads] == [False, True]
        assert heard == [], "index 1 is not applied yet"
        rig.stored()
        await rig.turn()
        assert heard == [("", 1)] * 11

    run(work)


def test_much_is_applied_in_slices_with_turns_of_the_loop_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "SLICE_S", 0.0)

    async def work(rig: Rig) -> None:
        slices: list[int] = []
        rig.host.applier.watchers.append(slices.append)
        jobs = [Told() for _ in range(100)]
        for job in jobs:
            rig.host.submit(job)
        await rig.turn()
        rig.stored()
        async with asyncio.timeout(5):
            while not jobs[-1].told:  # noqa: ASYNC110 - the loop's turns are what is tried
                await asyncio.sleep(0)
        assert slices == [16, 32, 48, 64, 80, 96, 100]

    run(work)


def test_a_core_that_raises_is_stopped_and_everybody_hears_so() -> None:
    async def work(rig: Rig) -> None:
        jobs = [Told(), Told()]
        heard: list[str] = []
        rig.host.submit(jobs[0])
        await rig.turn()

        def broken(event: Input) -> tuple[Effect, ...] | None:
            raise AssertionError("cannot be")

        rig.core.before = broken
        rig.host.read(lambda reason, index: heard.append(reason))
        rig.host.submit(jobs[1])
        await rig.turn()
        assert "cannot be" in rig.host.broken
        assert jobs[0].told == ["unknown"], "it has its place, and may yet be committed"
        assert jobs[1].told in (["stopped"], ["unknown"]) and heard == ["stopped"]
        late = Told()
        rig.host.submit(late)
        await rig.turn()
        assert late.told == ["stopped"]

    run(work)


def test_who_is_told_and_raises_is_counted_and_harms_nobody_else() -> None:
    class Raises(Told):
        def finish(self, outcome: Outcome) -> None:
            raise ValueError("not well")

    def raises(*_: Any) -> None:
        raise ValueError("not well")

    async def work(rig: Rig) -> None:
        good = Told()
        rig.host.applier.watchers.append(raises)
        rig.host.submit(Raises())
        rig.host.submit(good)
        await rig.turn()
        rig.host.read(raises)
        rig.stored()
        await rig.turn()
        assert len(good.told) == 1 and not rig.host.broken
        assert rig.host.figures.faults == 3

    run(work)


def test_machine_time_goes_on_from_where_it_was_when_this_replica_began_to_lead() -> None:
    async def work(rig: Rig) -> None:
        rig.machine.shared.time_ms = 5_000
        rig.core.before = lambda event: (Changed("leader", 1, 1, Members()),) if not isinstance(event, Propose) else None
        rig.host.start()
        await rig.turn()
        assert rig.host.leads
        assert 5_000 <= rig.host.machine_ms() < 6_000
        rig.host.submit(Told())
        await rig.turn()
        assert 5_000 <= unseal(rig.core.waiting[0][0].data).time_ms < 6_000

    run(work)


def test_a_stale_read_is_answered_at_once_where_the_state_is_known_to_be_fresh_enough() -> None:
    async def work(rig: Rig) -> None:
        reader = Reader(lambda: rig.host)
        heard: list[tuple[str, int]] = []
        reader.read("stale", lambda reason, index: heard.append((reason, index)), 1.0, 60.0)
        assert heard == [], "nothing is known of how fresh it is: the leader is asked"
        await rig.turn()
        assert heard == [("", 0)]
        reader.read("stale", lambda reason, index: heard.append((reason, index)), 1.0, 60.0)
        assert len(heard) == 2 and reader.age_s() < 60.0
        rig.core.before = lambda event: (Refused(event.ticket, "not_leader"),) if isinstance(event, Read) else None
        reader.read("linearizable", lambda reason, index: heard.append((reason, index)), 0.1)
        async with asyncio.timeout(5):
            while len(heard) < 3:  # noqa: ASYNC110 - what is waited for is other code's
                await asyncio.sleep(0.01)
        assert heard[2] == ("timeout", 0)
        reader.read("stale", lambda reason, index: heard.append((reason, index)), 1.0)
        assert len(heard) == 4, "any age will do"
        reader.stop()

    run(work)
