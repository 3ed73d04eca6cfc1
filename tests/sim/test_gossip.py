"""Gossip at scale, seeded: state converges, invalidations arrive in time, misses are repaired, the lost is not served for ever."""

import pytest

from agent.core.gossip.core import GossipConfig
from agent.core.gossip.invalidation import InvalidationConfig
from agent.core.gossip.io import Invalidate, MemberGone, MemberUp, Publish, Received
from agent.core.gossip.messages import Delta, Item, NodeDelta, encode
from agent.core.gossip.nodes import Limits
from tests.sim.gossip import invalidations
from tests.sim.gossip_net import Net


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.05, 2)])
def test_invalidations_reach_a_large_lan_in_time(loss: float, seed: int) -> None:
    """Simulated time, so no matter of this machine's speed. 1,000 nodes: `python -m tests.sim.gossip`."""
    figures = invalidations(200, loss, seed, count=3, every_s=0.2)
    assert figures["p99 ms"] < 250
    assert figures["missed"] == 0
    assert figures["marked stale"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_every_miss_is_repaired_through_heavy_loss(seed: int) -> None:
    net = Net(40, seed, loss=0.4)
    for number in range(30):
        net.hosts[f"web-{number % 3}"].give(Invalidate(number, "tag", value=b"t%d" % number))
        net.run(0.05)
    assert net.run(30.0, lambda: all(net.everyone_has(f"web-{number}", 1, range(1, 11)) for number in range(3)))


@pytest.mark.parametrize("seed", range(4))
def test_each_missed_invalidation_is_applied_or_covered_by_stale_marks(seed: int) -> None:
    """The promise behind it all. Rings of 8, partitions that come and go, an origin that dies: in the end every agent has applied each
    invalidation, or has marked stale whatever it had asked for before it could have known."""
    config = GossipConfig(invalidation=InvalidationConfig(ring_entries=8, give_up=3.0, asks_max=4))
    net = Net(20, seed, loss=0.1, config=config)
    issued: dict[tuple[str, int, int], float] = {}
    for round_ in range(6):
        away = {f"web-{net.random.randrange(1, 20)}" for _ in range(5)}
        net.cut = lambda source, to, away=away: (source in away) != (to in away)  # type: ignore[misc]
        for number in range(12):
            host = net.hosts[f"web-{net.random.randrange(20)}"]
            if host.up:
                host.give(Invalidate(number, "all"))
                issued[host.name, 1, host.issued[-1].sequence] = net.now
            net.run(0.1)
        if round_ == 3:
            net.hosts["web-0"].up = False
    net.cut = lambda source, to: False
    last = net.now
    for host in net.live():
        host.give(MemberGone("web-0"))
    net.run(60.0)
    told = {key for host in net.live() for key in host.applied} | {key for key in issued if key[0] != "web-0"}
    for host in net.live():
        assert not host.core.invalidations.repairs.gaps
        for key, at in issued.items():
            if key[0] != host.name and key not in host.applied and key in told:
                assert any(stale.older_than >= at and stale.origin == key[0] for stale in host.stale), (host.name, key)
    assert any(host.stale for host in net.live())  # the run did lose some
    assert net.now > last


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.2, 2)])
def test_state_converges(loss: float, seed: int) -> None:
    net = Net(40, seed, loss)
    for host in net.hosts.values():
        host.give(Publish((("load", net.random.randbytes(60)), ("health", b"ok"))))
    assert net.run(30.0, net.agrees)
    for number in range(60):
        host = net.hosts[f"web-{net.random.randrange(40)}"]
        key = f"k{number % 5}"
        host.give(Publish(((key, None if number % 3 == 0 else net.random.randbytes(40)),), urgent=number % 2 == 0))
        net.run(0.05)
    assert net.run(30.0, net.agrees)
    for host in net.live():
        for other in net.live():
            if other is not host:
                assert {key: value for (node, key), value in host.state.items() if node == other.name} == dict(other.core.nodes.own.live())


def test_a_value_too_large_for_a_packet_goes_by_stream() -> None:
    net = Net(5, 1)
    net.hosts["web-1"].give(Publish((("hot", b"x" * 3_000), ("health", b"ok"))))
    assert net.run(20.0, net.agrees)
    assert net.hosts["web-4"].state["web-1", "hot"] == b"x" * 3_000


