"""Time limits: kept when due, moved by assignment, and gone when dropped."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.wheel import TICK_S, Timed, TimerWheel


class FakeLoop:
    """A loop whose time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, call: Any) -> None:
        self.calls.append((self.now + delay_s, call))

    def move(self, seconds: float) -> None:
        """Let time pass in steps of a tick, and run what is due."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + TICK_S, end)
            due = [call for at, call in self.calls if at <= self.now]
            self.calls = [(at, call) for at, call in self.calls if at > self.now]
            for call in due:
                call()


class Limit(Timed):
    def __init__(self) -> None:
        super().__init__()
        self.fired: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.fired.append(now)


def rig() -> tuple[FakeLoop, TimerWheel]:
    loop = FakeLoop()
    return loop, TimerWheel(loop)  # type: ignore[arg-type]


def test_a_limit_fires_once_and_within_a_tick() -> None:
    loop, wheel = rig()
    limit = Limit()
    wheel.arm(limit, 1003.0)
    loop.move(2.9)
    assert limit.fired == []
    loop.move(10.0)
    assert len(limit.fired) == 1
    assert 1003.0 <= limit.fired[0] <= 1003.0 + 2 * TICK_S
    assert len(wheel) == 0


def test_a_limit_moves_by_assignment_and_by_arming() -> None:
    loop, wheel = rig()
    later, earlier, never = Limit(), Limit(), Limit()
    for limit in (later, earlier, never):
        wheel.arm(limit, 1005.0)
    later.deadline = 1020.0
    never.deadline = 0.0
    wheel.arm(earlier, 1001.0)
    assert len(wheel) == 3
    loop.move(4.0)
    assert len(earlier.fired) == 1
    loop.move(11.0)
    assert later.fired == []
    loop.move(10.0)
    assert (len(earlier.fired), len(later.fired), len(never.fired)) == (1, 1, 0)


def test_what_is_dropped_is_not_held() -> None:
    loop, wheel = rig()
    limit = Limit()
    gone = weakref.ref(limit)
    wheel.arm(limit, 1060.0)
    wheel.arm(limit, 1030.0)
    wheel.drop(limit)
    assert len(wheel) == 0
    del limit
    gc.collect()
    assert gone() is None
    loop.move(100.0)


def test_dropping_another_whose_turn_it_is_spares_it() -> None:
    loop, wheel = rig()
    second = Limit()

    class First(Limit):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            wheel.drop(second)

    first = First()
    wheel.arm(first, 1001.0)
    wheel.arm(second, 1001.0)
    loop.move(5.0)
    assert (len(first.fired), second.fired) == (1, [])


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["arm", "drop", "move", "wait"]), st.floats(0.0, 5.0)), max_size=60))
def test_as_a_simple_model_says(steps: list[tuple[int, str, float]]) -> None:
    loop, wheel = rig()
    limits = [Limit() for _ in range(5)]
    due: dict[int, float] = {}
    for which, what, seconds in steps:
        if what == "arm":
            wheel.arm(limits[which], loop.now + seconds)
            due[which] = loop.now + seconds
        elif what == "drop":
            wheel.drop(limits[which])
            due.pop(which, None)
        elif what == "move" and which in due:
            # By assignment a limit may only move away.
            due[which] += seconds
            limits[which].deadline = due[which]
        elif what == "wait":
            loop.move(seconds)
            for number, at in list(due.items()):
                if limits[number].fired:
                    assert limits[number].fired.pop() >= at
                    assert limits[number].fired == []
                    del due[number]
                else:
                    assert at > loop.now - 2 * TICK_S, "it should have fired"
    for _ in range(3):  # a loop that was held up for minutes
        loop.now += 500.0
        loop.move(TICK_S)
    assert [len(limit.fired) for limit in limits] == [int(number in due) for number in range(5)]
    assert len(wheel) == 0


def test_on_a_real_loop() -> None:
    async def scenario() -> None:
        wheel = TimerWheel(asyncio.get_running_loop())
        fired = asyncio.Event()

        class Real(Timed):
            def on_deadline(self, now: float) -> None:
                fired.set()

        wheel.arm(Real(), asyncio.get_running_loop().time() + 0.05)
        await asyncio.wait_for(fired.wait(), 10.0)

    run: Coroutine[Any, Any, None] = scenario()
    asyncio.run(run)
