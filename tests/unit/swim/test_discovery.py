"""Sources are asked for ever, later each time they fail; what they find is joined until it is a member."""

import asyncio
import random

import pytest

from agent.core.swim.io import JoinEnded
from agent.core.swim.messages import Place
from agent.runtime import discovery
from agent.runtime.discovery import BACKOFF_FIRST_S, BACKOFF_MAX_S, Discovery, backoff_s, ordered, parse_place
from agent.runtime.discovery.joiner import AT_ONCE_MAX, SETTLE_S, Joiner
from agent.runtime.log import Logger
from tests.contract.transports import run, until

A, B = ("10.0.0.1", 1), ("10.0.0.2", 1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.1", ("10.0.0.1", 7946)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("host.example:65535", ("host.example", 65535)),
        ("fe80::1", ("fe80::1", 7946)),
        ("[fe80::1]", ("fe80::1", 7946)),
        ("[fe80::1]:3", ("fe80::1", 3)),
        (" host ", ("host", 7946)),
    ],
)
def test_places_are_read(text: str, place: Place) -> None:
    assert parse_place(text, 7946) == place


@pytest.mark.parametrize("text", ["", ":1", "host:", "host:0", "host:65536", "host:x", "[::1", "http://host", "a b", "[]:1"])
def test_what_is_no_place_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected host"):
        parse_place(text, 7946)


def test_backoff_grows_with_jitter_up_to_its_bound() -> None:
    assert [backoff_s(n, 1.0) for n in (1, 2, 3, 20, 10_000)] == [BACKOFF_FIRST_S, 1.0, 2.0, BACKOFF_MAX_S, BACKOFF_MAX_S]
    assert backoff_s(20, 0.0) == BACKOFF_FIRST_S / 2
    assert ordered([B, A, B]) == (A, B)


class Flaky:
    name = "flaky"
    interval_s = 0.0

    def __init__(self) -> None:
        self.answers: list[tuple[Place, ...] | Exception] = [
            OSError("down"),
            OSError("down"),
            RuntimeError("a bug"),
            (A,),
            OSError("down"),
            (B,),
        ]
        self.closed = False

    async def find(self) -> tuple[Place, ...]:
        if not self.answers:
            await asyncio.sleep(100)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def test_a_source_that_fails_is_counted_logged_once_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery, "BACKOFF_FIRST_S", 0.001)

    async def work() -> None:
        flaky = Flaky()
        heard: list[tuple[str, tuple[Place, ...]]] = []
        looking = Discovery([flaky], lambda name, places: heard.append((name, places)), Logger("info"), random.Random(1).random)
        running = asyncio.ensure_future(looking.run())
        await until(lambda: len(heard) == 2, "both answers")
        assert heard == [("flaky", (A,)), ("flaky", (B,))]
        looked = looking.looked["flaky"]
        assert (looked.answers, looked.failures, looked.failures_in_a_row, looked.places) == (2, 4, 0, (B,))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert flaky.closed

    run(work)
    said = capsys.readouterr().err
    assert (said.count("discovery_failed"), said.count("discovery_recovered")) == (3, 2)


class Rig:
    def __init__(self) -> None:
        self.now = 0.0
        self.members: set[Place] = {("10.0.0.9", 1)}
        self.asked: list[Place] = []
        self.joiner = Joiner(self.asked.append, lambda: self.members, lambda: self.now, lambda: 0.5)

    def tick(self, after_s: float = 0.0) -> list[Place]:
        self.now += after_s
        self.asked.clear()
        self.joiner.tick()
        return list(self.asked)


def test_who_is_not_a_member_is_asked_again_later_each_time_for_ever() -> None:
    rig = Rig()
    rig.joiner.on_found("static", (A, ("10.0.0.9", 1)))
    assert rig.tick() == [A], "not ourselves"
    assert rig.tick(100) == [], "one join at a time for a place"
    waits = []
    for _ in range(12):
        rig.joiner.on_ended(JoinEnded(A, "refused"))
        waited = 0.0
        while not rig.tick(0.05):
            waited += 0.05
        waits.append(waited)
    assert waits[0] < 1 < waits[3] < waits[6]
    assert BACKOFF_MAX_S / 2 - 1 < waits[-1] <= BACKOFF_MAX_S / 2 + 1
    rig.joiner.on_ended(JoinEnded(A))
    rig.members.add(A)
    assert rig.tick(1000) == []
    rig.members.discard(A)
    assert rig.tick() == [A], "a cluster that fell apart grows together again"


def test_a_join_that_succeeded_is_given_time_to_show() -> None:
    rig = Rig()
    rig.joiner.on_found("static", (A,))
    rig.tick()
    rig.joiner.on_ended(JoinEnded(A))
    assert rig.tick(SETTLE_S - 0.1) == []
    assert rig.tick(10) == [A]


def test_sources_add_up_their_last_answers_count_and_joins_are_bounded() -> None:
    rig = Rig()
    many = tuple((f"10.1.0.{n}", 1) for n in range(30))
    rig.joiner.on_found("dns", many)
    rig.joiner.on_found("file", (A,))
    assert len(rig.tick()) == AT_ONCE_MAX
    for place in list(rig.asked):
        rig.joiner.on_ended(JoinEnded(place, "no"))
    rig.joiner.on_found("dns", ())
    assert rig.tick(200) == ([A] if A not in many else [])
    rig.joiner.on_ended(JoinEnded(("10.9.9.9", 1), "unknown places are nothing to us"))
