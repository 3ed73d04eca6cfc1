"""Facts survive the trip, tolerate other versions, and cost nothing while nothing happens; the filter of hot keys keeps its rate."""

from contextlib import suppress
from random import Random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.gossip import bloom, facts
from agent.core.gossip.damper import Damper, position_of, value_of
from agent.core.gossip.facts import Announced, CacheUse, EndpointState, Fact, Health, HotKeys, Judgements, Latency, Load, RoundTrips
from agent.core.gossip.messages import UnreadableError

EXAMPLES: list[tuple[str, Fact]] = [
    ("health", Health(1, "event loop lags 210 ms")),
    ("load", Load(0.5, 0.25, 0.002, 12, 3, 40.0, {"web": Latency(0.01, 0.2)})),
    ("judge:web", Judgements({"10.0.0.1:80": EndpointState(facts.BREAKER_OPEN, True)})),
    ("endpoint:web:8080", Announced("web", "10.0.0.7", 8080, "eu-1a", "eu-1", {"track": "canary"}, 2, False)),
    ("hot", HotKeys(b"\x01\x02", 7, 2)),
    ("cache", CacheUse(120, 65_536, 90, 100)),
    ("peers", RoundTrips({"web-2": 0.0004, "web-3": 0.012})),
]


@pytest.mark.parametrize(("key", "fact"), EXAMPLES)
def test_a_fact_survives_the_trip(key: str, fact: Fact) -> None:
    assert facts.decode(key, facts.encode(fact)) == fact


@pytest.mark.parametrize(("key", "fact"), EXAMPLES)
def test_what_a_newer_agent_appends_is_skipped_and_what_an_older_one_lacks_is_its_default(key: str, fact: Fact) -> None:
    fields = msgspec.msgpack.decode(facts.encode(fact))
    assert facts.decode(key, msgspec.msgpack.encode([*fields, "from the future", {"a": 1}])) == fact
    required = sum(1 for field in msgspec.structs.fields(type(fact)) if field.required)
    assert isinstance(facts.decode(key, msgspec.msgpack.encode(fields[:required])), type(fact))


def test_a_kind_that_is_not_known_is_nothing() -> None:
    assert facts.decode("weather", b"\x90") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("health", [9, ""]),
        ("health", {"level": 0}),
        ("load", [-1.0]),
        ("load", ["much"]),
        ("endpoint:web:1", ["web", "10.0.0.1", 70_000]),
        ("endpoint:web:1", ["web"]),
        ("endpoint:web:1", ["w" * 1_000, "10.0.0.1", 80]),
        ("hot", [b"x" * 5_000, 7]),
        ("judge:web", [{"a:1": [7]}]),
        ("cache", [-1]),
        ("peers", [{"web-2": -0.1}]),
        ("peers", [{f"web-{number}": 0.1 for number in range(25)}]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(UnreadableError, match=key):
        facts.decode(key, msgspec.msgpack.encode(value))


@given(st.binary(max_size=64), st.sampled_from([key for key, _ in EXAMPLES]))
@example(b"\x93\xa4\x00\x00\x00\x80", "endpoint:web:8080")  # a text that is no UTF-8
def test_no_octets_do_worse_than_be_refused(value: bytes, key: str) -> None:
    with suppress(UnreadableError):
        facts.decode(key, value)


@given(st.floats(0.0, 10_000.0))
def test_a_level_is_within_a_fifth_of_what_it_stands_for(value: float) -> None:
    level = int(position_of(value, 0.05))
    assert value < 0.05 if level == 0 else value_of(level, 0.05) / 1.2 < value < value_of(level, 0.05) * 1.2


@given(st.integers(0, 2**32), st.floats(0.1, 5.0))
def test_a_load_that_wobbles_by_a_tenth_is_reported_at_most_twice(seed: int, cpu: float) -> None:
    random, damper = Random(seed), Damper()
    reports = 0
    for second in range(300):
        load = Load(cpu=cpu * random.uniform(0.95, 1.05), in_flight=round(20 * random.uniform(0.95, 1.05)))
        reports += damper.report(float(second), load, 10) is not None
    assert 1 <= reports <= 2


@given(st.integers(0, 2**32), st.integers(2, 2_000))
def test_all_members_together_stay_within_the_budget_while_load_only_drifts(seed: int, members: int) -> None:
    random, damper = Random(seed), Damper()
    cpu, reports = 0.5, 0
    for second in range(600):
        cpu = min(max(cpu * random.uniform(0.9, 1.1), 0.1), 2.0)
        reports += damper.report(float(second), Load(cpu=cpu), members) is not None
    assert reports * members <= 600 * 20 + 25 * members  # 25: jumps, which do not wait


def test_a_jump_does_not_wait() -> None:
    damper = Damper()
    assert damper.report(0.0, Load(cpu=0.2), 1_000) is not None
    assert damper.report(5.0, Load(cpu=0.26), 1_000) is None
    report = damper.report(6.0, Load(cpu=0.9), 1_000)
    assert report is not None and 0.75 < report.cpu < 1.08
    assert damper.report(6.5, Load(cpu=0.1), 1_000) is None  # not twice a second


def test_a_service_that_is_no_longer_used_leaves_the_report() -> None:
    damper = Damper()
    first = damper.report(0.0, Load(latency={"web": Latency(0.01, 0.1)}), 2)
    assert first is not None and "web" in first.latency
    second = damper.report(5.0, Load(), 2)
    assert second is not None and not second.latency


@given(st.sets(st.binary(max_size=40), max_size=200))
def test_a_key_that_is_held_is_always_found(keys: set[bytes]) -> None:
    hot = bloom.build(sorted(keys))
    assert all(bloom.may_hold(hot, key) for key in keys)


def test_the_false_positive_rate_is_as_stated() -> None:
    hot = bloom.build(b"held %d" % number for number in range(2_000))
    assert (hot.keys, len(hot.bits)) == (1_024, 1_280)
    wrong = sum(bloom.may_hold(hot, b"other %d" % number) for number in range(50_000)) / 50_000
    assert 0.006 < wrong < 0.0105
