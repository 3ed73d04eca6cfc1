"""The hybrid logical clock: order, closeness to the wall, and its refusal of clocks too far ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.clocks import hybrid
from agent.core.clocks.hybrid import ClockTooFarAheadError, HybridClock

WALL = st.integers(min_value=1_000_000, max_value=2_000_000)


@given(st.lists(WALL, min_size=1, max_size=50))
def test_stamps_rise_however_the_wall_jumps(walls: list[int]) -> None:
    clock = HybridClock()
    stamps = [clock.tick(wall) for wall in walls]
    assert stamps == sorted(set(stamps))
    assert all(hybrid.physical_ms(stamp) >= wall for stamp, wall in zip(stamps, walls, strict=True))


@given(st.data())
def test_what_caused_is_before_what_was_caused_and_no_stamp_is_further_ahead_than_the_most_advanced_wall(data: st.DataObject) -> None:
    """Kulkarni et al., theorems 1 and 2, on three nodes whose clocks differ by up to the bound."""
    skews = data.draw(st.lists(st.integers(-200, 200), min_size=3, max_size=3))
    clocks = [HybridClock(skew_max_ms=500) for _ in skews]
    true_ms = 5_000_000
    last = [0, 0, 0]
    for _ in range(data.draw(st.integers(1, 40))):
        true_ms += data.draw(st.integers(0, 3))
        sender, receiver = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        sent = clocks[sender].tick(true_ms + skews[sender])
        assert sent > last[sender]
        last[sender] = sent
        received = clocks[receiver].receive(sent, true_ms + skews[receiver])
        assert received > sent and received > last[receiver] - (sender == receiver)
        last[receiver] = received
        assert hybrid.physical_ms(received) <= true_ms + max(skews) + 1


@given(WALL, st.integers(501, 10**9))
def test_a_clock_too_far_ahead_is_refused_and_changes_nothing(wall: int, ahead: int) -> None:
    clock = HybridClock(skew_max_ms=500)
    before = clock.tick(wall)
    with pytest.raises(ClockTooFarAheadError, match=rf"the clock of web-7 is {ahead} ms ahead of ours, more than the 500 ms allowed"):
        clock.receive(hybrid.make(wall + ahead), wall, "web-7")
    assert clock.last == before
    assert clock.rejected == 1


def test_a_full_counter_carries_into_the_milliseconds() -> None:
    clock = HybridClock()
    clock.last = hybrid.make(1000, hybrid.COUNTER_MAX)
    assert clock.tick(1000) == hybrid.make(1001, 0)


def test_a_wall_that_jumped_back_shows() -> None:
    clock = HybridClock()
    clock.tick(10_000)
    assert clock.ahead_ms(10_000) == 0
    assert clock.ahead_ms(4_000) == 6_000


@given(st.lists(st.integers(0, hybrid.STAMP_MAX), min_size=2, max_size=2))
def test_the_encoding_sorts_as_the_stamps_do(stamps: list[int]) -> None:
    a, b = stamps
    assert hybrid.decode(hybrid.encode(a)) == a
    assert (hybrid.encode(a) < hybrid.encode(b)) == (a < b)


@given(st.binary(max_size=20).filter(lambda octets: len(octets) != 8))
def test_a_stamp_of_another_length_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="8 octets"):
        hybrid.decode(octets)
