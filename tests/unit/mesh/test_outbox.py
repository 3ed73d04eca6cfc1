"""A burst of unsafe requests stays a bounded number of messages, and means no less."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.cache.outbox import BURST, QUEUE_MAX, RATE, WIDE_EVERY_S, Outbox


def test_what_is_said_twice_before_it_went_goes_once() -> None:
    outbox = Outbox()
    for _ in range(3):
        outbox.add("web", b"h", b"/x", 0.0)
    assert [(order.host, order.target) for order in outbox.due(0.0)] == [(b"h", b"/x")]
    assert outbox.coalesced == 2 and outbox.wait_s(0.0) < 0.0
    outbox.add("web", b"h", b"/x", 0.1)
    assert len(outbox.due(0.1)) == 1


def test_beyond_the_burst_they_go_at_the_rate() -> None:
    outbox = Outbox()
    for number in range(int(BURST) + 100):
        outbox.add("web", b"h", b"/%d" % number, 0.0)
    assert len(outbox.due(0.0)) == int(BURST)
    assert 0.0 < outbox.wait_s(0.0) <= 1.0 / RATE
    assert len(outbox.due(0.1)) == int(0.1 * RATE)


def test_a_full_queue_becomes_one_purge_of_the_service_at_most_each_second() -> None:
    outbox = Outbox()
    outbox.add("other", b"o", b"/kept", 0.0)
    for number in range(QUEUE_MAX + 1000):
        outbox.add("web", b"h", b"/%d" % number, 0.0)
    orders = outbox.due(0.0)
    assert [(order.service, order.wide) for order in orders] == [("web", True), ("other", False)]
    assert outbox.widened == 1
    for number in range(int(BURST) + QUEUE_MAX + 1000):
        outbox.add("web", b"h", b"/%d" % number, 0.01)
    assert not any(order.wide for order in outbox.due(0.5))
    assert [order.wide for order in outbox.due(WIDE_EVERY_S)] == [True]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2000), st.floats(0.0, 0.01)), max_size=300))
def test_everything_is_said_in_the_end_and_never_before_it_happened(steps: list[tuple[str, int, float]]) -> None:
    outbox = Outbox()
    now = 0.0
    owed: dict[tuple[str, bytes], bool] = {}
    for service, number, pause_s in steps:
        now += pause_s
        for part in range(40):
            target = b"/%s/%d/%d" % (service.encode(), number, part)
            outbox.add(service, b"h", target, now)
            owed[(service, target)] = True
        assert len(outbox) <= QUEUE_MAX + 2
        _settle(outbox, owed, now)
    for _ in range(2000):
        if (wait_s := outbox.wait_s(now)) < 0.0:
            break
        now += max(wait_s, 0.01)
        _settle(outbox, owed, now)
    assert not owed


def _settle(outbox: Outbox, owed: dict[tuple[str, bytes], bool], now: float) -> None:
    for order in outbox.due(now):
        for key in [key for key in owed if key[0] == order.service and (order.wide or key[1] == order.target)]:
            del owed[key]
