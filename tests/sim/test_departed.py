"""The vector of what has been seen loses those that are gone, seeded: once everybody has all of theirs, and never before."""

import pytest

from agent.core.gossip.core import GossipConfig
from agent.core.gossip.departed import GONE_S, PRUNED_MAX
from agent.core.gossip.invalidation import InvalidationConfig
from agent.core.gossip.io import Invalidate, MemberGone, MemberUp
from agent.core.gossip.messages import Stream
from tests.sim.gossip_net import Host, Net

SLOW = GossipConfig(invalidation=InvalidationConfig(give_up=10_000.0, asks_max=100_000))
"""Nothing is given up: what is missing stays missing."""


def issue(net: Net, name: str, count: int = 1) -> None:
    for number in range(count):
        net.hosts[name].give(Invalidate(number, "tag", value=b"%s %d" % (name.encode(), number)))


def die(net: Net, name: str) -> None:
    net.hosts[name].up = False
    for host in net.live():
        host.give(MemberGone(name))


def join(net: Net, name: str) -> Host:
    """It starts now, under a generation that says so."""
    host = net.add(name, int((net.now - 1000.0) * 1000) + 1)
    for other in net.live():
        host.give(MemberUp(other.name))
        other.give(MemberUp(name))
    net.push_pull(name, next(other.name for other in net.live() if other.name != name), join=True)
    return host


def knowing(net: Net, origin: str, generation: int = 1) -> list[str]:
    return [host.name for host in net.live() if (origin, generation) in host.core.invalidations.streams]


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.2, 2)])
def test_who_is_gone_leaves_every_vector_and_stays_out(loss: float, seed: int) -> None:
    net = Net(20, seed, loss)
    net.push_pull_every(15.0)
    net.run(2.0)
    for name in ("web-3", "web-4", "web-5"):
        issue(net, name, 4)
    net.run(5.0)
    die(net, "web-3")
    die(net, "web-4")
    assert len(knowing(net, "web-3")) == 18
    assert net.run(90.0, lambda: not knowing(net, "web-3") + knowing(net, "web-4"))
    assert len(knowing(net, "web-5")) == 18
    net.run(60.0)
    assert not knowing(net, "web-3") + knowing(net, "web-4")
    assert not any(host.stale for host in net.live())  # and `Host` holds that nothing was applied twice


def test_nobody_forgets_while_a_member_has_yet_to_hear_of_the_last_words() -> None:
    net = Net(8, 3, config=SLOW)
    net.run(2.0)
    issue(net, "web-1")
    net.run(3.0)
    net.cut = lambda source, to: "web-7" in (source, to)  # too short to be declared dead, or a partition that nobody noticed
    issue(net, "web-1", 2)
    net.run(2.0)
    die(net, "web-1")
    net.run(20 * GONE_S)
    assert len(knowing(net, "web-1")) == 7
    assert ("web-1", 1, 3) not in net.hosts["web-7"].applied
    net.cut = lambda source, to: False
    assert net.run(30.0, lambda: ("web-1", 1, 3) in net.hosts["web-7"].applied)
    assert net.run(90.0, lambda: not knowing(net, "web-1"))


def test_who_was_started_afterwards_holds_nothing_up_and_a_restarted_origin_needs_no_word_of_its_own_past() -> None:
    net = Net(8, 4)
    net.run(2.0)
    issue(net, "web-1", 2)
    issue(net, "web-2", 2)
    net.run(5.0)
    die(net, "web-1")
    die(net, "web-2")
    net.run(2 * GONE_S / 5)
    join(net, "late")
    join(net, "web-2")
    issue(net, "web-2")
    assert net.run(120.0, lambda: not knowing(net, "web-1") + knowing(net, "web-2"))
    again = net.hosts["web-2"].core.invalidations.own.generation
    assert len(knowing(net, "web-2", again)) == 8


def test_a_late_word_or_an_old_context_brings_nothing_back_and_more_than_all_had_does() -> None:
    net = Net(6, 5)
    net.run(2.0)
    issue(net, "web-1", 3)
    net.run(3.0)
    die(net, "web-1")
    assert net.run(90.0, lambda: not knowing(net, "web-1"))
    host = net.hosts["web-2"]
    host.core.invalidations.learn(Stream("web-1", 1, 3), net.now, "web-3")
    host.give(Invalidate(7, "all", wait_s=2.0, after=(Stream("web-1", 1, 3),)))
    net.run(3.0)
    assert host.answers[-1].text == "acked 5 of 5"
    assert not knowing(net, "web-1")
    back = net.hosts["web-1"]  # it was cut off, not dead, and has said something since
    back.up = True
    issue(net, "web-1")
    for other in net.live():
        other.give(MemberUp("web-1"))
    net.wake_at(back)
    net.push_pull("web-1", "web-2")
    assert net.run(20.0, lambda: all(("web-1", 1, 4) in each.applied for each in net.live() if each is not back))


@pytest.mark.parametrize("seed", range(3))
def test_pruning_changes_nothing_that_anybody_applies_or_marks(seed: int) -> None:
    """The same history in two worlds, one of which never prunes: in both, every member applies what was issued while it lived."""

    def world(prunes: bool) -> list[tuple[str, list[tuple[str, int, int]], int]]:
        net = Net(12, seed, loss=0.1, config=SLOW)
        if not prunes:
            for host in net.hosts.values():
                host.core.invalidations.departed.prune = lambda *what: None  # type: ignore[method-assign]
        net.push_pull_every(20.0)
        for round_ in range(4):
            for number in range(12):
                if net.hosts[f"web-{number}"].up:
                    issue(net, f"web-{number}", 1 + (number + seed + round_) % 3)
            net.run(4.0)
            die(net, f"web-{2 * round_ + seed % 2}")
            net.run(50.0)
        pruned = sum(host.core.invalidations.departed.count for host in net.live())
        assert bool(pruned) == prunes
        return [(host.name, sorted(host.applied), len(host.stale)) for host in net.live()]

    assert world(True) == world(False)


def test_what_is_remembered_of_the_pruned_is_bounded() -> None:
    net = Net(2, 9)
    departed = net.hosts["web-0"].core.invalidations.departed
    core = net.hosts["web-0"].core.invalidations
    for number in range(PRUNED_MAX + 50):
        core.stream(f"gone-{number}", 1, net.now)
        core.streams[f"gone-{number}", 1].adopt(1, net.now)
    departed.look(net.now)
    departed.prune(departed.look(net.now + GONE_S + 1.0), {}, net.now + GONE_S + 1.0)
    assert len(departed.pruned) == PRUNED_MAX and len(core.streams) == 1
