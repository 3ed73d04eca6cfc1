"""Invalidations among a few agents: once each, repaired, given up honestly, acknowledged causally."""

import pytest

from agent.core.gossip.contexts import CONTEXT_MAX, decode_context, encode_context
from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.invalidation import InvalidationConfig
from agent.core.gossip.io import Apply, Broadcast, Invalidate, MarkStale, MemberGone, MemberUp, Received, SendPacket, Wake
from agent.core.gossip.messages import Ask, Invalidation, Invalidations, Lost, Stream, Streams, decode, encode
from agent.core.gossip.streams import SHED_HOSTS_MAX, Shed
from tests.sim.gossip_net import Host, Net


def url(request: int = 1, wait_s: float = 0.0, after: tuple[Stream, ...] = ()) -> Invalidate:
    return Invalidate(request, "url", b"a.example", b"/x", wait_s=wait_s, after=after)


def alone(name: str = "b") -> GossipCore:
    net = Net(0, 1)
    core = GossipCore(name, 1, GossipConfig(), net.random, 0.0)
    for other in "acd":
        core.step(0.0, MemberUp(other))
    return core


def item(sequence: int, origin: str = "a", generation: int = 1) -> Invalidation:
    return Invalidation(origin, generation, sequence, "all")


def give(core: GossipCore, now: float, *items: Invalidation, rumour: bool = False) -> list[object]:
    return list(core.step(now, Received(encode(Invalidations(items, rumour)))))


def applied(effects: list[object]) -> list[int]:
    return [effect.invalidation.sequence for effect in effects if isinstance(effect, Apply)]


def test_each_is_applied_once_and_passed_on_at_first_sight_only() -> None:
    core = alone()
    first = give(core, 1.0, item(1), rumour=True)
    assert applied(first) == [1]
    assert any(isinstance(effect, SendPacket) and "a" not in effect.to for effect in first)
    # Membership forwards nothing: each broadcasts it again.
    assert any(isinstance(effect, Broadcast) for effect in first)
    assert give(core, 1.1, item(1), rumour=True) == []


def test_a_skipped_number_is_asked_for_of_its_origin_after_a_moment_and_applied_late() -> None:
    core = alone()
    assert applied(give(core, 1.0, item(1), item(3))) == [1, 3]
    asks = sent(core, 1.3, Ask)
    assert [(to, ask.sequences) for to, ask in asks] == [(("a",), (2,))]
    assert applied(give(core, 1.4, item(2))) == [2]
    assert sent(core, 5.0, Ask) == []


def sent(core: GossipCore, now: float, kind: type) -> list[tuple[tuple[str, ...], object]]:
    effects = [effect for effect in core.step(now, Wake()) if isinstance(effect, SendPacket)]
    return [(effect.to, message) for effect in effects if isinstance(message := decode(effect.payload), kind)]


def test_the_last_one_lost_shows_in_a_digest() -> None:
    core = alone()
    give(core, 1.0, item(1))
    core.step(2.0, Received(encode(Streams("c", (Stream("a", 1, 2),)))))
    assert [(to, ask.sequences) for to, ask in sent(core, 2.3, Ask)] == [(("c",), (2,))]


def test_what_the_origin_no_longer_has_marks_stale_what_was_asked_for_before_we_learnt_of_it() -> None:
    core = alone()
    give(core, 1.0, item(1))
    give(core, 7.0, item(3))
    effects = core.step(9.0, Received(encode(Lost("a", 1, (2,), final=True))))
    (stale,) = [effect for effect in effects if isinstance(effect, MarkStale)]
    assert (stale.older_than, stale.origin) == (7.0, "a")
    assert "1 invalidations of a are lost" in stale.reason
    assert applied(give(core, 9.5, item(2))) == []


def test_one_peer_that_has_it_not_is_not_the_end() -> None:
    core = alone()
    give(core, 1.0, item(2))
    assert sent(core, 1.3, Ask)
    assert core.step(1.31, Received(encode(Lost("a", 1, (1,))))) == ()
    assert sent(core, 1.37, Ask)


def test_silence_marks_stale_in_the_end() -> None:
    core = alone()
    give(core, 1.0, item(2))
    stale = []
    now = 1.0
    while now < 30.0 and not stale:
        now = max(core.next_wake(), now + 0.001)
        stale = [effect for effect in core.step(now, Wake()) if isinstance(effect, MarkStale)]
    assert stale and stale[0].older_than == 1.0
    assert now < 15.0


def test_a_gap_too_wide_is_not_chased() -> None:
    core = alone()
    effects = give(core, 1.0, item(1)) + give(core, 2.0, item(5_000))
    assert [effect.older_than for effect in effects if isinstance(effect, MarkStale)] == [2.0]
    assert applied(effects) == [1, 5_000]
    assert sent(core, 2.5, Ask) == []


def test_a_new_life_counts_anew_and_the_last_words_of_the_old_one_still_count() -> None:
    core = alone()
    assert applied(give(core, 1.0, item(1), item(1, generation=2))) == [1, 1]
    assert applied(give(core, 1.1, item(2))) == [2]
    assert applied(give(core, 1.2, item(1, generation=3), item(1, generation=2))) == [1]


