"""The test for growth finds leaks and lets noise pass."""

import random

import pytest

from loadtest.growth import trend


def series(count: int, per_sample: float, noise: float, seed: int) -> tuple[list[float], list[float]]:
    dice = random.Random(seed)
    return [float(n) for n in range(count)], [1000.0 + per_sample * n + dice.gauss(0.0, noise) for n in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_growth(seed: int) -> None:
    assert not trend("memory", *series(60, 0.0, 20.0, seed), tolerance=20.0).grows


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_found_under_noise(seed: int) -> None:
    found = trend("memory", *series(60, 2.0, 20.0, seed), tolerance=20.0)
    assert found.grows
    assert found.per_minute == pytest.approx(120.0, rel=0.5)


def test_a_trend_that_comes_to_little_is_no_growth() -> None:
    assert not trend("memory", *series(60, 0.1, 0.0, 1), tolerance=20.0).grows


def test_one_wild_sample_is_no_growth() -> None:
    times, values = series(40, 0.0, 0.0, 1)
    values[-1] = 100_000.0
    assert not trend("memory", times, values, tolerance=20.0).grows


def test_a_step_early_on_that_stays_is_growth_only_if_large() -> None:
    times = [float(n) for n in range(40)]
    assert not trend("sockets", times, [10.0] * 5 + [12.0] * 35, tolerance=5.0).grows


def test_what_shrinks_does_not_grow() -> None:
    assert not trend("memory", *series(60, -5.0, 1.0, 1), tolerance=0.0).grows


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        trend("memory", [0.0, 1.0], [1.0, 2.0], 1.0)
