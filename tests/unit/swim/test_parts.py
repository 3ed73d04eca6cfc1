"""The membership core's parts, each by itself."""

import math
from random import Random

import pytest
from msgspec.structs import replace

from agent.core.swim.awareness import Awareness
from agent.core.swim.broadcasts import Broadcasts
from agent.core.swim.config import LAN, PRESETS, plain, validate
from agent.core.swim.members import place_of
from agent.core.swim.messages import Suspect, User
from agent.core.swim.phi import SAMPLES_MIN, PhiDetector
from agent.core.swim.schema import pack_body
from agent.core.swim.serf import HEARD_MAX, SAID_ON_BYTES_MAX, Relay
from agent.core.swim.sizes import PACKED_BYTES, size_of
from agent.core.swim.suspicion import Suspicion, suspicion_min_s, suspicion_timeout_s


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_presets_are_good(name: str) -> None:
    assert validate(PRESETS[name]) == []
    assert validate(plain(PRESETS[name])) == []


def test_what_is_wrong_with_a_configuration_is_told_by_name() -> None:
    wrong = validate(replace(LAN, probe_timeout_s=1.0, awareness_max=9, reap_s=1.0, packet_bytes=100, suspicion_max_mult=0.5))
    assert [line.split(":")[0] for line in wrong] == ["probe_timeout_s", "reap_s", "suspicion_max_mult", "awareness_max", "packet_bytes"]


def test_the_time_of_a_suspect_shrinks_with_each_confirmation_as_the_paper_says() -> None:
    # memberlist's own table: k = 3, 2 s to 30 s.
    expected = [30.0, 16.0, 7.8098, 2.0]
    for confirmations, seconds in enumerate(expected):
        assert suspicion_timeout_s(confirmations, 3, 2.0, 30.0) == pytest.approx(seconds, abs=0.001)
    assert suspicion_timeout_s(9, 3, 2.0, 30.0) == 2.0
    assert suspicion_timeout_s(0, 0, 2.0, 30.0) == 2.0
    assert suspicion_min_s(LAN, 100) == pytest.approx(1.8)


def test_only_independent_confirmations_count() -> None:
    suspicion = Suspicion(replace(LAN, suspicion_mult=4.0), 10.0, 100, "b")
    assert suspicion.deadline == pytest.approx(10.0 + 6 * 2.4)
    assert not suspicion.confirm("b")
    assert suspicion.confirm("c")
    assert not suspicion.confirm("c")
    assert suspicion.confirm("d")
    assert suspicion.deadline == pytest.approx(12.4)
    assert not suspicion.confirm("e")


def test_local_health_stays_between_its_bounds_and_the_host_has_a_say() -> None:
    awareness = Awareness(LAN)
    awareness.apply(-3)
    assert awareness.level == 0
    awareness.apply(99)
    assert awareness.level == 7
    awareness.apply(-7)
    awareness.hint(4)
    assert awareness.level == 4
    awareness.hint(0)
    assert awareness.level == 0
    assert Awareness(plain(LAN)).level == 0


def test_addresses_as_text() -> None:
    assert place_of(bytes((10, 0, 0, 7)), 7946) == ("10.0.0.7", 7946)
    assert place_of(bytes(15) + b"\x01", 1) == ("::1", 1)


def test_each_message_is_sent_so_often_and_those_sent_least_go_first() -> None:
    broadcasts = Broadcasts(LAN, size_of)
    for name in "abc":
        broadcasts.about(name, Suspect(1, name, "x"))
    size = size_of(Suspect(1, "a", "x")) + PACKED_BYTES
    sent = []
    while broadcasts.members.count:
        sent += [message.node for message in broadcasts.fill(2 * size, 2)]  # type: ignore[union-attr]
    assert sorted(sent) == sorted("abc" * 2)
    assert sorted(sent[:3]) == ["a", "b", "c"]


def test_neither_queue_starves_the_other() -> None:
    broadcasts = Broadcasts(LAN, size_of)
    for number in range(500):
        broadcasts.user("", b"x" * 100)
        broadcasts.about(f"node-{number}", Suspect(1, f"node-{number}", "x"))
    users = members = 0
    for _ in range(20):
        packet = broadcasts.fill(LAN.packet_bytes, 1000)
        assert sum(size_of(message) + PACKED_BYTES for message in packet) <= LAN.packet_bytes
        users += sum(size_of(message) for message in packet if isinstance(message, User))
        members += sum(size_of(message) for message in packet if not isinstance(message, User))
    assert 0.8 < users / members < 1.25


def test_a_large_message_waits_for_room_without_holding_up_the_small_ones() -> None:
    broadcasts = Broadcasts(LAN, size_of)
    broadcasts.user("", b"x" * 600)
    broadcasts.user("", b"y")
    assert [len(message.payload) for message in broadcasts.fill(100, 4)] == [1]  # type: ignore[union-attr]
    assert [len(message.payload) for message in broadcasts.fill(1000, 4)] == [600, 1]  # type: ignore[union-attr]


def test_the_users_queue_is_bounded_and_drops_what_was_sent_most() -> None:
    broadcasts = Broadcasts(replace(LAN, user_queue_max=3), size_of)
    broadcasts.user("", b"old")
    broadcasts.fill(1000, 9)
    for payload in (b"one", b"two", b"three"):
        broadcasts.user("", payload)
    assert broadcasts.users.dropped == 1
    assert {message.payload for message in broadcasts.fill(1000, 9)} == {b"one", b"two", b"three"}  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="expected at most"):
        broadcasts.user("", b"x" * 1000)


def test_phi_grows_with_lateness_and_its_timeout_is_where_it_meets_the_threshold() -> None:
    random = Random(1)
    detector = PhiDetector(8.0)
    assert detector.timeout_s(0.2) == 0.2
    for _ in range(300):
        detector.note(max(0.0, random.gauss(0.020, 0.004)))
    assert len(detector._delays) == 128 and SAMPLES_MIN <= 128
    assert detector.phi(0.020) == pytest.approx(-math.log10(0.5), abs=0.2)
    assert detector.phi(0.03) < detector.phi(0.04) < detector.phi(0.05)
    timeout_s = detector.timeout_s(0.2)
    assert 0.03 < timeout_s < 0.08
    assert detector.phi(timeout_s) == pytest.approx(8.0, abs=0.1)
    assert detector.phi(10.0) > 100


def test_what_serf_says_to_all_is_said_on_once_and_what_is_for_one_is_not() -> None:
    relay = Relay()
    leave = bytes((0,)) + pack_body({"LTime": 2, "Node": "s2", "Prune": False})
    assert relay.is_new(leave) and not relay.is_new(leave)
    assert relay.is_new(bytes((0,)) + pack_body({"LTime": 3, "Node": "s2", "Prune": False}))
    assert [kind for kind in range(12) if relay.is_new(bytes((kind, 99)))] == [0, 1, 3, 4]
    assert not relay.is_new(b"") and not relay.is_new(bytes((0,)) * (SAID_ON_BYTES_MAX + 1))
    for number in range(HEARD_MAX + 10):
        relay.is_new(bytes((3, number >> 8, number & 255)))
    assert len(relay._heard) == HEARD_MAX