def test_an_origin_that_restarted_with_its_old_generation_takes_a_higher_one_and_says_it_again() -> None:
    net = Net(4, 1)
    for _ in range(3):
        net.hosts["web-0"].give(url())
    net.run(1.0)
    reborn = net.add("web-0", 1)
    for name in ("web-1", "web-2", "web-3"):
        reborn.give(MemberUp(name))
    reborn.give(url())
    assert net.run(20.0, lambda: reborn.core.invalidations.own.generation > 1 and net.everyone_has("web-0", 2, range(1, 2)))


def joined(net: Net) -> Host:
    host = net.add("late", 1)
    for other in list(net.hosts.values()):
        if other is not host:
            host.give(MemberUp(other.name))
            other.give(MemberUp("late"))
    net.push_pull("late", "web-0", join=True)
    return host


def test_who_joins_starts_from_the_digest_and_asks_for_nothing_older() -> None:
    net = Net(5, 2)
    for _ in range(20):
        net.hosts["web-1"].give(url())
        net.run(0.1)
    host = joined(net)
    assert [stale.older_than for stale in host.stale] == [net.now]  # costs nothing: its cache is empty
    net.run(3.0)
    assert host.core.invalidations.repairs.asked == 0 and not host.applied
    net.hosts["web-1"].give(url())
    assert net.run(1.0, lambda: ("web-1", 1, 21) in host.applied)


def test_who_was_cut_off_is_repaired_when_it_comes_back() -> None:
    net = Net(6, 3)
    net.cut = lambda source, to: "web-5" in (source, to)
    for _ in range(40):
        net.hosts["web-1"].give(url())
        net.run(0.05)
    net.cut = lambda source, to: False
    assert net.run(10.0, lambda: net.everyone_has("web-1", 1, range(1, 41)))
    assert not net.hosts["web-5"].stale


def test_who_was_cut_off_longer_than_the_ring_reaches_marks_stale() -> None:
    net = Net(6, 3, config=GossipConfig(invalidation=InvalidationConfig(ring_entries=10)))
    net.cut = lambda source, to: "web-5" in (source, to)
    for _ in range(40):
        net.hosts["web-1"].give(url())
        net.run(0.05)
    net.cut = lambda source, to: False
    cut_until = net.now
    assert net.run(20.0, lambda: bool(net.hosts["web-5"].stale) and not net.hosts["web-5"].core.invalidations.repairs.gaps)
    assert net.hosts["web-5"].stale[-1].older_than >= cut_until
    assert {number for _, _, number in net.hosts["web-5"].applied} >= set(range(31, 41))


def test_a_purge_that_waits_is_answered_when_all_have_it() -> None:
    net = Net(20, 4)
    host = net.hosts["web-3"]
    host.give(url(7, wait_s=2.0))
    assert net.run(1.0, lambda: bool(host.answers))
    assert host.answers[0].request == 7
    assert host.answers[0].text == "acked 20 of 20"


def test_who_does_not_answer_is_named_and_who_dies_meanwhile_is_not_waited_for() -> None:
    net = Net(20, 4)
    net.cut = lambda source, to: to in ("web-7", "web-8") or source in ("web-7", "web-8")
    host = net.hosts["web-3"]
    host.give(url(7, wait_s=2.0))
    net.run(1.0)
    assert not host.answers
    host.give(MemberGone("web-8"))
    net.run(1.5)
    assert [answer.text for answer in host.answers] == ["acked 18 of 19, missing web-7"]


def test_a_purge_that_waits_reaches_all_through_loss() -> None:
    net = Net(50, 5, loss=0.3)
    host = net.hosts["web-3"]
    host.give(url(7, wait_s=10.0))
    assert net.run(10.0, lambda: bool(host.answers))
    assert host.answers[0].text == "acked 50 of 50"


def test_an_acknowledgement_counts_only_with_what_the_caller_had_seen() -> None:
    net = Net(3, 6)
    a, b, c = (net.hosts[f"web-{number}"] for number in range(3))
    net.cut = lambda source, to: source == "web-0" and to == "web-2"  # c does not hear a…
    a.give(url())
    net.cut = lambda source, to: "web-2" in (source, to) and source != "web-1" and to != "web-1"
    b.give(Received(encode(Invalidations((a.core.invalidations.ring.get("web-0", 1, 1),)))))  # type: ignore[arg-type]
    context = b.core.invalidations.context()
    assert context == (Stream("web-0", 1, 1),)
    effects = c.core.step(net.now, Received(encode(Invalidations((Invalidation("web-1", 1, 1, "all", ack=True, after=context),)))))
    assert applied(list(effects)) == [1]  # at once: it commutes
    assert c.core.invalidations._acks[("web-1", 1)] == {1: True}
    c.core.step(net.now, Received(encode(Invalidations((item(1, "web-0"),)))))
    assert c.core.invalidations._acks[("web-1", 1)] == {1: False}