def test_what_is_urgent_is_everywhere_within_a_second() -> None:
    net = Net(100, 3)
    net.run(2.0)
    net.hosts["web-5"].give(Publish((("endpoint:web:80", b"here"),), urgent=True))
    assert net.run(1.0, lambda: all(("web-5", "endpoint:web:80") in host.state for host in net.live() if host.name != "web-5"))


def test_one_push_pull_brings_a_newcomer_all_there_is() -> None:
    net = Net(30, 4)
    for host in net.hosts.values():
        host.give(Publish((("health", b"ok"),)))
    assert net.run(20.0, net.agrees)
    late = net.add("late", 1)
    for name in list(net.hosts):
        late.give(MemberUp(name))
    net.push_pull("late", "web-3", join=True)
    net.run(0.2)
    assert len(late.state) == 30


def test_many_that_start_at_once_know_each_other_in_a_few_seconds() -> None:
    net = Net(150, 9)
    for host in net.hosts.values():
        host.give(Publish((("load", net.random.randbytes(60)),)))
    assert net.run(10.0, net.agrees)


def test_a_member_that_is_gone_is_forgotten_by_all_and_stays_so() -> None:
    net = Net(10, 5, config=GossipConfig(limits=Limits(node_grace=10.0)))
    for host in net.hosts.values():
        host.give(Publish((("health", b"ok"),)))
    assert net.run(20.0, net.agrees)
    gone = net.hosts["web-7"]
    gone.up = False
    for host in net.live():
        net.run(0.3)  # not all at once
        host.give(MemberGone("web-7"))
    net.run(18.0)
    assert all("web-7" not in host.core.nodes.by_name for host in net.live())
    net.run(60.0)
    assert all("web-7" not in host.core.nodes.by_name for host in net.live())


def test_a_restart_under_the_same_name_replaces_what_was_known_even_with_an_older_clock() -> None:
    net = Net(6, 6)
    net.hosts["web-2"].give(Publish((("a", b"old"), ("b", b"old"))))
    assert net.run(20.0, net.agrees)
    reborn = net.add("web-2", 1)  # its generation did not rise
    for name in list(net.hosts):
        reborn.give(MemberUp(name))
    reborn.give(Publish((("a", b"new"),)))
    assert net.run(30.0, lambda: all(host.state.get(("web-2", "a")) == b"new" for host in net.live() if host is not reborn))
    assert all(("web-2", "b") not in host.state for host in net.live() if host is not reborn)


def test_bounds_hold_against_a_peer_that_ignores_them() -> None:
    net = Net(2, 7, config=GossipConfig(limits=Limits(nodes_max=10, keys_max=5, value_bytes_max=100)))
    host = net.hosts["web-0"]

    def tell(name: str, *items: Item) -> None:
        upto = max((item.version for item in items), default=1)
        host.give(Received(encode(Delta((NodeDelta(name, 1, 0, 0, upto, upto, items),)))))

    for number in range(50):
        tell(f"n{number}", Item("a", 1, b"v"))
    assert len(host.core.nodes.by_name) == 10
    tell("web-1", *(Item(f"k{number}", number + 1, b"v") for number in range(6)))
    tell("web-1", Item("a", 1, b"v" * 101))
    tell("web-1", Item("a", 9, b"v"), Item("k" * 300, 1, b"v"))
    assert not [key for node, key in host.state if node == "web-1"]
    with pytest.raises(ValueError, match="more than 100"):
        host.give(Publish((("a", b"v" * 101),)))
    with pytest.raises(ValueError, match="more than 5 keys"):
        host.give(Publish(tuple((f"k{number}", b"v") for number in range(6))))


def test_one_seed_is_one_run() -> None:
    def trace() -> tuple[int, list[tuple[str, int]]]:
        net = Net(20, 8, loss=0.1)
        for number in range(10):
            net.hosts[f"web-{number}"].give(Invalidate(number, "all", wait_s=1.0))
            net.hosts[f"web-{number}"].give(Publish((("load", b"%d" % number),)))
            net.run(0.1)
        net.run(3.0)
        return net.packets, sorted(net.bytes.items())

    assert trace() == trace()
