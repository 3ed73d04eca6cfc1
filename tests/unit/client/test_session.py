"""Numbers of commands: never twice, never beyond what the group remembers."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from agent.client.session import SessionNumbers, Sessions


@given(st.lists(st.integers(0, 100), max_size=200), st.integers(1, 40))
def test_all_under_way_are_within_the_window_and_acknowledged_is_what_is_done(choices: list[int], window: int) -> None:
    numbers = SessionNumbers(7, window, 60)
    under_way: list[int] = []
    done: set[int] = set()
    for choice in choices:
        if choice % 2 and under_way:
            number = under_way.pop(choice % len(under_way))
            numbers.end(number)
            done.add(number)
        elif numbers.can_begin():
            number = numbers.begin()
            assert number not in done and number not in under_way
            under_way.append(number)
        highest = max([*under_way, *done], default=0)
        assert all(highest - number < window for number in under_way)
        assert set(range(1, numbers.acked + 1)) <= done and not set(under_way) & set(range(1, numbers.acked + 1))
    if not under_way:
        assert numbers.can_begin()


def test_one_session_for_all_and_another_when_it_is_forgotten() -> None:
    made: list[int] = []
    ended: list[int] = []

    async def make() -> tuple[int, int, float]:
        made.append(len(made) + 1)
        return made[-1], 8, 1000.0

    async def keep(session: int) -> bool:
        return True

    async def end(session: int) -> None:
        ended.append(session)

    async def main() -> None:
        sessions = Sessions(make, keep, end)
        seen: list[tuple[str, str]] = []

        async def command() -> None:
            async with sessions.command() as headers:
                seen.append((headers["Pilotfish-Session"], headers["Pilotfish-Request"]))
                await asyncio.sleep(0)

        await asyncio.gather(*(command() for _ in range(50)))
        assert len(set(seen)) == 50 and made == [1]
        sessions.forget("99")
        await command()
        assert made == [1]
        sessions.forget("1")
        await command()
        assert made == [1, 2] and seen[-1] == ("2", "1")
        await sessions.close()
        assert ended == [2]

    asyncio.run(main())