def test_the_answer_says_who_has_it_without_what_came_before() -> None:
    net = Net(3, 6, config=GossipConfig(invalidation=InvalidationConfig(give_up=60.0, asks_max=1_000)))
    host = net.hosts["web-1"]
    host.give(url(9, wait_s=1.0, after=(Stream("web-9", 1, 1),)))  # seen by the caller, known to nobody here
    net.run(1.5)
    assert [answer.text for answer in host.answers] == ["acked 0 of 3, without what came before it web-0, web-1, web-2"]


def test_a_context_survives_its_trip_through_the_caller() -> None:
    context = (Stream("web-1", 1_700_000_000_000, 12),)
    assert decode_context(encode_context(context)) == context
    for text in ("", "AAAA", "no context", "é", encode_context(context)[:-4]):
        with pytest.raises(ValueError, match="not a context"):
            decode_context(text)


def test_what_cannot_be_said_is_refused_and_a_long_url_goes_as_a_prefix() -> None:
    core = alone()
    with pytest.raises(ValueError, match="kind"):
        core.step(0.0, Invalidate(1, "planet"))
    with pytest.raises(ValueError, match="at most 400 octets"):
        core.step(0.0, Invalidate(1, "tag", value=b"t" * 401))
    with pytest.raises(ValueError, match="a context names at most"):
        core.step(0.0, url(after=tuple(Stream(f"n{number}", 1, 1) for number in range(CONTEXT_MAX + 1))))
    core.step(0.0, Invalidate(1, "url", b"a.example", b"/" + b"x" * 1_000))
    said = core.invalidations.ring.get("b", 1, 1)
    assert said is not None and said.kind == "prefix" and len(said.value) == 400 - len(b"a.example")


def test_invalidations_that_come_together_travel_together() -> None:
    core = alone()
    counts = [sum(isinstance(effect, SendPacket) for effect in core.step(1.0 + number / 10_000, url(number))) for number in range(10)]
    assert counts == [1, *[0] * 9]
    (batch,) = [message for _, message in sent(core, 1.02, Invalidations)]
    assert len(batch.items) == 9


def test_what_is_no_message_is_counted_and_dropped() -> None:
    core = alone()
    for payload in (b"", b"\xff", b"\x93\x01", b"\x91\x63", b"\xdd\xff\xff\xff\xff"):
        assert core.step(1.0, Received(payload)) == ()
    assert core.unreadable == 5


def named(number: int, host: bytes, kind: str = "url") -> Invalidate:
    return Invalidate(number, kind, host, b"/x" if kind != "all" else b"")


def stale_after_loss(*orders: Invalidate, missed: range) -> list[MarkStale]:
    """An origin with a ring of four issues these; another has only the last, and asks for those."""
    config = GossipConfig(invalidation=InvalidationConfig(ring_entries=4))
    net = Net(2, 1, config=config)
    net.cut = lambda source, to: True
    for order in orders:
        net.hosts["web-0"].give(order)
    net.run(6.0)  # until membership has sent its copies in vain
    net.cut = lambda source, to: False
    other = net.hosts["web-1"]
    for number in range(1, missed.start):
        other.give(Received(encode(Invalidations((Invalidation("web-0", 1, number, "all"),)))))
    net.run(10.0)
    return other.stale


def test_who_lost_what_named_few_hosts_doubts_what_is_of_these_alone() -> None:
    (stale,) = stale_after_loss(*(named(number, b"A.example" if number % 2 else b"b.example") for number in range(10)), missed=range(1, 7))
    assert stale.hosts == (b"a.example", b"b.example") and stale.origin == "web-0"
    (later,) = stale_after_loss(*(named(number, b"a" if number < 3 else b"b") for number in range(10)), missed=range(4, 7))
    assert later.hosts == (b"b",)


@pytest.mark.parametrize("other", [named(3, b"", "all"), Invalidate(3, "tag", b"", b"t"), Invalidate(3, "service", b"", b"web")])
def test_what_concerns_more_than_hosts_makes_everything_doubtful(other: Invalidate) -> None:
    orders = [named(number, b"a.example") for number in range(10)]
    orders[3] = other
    (stale,) = stale_after_loss(*orders, missed=range(1, 7))
    assert stale.hosts == ()


def test_more_hosts_than_an_answer_names_are_everything_and_what_was_never_noted_too() -> None:
    shed = Shed()
    for number in range(1, SHED_HOSTS_MAX + 20):
        shed.note(Invalidation("a", 1, number, "url", False, b"h%d" % number))
    assert shed.hosts([1, 2]) == (b"h1", b"h2")
    assert shed.hosts(range(1, 20)) == ()
    assert shed.hosts([SHED_HOSTS_MAX + 5]) == ()  # beyond the table's bound
    assert shed.hosts([SHED_HOSTS_MAX + 30]) == ()
    assert len(shed._hosts) <= SHED_HOSTS_MAX + 1
    late = Shed()
    late.note(Invalidation("a", 1, 5, "url", False, b"h"))  # those before it are not known
    assert late.hosts([5]) == ()
