"""Token buckets, the retry budget and backoff against what they promise."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from agent.core.routing.budget import RetryBudget, full_jitter_s
from agent.core.routing.config import RateLimit
from agent.core.routing.ratelimit import Limiter
from tests.unit.routing.support import head_of

EIGHTHS = st.integers(0, 40)


@given(
    st.integers(1, 16),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(0, 20),
    st.lists(st.tuples(EIGHTHS, st.sampled_from([b"a", b"b"])), max_size=80),
)
def test_a_bucket_is_as_the_exact_one(requests: int, per: float, burst: int, calls: list[tuple[int, bytes]]) -> None:
    """Times and rates are dyadic, so that the floats are exact and the model may use fractions."""
    limiter = Limiter(RateLimit(requests=requests, per=per, burst=burst, key="client"))
    size, rate = Fraction(burst or requests), Fraction(requests) / Fraction(per)
    levels: dict[bytes, tuple[Fraction, Fraction]] = {}
    now = Fraction(0)
    for eighths, key in calls:
        now += Fraction(eighths, 8)
        level, then = levels.get(key, (size, now))
        level = min(size, level + (now - then) * rate)
        wait_s = limiter.take(key, float(now))
        if level >= 1:
            level -= 1
            assert wait_s == 0.0
        else:
            assert abs(wait_s - float((1 - level) / rate)) < 1e-9
        levels[key] = (level, now)
        assert limiter.level(key) == float(level)


def test_buckets_are_bounded_and_the_least_recently_used_goes() -> None:
    limiter = Limiter(RateLimit(requests=1, per=3600.0, key="client", keys_max=2))
    assert [limiter.take(key, 0.0) > 0 for key in (b"a", b"b", b"a")] == [False, False, True]
    assert limiter.take(b"c", 0.0) == 0.0  # b goes
    assert (len(limiter), limiter.take(b"a", 0.0) > 0, limiter.take(b"b", 0.0)) == (2, True, 0.0)


def test_what_a_bucket_is_keyed_by() -> None:
    head = head_of("GET /a?b=1 HTTP/1.1\nHost: x\nX-User: ann")
    found = [
        Limiter(RateLimit(requests=1, key=key)).key_of(head, b"1.2.3.4") for key in ("", "header:X-User", "header:X-No", "path", "client")
    ]
    assert found == [b"", b"ann", b"", b"/a", b"1.2.3.4"]


@given(st.floats(0, 1), st.integers(0, 5), st.lists(st.sampled_from(["request", "done", "retry", "end"]), max_size=200))
def test_retries_under_way_never_pass_the_budget(share: float, at_least: int, steps: list[str]) -> None:
    budget = RetryBudget(share, at_least)
    for step in steps:
        if step == "request":
            budget.active += 1
        elif step == "done":
            budget.active = max(budget.active - 1, 0)
        elif step == "end":
            budget.finish()
        else:
            room = budget.spent < at_least or budget.spent < share * budget.active
            before = budget.spent
            assert budget.try_start() == room
            assert budget.spent == before + room
            assert not room or budget.spent <= max(at_least, share * budget.active + 1)
        assert budget.spent >= 0


@given(st.floats(0.001, 1.0), st.floats(0.001, 10.0), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_backoff_has_full_jitter_under_a_ceiling(base_s: float, max_s: float, attempt: int, random_u32: int) -> None:
    delay_s = full_jitter_s(base_s, max_s, attempt, random_u32)
    assert 0.0 <= delay_s < min(max_s, base_s * 2 ** (attempt - 1)) + 1e-12
    assert full_jitter_s(base_s, max_s, attempt, 0) == 0.0
