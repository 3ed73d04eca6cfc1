"""A cluster of real Serf agents takes us for one of theirs, and we them: plain, encrypted, compressed."""

import base64
import os
from collections.abc import Callable
from typing import Final

import pytest

from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Broadcast, SendUser
from agent.core.swim.keyring import KeyRing
from tests.harness.serf import SERF, OurMember, SerfAgent
from tests.harness.wait import wait_until

pytestmark = [pytest.mark.skipif(SERF is None, reason="serf is not installed"), pytest.mark.slow]
KEY, OTHER_KEY = bytes(range(32)), bytes(range(100, 132))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def ring(*keys: bytes) -> KeyRing:
    return KeyRing(keys, os.urandom)


WAYS: Final[dict[str, tuple[list[str], Callable[[], Envelope]]]] = {
    "plain": (["-disable-compression"], Envelope),
    "compressed": ([], lambda: Envelope(compress=True)),
    "encrypted": ([f"-encrypt={text(KEY)}"], lambda: Envelope(ring=ring(KEY), compress=True)),
}


def is_clean(ours: OurMember) -> bool:
    return ours.driver.links.faults == 0 and not ours.driver.links.dropped


@pytest.mark.parametrize("way", sorted(WAYS))
def test_we_join_are_probed_and_see_members_come_fail_return_and_leave(way: str) -> None:
    flags, envelope = WAYS[way][0], WAYS[way][1]()
    with SerfAgent("s1", *flags) as s1, OurMember("ours", envelope) as ours:
        ours.join(s1.host)
        ours.wait_for(s1="alive")
        s1.wait_for(ours="alive")
        with SerfAgent("s2", *flags, join=s1.host) as s2:
            ours.wait_for(s2="alive")
            s2.wait_for(ours="alive", s1="alive")
            wait_until(lambda: ours.core.pings.get("s1", 0) >= 4 and ours.core.pings.get("s2", 0) >= 4, "pings", 30.0)
            assert s1.members() == {"s1": "alive", "s2": "alive", "ours": "alive"}
            assert "role=pilotfish" in s1.command("members", "-name=ours")
            assert ours.events == [("join", "s1"), ("join", "s2")]
            s2.kill()
            ours.wait_for_event("fail", "s2")
            s1.wait_for(s2="failed", ours="alive")
        with SerfAgent("s2", *flags, join=s1.host, host=s2.host) as again:
            ours.wait_for(s2="alive")
            again.wait_for(ours="alive")
            again.command("leave")
            ours.wait_for_event("leave", "s2")
            s1.wait_for(s2="left", ours="alive")  # s2 may have told us alone: we say it on
        assert is_clean(ours), (ours.driver.links.dropped, ours.driver.links.faults)


@pytest.mark.parametrize("way", ["encrypted"])
def test_serf_sees_us_leave_and_sees_us_fail(way: str) -> None:
    flags, envelope = WAYS[way][0], WAYS[way][1]()
    with SerfAgent("s1", *flags) as s1, OurMember("leaver", envelope) as leaver, OurMember("dier", envelope) as dier:
        leaver.join(s1.host)
        dier.join(leaver.host)
        s1.wait_for(leaver="alive", dier="alive")
        dier.wait_for(s1="alive", leaver="alive")
        leaver.leave()
        s1.wait_for(leaver="left", dier="alive")
        dier.wait_for(leaver="left")
        dier.stop()
        s1.wait_for(dier="failed")


@pytest.mark.parametrize("way", ["compressed"])
def test_serf_joins_us_and_is_let_into_the_cluster_that_we_know(way: str) -> None:
    flags, envelope = WAYS[way][0], WAYS[way][1]()
    with OurMember("one", envelope) as one, OurMember("two", envelope) as two:
        two.join(one.host)
        one.wait_for(two="alive")
        with SerfAgent("s1", *flags, join=one.host) as s1:
            s1.wait_for(one="alive", two="alive")
            one.wait_for(s1="alive")
            two.wait_for(s1="alive")
            assert is_clean(one), (one.driver.links.dropped, one.driver.links.faults)


@pytest.mark.parametrize("way", ["encrypted"])
def test_neither_sides_own_messages_disturb_the_other(way: str) -> None:
    flags, envelope = WAYS[way][0], WAYS[way][1]()
    with SerfAgent("s1", *flags) as s1, OurMember("one", envelope, b"state") as one, OurMember("two", envelope, b"state") as two:
        one.join(s1.host)
        two.join(s1.host)
        one.wait_for(s1="alive", two="alive")
        two.wait_for(s1="alive", one="alive")
        s1.command("event", "deploy", "again " * 60)
        wait_until(lambda: one.driver.links.foreign and two.driver.links.foreign, "Serf's event")
        s1.command("query", "-timeout=300ms", "anybody", "there")
        one.feed(Broadcast(b"hello to all"))
        one.feed(SendUser("two", bytes(5_000)))
        one.feed(SendUser("s1", bytes(5_000)))
        wait_until(lambda: b"hello to all" in two.delivered and bytes(5_000) in two.delivered, "our messages")
        one.join(s1.host)
        s1.command("event", "again", "x")
        s1.wait_for(one="alive", two="alive")
        assert two.delivered.count(b"hello to all") >= 1
        assert is_clean(one), (one.driver.links.dropped, one.driver.links.faults)
        assert is_clean(two), (two.driver.links.dropped, two.driver.links.faults)
        assert s1.process.poll() is None
        assert "panic" not in s1.log()


def test_keys_are_rotated_while_all_stay_alive() -> None:
    keys = ring(KEY)
    with SerfAgent("s1", f"-encrypt={text(KEY)}") as s1, OurMember("ours", Envelope(ring=keys)) as ours:
        ours.join(s1.host)
        s1.wait_for(ours="alive")
        for verb, change, key in (("-install", keys.install, OTHER_KEY), ("-use", keys.use, OTHER_KEY), ("-remove", keys.remove, KEY)):
            change(key)
            s1.command("keys", f"{verb}={text(key)}")
            seen = ours.core.pings.get("s1", 0)
            wait_until(lambda seen=seen: ours.core.pings.get("s1", 0) >= seen + 2, f"pings after {verb}", 30.0)
        with OurMember("late", Envelope(ring=ring(OTHER_KEY))) as late:
            late.join(s1.host)
            s1.wait_for(late="alive")
            ours.wait_for(late="alive")
            late.leave()
            s1.wait_for(late="left")
        assert s1.members() == {"s1": "alive", "ours": "alive", "late": "left"}
        assert ours.members() == {"s1": "alive", "ours": "alive", "late": "left"}
        assert is_clean(ours), (ours.driver.links.dropped, ours.driver.links.faults)


def test_another_key_or_none_is_not_let_in() -> None:
    with SerfAgent("s1", f"-encrypt={text(KEY)}") as s1:
        for envelope in (Envelope(ring=ring(OTHER_KEY)), Envelope(), Envelope("blue", ring(KEY))):
            with OurMember("stranger", envelope) as stranger:
                stranger.join(s1.host)
                wait_until(lambda: stranger.driver.links.stream_failures, "the refusal")
                assert stranger.members() == {"stranger": "alive"}
                assert "stranger" not in s1.members()
